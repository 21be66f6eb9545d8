/**
 * The page's places, as fragments of its URL, which no server and no log sees:
 *
 *     #/                             no session
 *     #/s/<session>                  a session; with /prompt, /actions or /timeline, the panel beside it
 *     #/s/<session>/m/<message>      a message of it
 *     #/transfer                     import and export
 *     #/account                      the user
 */

import { createSlice } from "./store.js";

const slice = createSlice("route", () => parse(location.hash));
let nextFocus = null;

/** Return where the page is: `{name, sessionId?, messageId?, panel?}`. */
export function currentRoute() {
  return slice.state;
}

/** Call a handler with the route now and whenever it changes; beside it, the selector of what is to have the focus. */
export function startRouter(onRoute) {
  const follow = () => {
    const focus = nextFocus;
    nextFocus = null;
    slice.reset();
    onRoute(slice.state, focus);
  };
  addEventListener("hashchange", follow);
  follow();
}

/** Go to a place, whose focus is on `focus`, a selector, or on the screen; `replace` leaves no entry in the history. */
export function navigate(hash, { replace = false, focus = null } = {}) {
  if (hash === location.hash) {
    return;
  }
  nextFocus = focus;
  if (replace) {
    location.replace(hash);
  } else {
    location.hash = hash;
  }
}

/** Return the link to a session, or to its panel. */
export function sessionLink(sessionId, panel) {
  return `#/s/${encodeURIComponent(sessionId)}${panel ? `/${panel}` : ""}`;
}

/** Return the link to a message. */
export function messageLink(sessionId, messageId) {
  return `${sessionLink(sessionId)}/m/${encodeURIComponent(messageId)}`;
}

function parse(hash) {
  const [name, sessionId, third, fourth] = hash.replace(/^#\/?/, "").split("/").map(decode);
  if (name === "s" && sessionId) {
    return third === "m" ? { name: "session", sessionId, messageId: fourth } : { name: "session", sessionId, panel: third };
  }
  return { name: ["transfer", "account"].includes(name) ? name : "home" };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // somebody's mangled link
  }
}
