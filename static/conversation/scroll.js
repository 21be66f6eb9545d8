/**
 * Where one is in the conversation. The page follows the end only while one is at the end, and nothing that happens
 * above or below moves the text that one is reading.
 */

import { createSlice } from "../core/store.js";

const NEAR_END = 64;
const NEAR_START = 1_500;
const SETTLING_FRAMES = 4; // in which messages that come into view get their real heights

const slice = createSlice("scroll", { isFollowing: true, hasNewText: false });
const sizes = new ResizeObserver(() => slice.state.isFollowing && toEnd());
let scroller = null;
let lastTop = 0;
let onNearStart = () => {};

/** Return `{isFollowing, hasNewText}`: whether the page follows the end, and whether there is something new below. */
export function scrollState() {
  return slice.state;
}

/** Call a handler when one comes near the oldest message. */
export function setNearStartHandler(handler) {
  onNearStart = handler;
}

/** Watch the element that scrolls, as a `ref` of the template. */
export function watchScroller(element) {
  sizes.disconnect();
  scroller = element ?? null;
  if (scroller) {
    scroller.addEventListener("scroll", noteScroll, { passive: true });
    scroller.scrollTop = lastTop; // as it was before one has been elsewhere
    sizes.observe(scroller);
    sizes.observe(scroller.firstElementChild);
  }
}

/** Go to the end, and follow it from now on. */
export function followEnd() {
  slice.update({ isFollowing: true, hasNewText: false });
  toEnd();
}

/** Note that there is new text at the end. */
export function noteNewText() {
  if (!slice.state.isFollowing && !slice.state.hasNewText) {
    slice.update({ hasNewText: true });
  }
}

/** Change what is above the text that one is reading, which stays where it is. */
export function keepPlace(change) {
  const first = scroller?.querySelector("article");
  const before = first?.getBoundingClientRect().top;
  change();
  queueMicrotask(() => {
    if (first?.isConnected && !slice.state.isFollowing) {
      scroller.scrollTop += first.getBoundingClientRect().top - before;
    }
    checkStart();
  });
}

/** Go to a message and give it the focus. */
export function showMessage(id, frames = SETTLING_FRAMES) {
  const message = document.getElementById(`message-${id}`);
  if (!message) {
    return;
  }
  slice.update({ isFollowing: false });
  message.scrollIntoView({ block: "start" });
  message.focus({ preventScroll: true });
  if (frames) {
    requestAnimationFrame(() => showMessage(id, frames - 1));
  }
}

function toEnd() {
  if (scroller) {
    scroller.scrollTop = scroller.scrollHeight;
    lastTop = scroller.scrollTop;
  }
}

function noteScroll() {
  const { scrollTop, scrollHeight, clientHeight } = scroller;
  const isAtEnd = scrollHeight - scrollTop - clientHeight <= NEAR_END;
  // Where the text has grown below, the page is not at its end any more, but nobody has scrolled up.
  const isFollowing = isAtEnd || (slice.state.isFollowing && scrollTop >= lastTop);
  lastTop = scrollTop;
  if (isFollowing !== slice.state.isFollowing) {
    slice.update({ isFollowing, hasNewText: false });
  }
  checkStart();
}

function checkStart() {
  if (scroller?.scrollTop < NEAR_START) {
    onNearStart();
  }
}
