/** The list of sessions: the most recently updated first, loaded page by page, kept in step with other tabs. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { navigate, sessionLink } from "../core/router.js";
import { createSlice } from "../core/store.js";
import { broadcast, onBroadcast } from "../core/tabs.js";
import { showToast } from "../ui/toast.js";
import { noteInHits, removeHits } from "./search.js";

const PAGE_SIZE = 100;

// `status` is "loading", "ready" or "failed"; `more` is "idle", "loading" or "failed"; `newKey` is the
// Idempotency-Key of a new session whose request got no answer.
const slice = createSlice("sessions", {
  status: "loading", items: [], cursor: null, error: "", more: "idle", isCreating: false, newKey: null,
});

/** Return the list's state: `{status, items, cursor, error, more, isCreating}`. */
export function sessionsState() {
  return slice.state;
}

/** Load the first page, and forget the others. */
export async function loadSessions() {
  try {
    const { items, next_cursor: cursor } = await getPage();
    slice.update({ status: "ready", items: items.map(pick), cursor, more: "idle", error: "" });
  } catch (error) {
    slice.update({ status: slice.state.status === "ready" ? "ready" : "failed", error: describeError(error) });
  }
}

/** Load the next page, unless that is under way already. */
export async function loadMore() {
  const { cursor, more } = slice.state;
  if (!cursor || more === "loading") {
    return;
  }
  slice.update({ more: "loading" });
  try {
    const page = await getPage(cursor);
    if (slice.state.cursor === cursor) {
      const items = page.items.map(pick);
      slice.update({ items: merge(slice.state.items, items), cursor: page.next_cursor, more: "idle" });
    }
  } catch (error) {
    if (error.details?.cursor) {
      await loadSessions(); // it is older than what the server remembers
    } else {
      slice.update({ more: "failed" });
    }
  }
}

/** Create a session and open it. Trying again after a lost answer creates no second one. */
export async function createSession() {
  if (slice.state.isCreating) {
    return;
  }
  const key = slice.state.newKey ?? api.createKey();
  slice.update({ isCreating: true, newKey: key });
  try {
    const session = await api.request("POST", "sessions", { key });
    slice.update({ isCreating: false, newKey: null });
    noteSession(session);
    broadcast("session_updated", { id: session.id });
    navigate(sessionLink(session.id), { focus: "[data-composer]" });
  } catch (error) {
    slice.update({ isCreating: false, newKey: error.isUnanswered ? key : null });
    showToast(describeError(error), { kind: "error", action: { label: "Try again", run: createSession } });
  }
}

/** Put a session where it belongs now: at the top, if it has just been changed. */
export function noteSession(session) {
  const items = merge(slice.state.items, [pick(session)]);
  const isBeyond = slice.state.cursor && items.at(-1).id === session.id; // a page not yet loaded has it
  slice.update({ items: isBeyond ? items.slice(0, -1) : items });
  noteInHits(session);
}

/** Take sessions off the list. */
export function removeSessions(ids) {
  const removed = new Set(ids);
  slice.update({ items: slice.state.items.filter(({ id }) => !removed.has(id)) });
  removeHits(removed);
}

/** Read the list again after sessions have been added, here and in the other tabs. */
export async function sessionsChanged() {
  broadcast("sessions_added");
  await rereadSessions();
}

/** Follow what other tabs tell, and read the beginning of the list again when the person comes back to this one. */
export function watchSessions() {
  onBroadcast("sessions_added", rereadSessions);
  onBroadcast("session_updated", ({ id }) => rereadSession(id));
  onBroadcast("sessions_deleted", ({ ids }) => removeSessions(ids));
  addEventListener("focus", rereadSessions);
  addEventListener("online", rereadSessions);
}

/** Read the first page again, and keep what follows it as far as that is known to follow it. */
async function rereadSessions() {
  if (slice.state.status !== "ready") {
    return;
  }
  try {
    const page = await getPage();
    const items = page.items.map(pick);
    const last = items.at(-1);
    const known = slice.state.items.findIndex(({ id, updated_at: at }) => id === last?.id && at === last.updated_at);
    if (!page.next_cursor || known < 0) {
      slice.update({ items, cursor: page.next_cursor });
    } else {
      const listed = new Set(items.map(({ id }) => id));
      const rest = slice.state.items.slice(known + 1).filter(({ id }) => !listed.has(id));
      slice.update({ items: [...items, ...rest] });
    }
  } catch {
    // The next time: nobody has asked for it.
  }
}

async function rereadSession(id) {
  if (slice.state.status !== "ready") {
    return;
  }
  try {
    noteSession(await api.request("GET", `sessions/${encodeURIComponent(id)}`, { query: { messages: false } }));
  } catch (error) {
    if (error.status === 404) {
      removeSessions([id]);
    }
  }
}

function getPage(cursor) {
  return api.request("GET", "sessions", { query: { limit: PAGE_SIZE, cursor } });
}

function pick({ id, title, created_at, updated_at }) {
  return { id, title, created_at, updated_at };
}

/** Return the list with sessions put in, each once: a page may contain one that has moved since the page before. */
function merge(items, added) {
  const ids = new Set(added.map(({ id }) => id));
  return [...items.filter(({ id }) => !ids.has(id)), ...added].sort(compare);
}

/** Compare as the server does: the most recently updated first. */
function compare(a, b) {
  return (
    compareTexts(b.updated_at, a.updated_at) || compareTexts(b.created_at, a.created_at) || compareTexts(b.id, a.id)
  );
}

function compareTexts(a, b) {
  return a === b ? 0 : a < b ? -1 : 1;
}
