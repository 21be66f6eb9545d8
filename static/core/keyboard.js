/** The keyboard: one table of shortcuts, which the list under `?` shows. */

const SWITCH = "parley.shortcuts";
const shortcuts = [];

/**
 * Add a shortcut: a single key, which does nothing while one types, or a chord such as "Ctrl+Enter".
 * @param {string} keys
 * @param {string} label what it does, for the list
 * @param {() => void} run
 * @param {() => boolean} [isHidden] whether the list leaves it out, since there is nothing that it could do
 */
export function addShortcut(keys, label, run, isHidden = () => false) {
  shortcuts.push({ keys, label, run, isHidden });
}

/** Return the shortcuts for the list, `{keys, label}`. */
export function listShortcuts() {
  return shortcuts.filter(({ isHidden }) => !isHidden());
}

/** Return whether single keys work: speech input may press them by accident (WCAG 2.2, 2.1.4). */
export function singleKeysEnabled() {
  return localStorage.getItem(SWITCH) !== "off";
}

/** Switch the single keys on or off. */
export function enableSingleKeys(enabled) {
  localStorage.setItem(SWITCH, enabled ? "on" : "off");
}

/** Listen to the keyboard. */
export function startKeyboard() {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) {
      return;
    }
    const keys = keysOf(event);
    const isChord = keys.includes("+") || keys === "Escape";
    if ((!isChord && isTyping(event.target)) || (keys.length === 1 && !singleKeysEnabled())) {
      return;
    }
    const shortcut = shortcuts.find((candidate) => candidate.keys === keys);
    if (shortcut) {
      event.preventDefault();
      shortcut.run();
    }
  });
}

function keysOf(event) {
  const modifiers = [(event.ctrlKey || event.metaKey) && "Ctrl", event.altKey && "Alt"].filter(Boolean);
  return [...modifiers, event.key].join("+");
}

function isTyping(element) {
  return element.isContentEditable || element.matches("textarea, select, input:not([type='checkbox'], [type='radio'])");
}
