/** Where the focus is. */

/** Remember what has the focus, and return a function that gives it back after the next rendering. */
export function keepFocus() {
  const element = document.activeElement;
  return () => requestAnimationFrame(() => element.isConnected && element.focus({ preventScroll: true }));
}

/** Focus the first that there is after the next rendering, with which goes what has the focus now. */
export function focusNext(...selectors) {
  const find = () => selectors.map((selector) => document.querySelector(selector)).find(Boolean);
  requestAnimationFrame(() => find()?.focus({ preventScroll: true }));
}

/** Focus an element when it is rendered: for `ref`, which calls it before the element is in the page. */
export function focusOnce(element) {
  queueMicrotask(() => element?.focus());
}
