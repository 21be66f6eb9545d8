/** What one does in the list: going through it with the keyboard, and acting on the session that has the focus. */

import { memoized } from "../core/memo.js";
import { currentRoute, navigate, sessionLink } from "../core/router.js";
import { createSlice } from "../core/store.js";
import { showRow } from "../ui/windowed.js";
import { currentSession } from "./current.js";
import { deleteSessions } from "./deletion.js";
import { loadMore, sessionsState } from "./model.js";
import { renameSession } from "./rename.js";
import { listedSessions } from "./rows.js";
import { isSearching } from "./search.js";
import { select, selection, startSelecting } from "./selection.js";

const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
const ACTIVE = ".sidebar .session [tabindex='0']";

// Tab goes to one session of the list only, the active one; the arrow keys go to the others.
const slice = createSlice("list", { activeId: null });

const firstListed = memoized((sessions, ...ids) =>
  ids.find((id) => id && sessions.some((session) => session.id === id)) ?? sessions[0]?.id);

/** Return the id of the session that Tab goes to: the one that had the focus last, the open one, or the first. */
export function activeId() {
  return firstListed(listedSessions(), slice.state.activeId, currentRoute().sessionId);
}

/** Make the session active in which an element has got the focus. */
export function followFocus({ target }) {
  activate(keyOf(target));
}

/** Move the focus with the arrow keys. */
export function moveFocus(event) {
  const step = STEPS[event.key];
  if (!step || event.target.matches("input:not([type='checkbox'])") || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  event.preventDefault();
  const sessions = listedSessions();
  const index = sessions.findIndex(({ id }) => id === activeId()) + step;
  focusSession(sessions.at(Math.min(Math.max(index, 0), sessions.length - 1))?.id);
}

/** Scroll to a session of the list, and give it the focus. */
export function focusSession(id) {
  if (id) {
    activate(id);
    showSession(id)?.querySelector("a, input")?.focus({ preventScroll: true });
  }
}

/** Open the session after the open one, or the one before it. */
export async function openNeighbor(step) {
  const { sessionId } = currentRoute();
  let sessions = listedSessions();
  const index = sessions.findIndex(({ id }) => id === sessionId) + step;
  if (index >= sessions.length && !isSearching() && sessionsState().cursor) {
    await loadMore();
    sessions = listedSessions();
  }
  const next = sessions[Math.max(index, 0)];
  if (next) {
    const isInList = focusedSession() !== undefined;
    activate(next.id);
    showSession(next.id);
    navigate(sessionLink(next.id), { focus: isInList ? ACTIVE : null });
  }
}

/** Edit a session's title in the list. */
export function renameInList(session) {
  renameSession(session, { place: "list", after: () => focusSession(session.id) });
}

/** Edit the title of the session that has the focus in the list, or of the open one. */
export function renameListed() {
  const focused = focusedSession();
  if (focused) {
    renameInList(focused);
  } else if (currentSession().session) {
    renameSession(currentSession().session, { after: () => document.querySelector("main [data-rename]")?.focus() });
  }
}

/** Delete a session; its neighbour gets the focus if it had it. */
export function deleteInList({ id }) {
  const sessions = listedSessions();
  const index = sessions.findIndex((session) => session.id === id);
  const hadFocus = focusedSession()?.id === id;
  deleteSessions([id], { focus: ACTIVE });
  if (hadFocus) {
    const neighbor = sessions[index + 1] ?? sessions[index - 1];
    activate(neighbor?.id);
    queueMicrotask(() => focusSession(neighbor?.id)); // when the page has been rendered without it
  }
}

/** Delete the session that has the focus in the list. */
export function deleteListed() {
  const focused = focusedSession();
  if (focused && !selection().isSelecting) {
    deleteInList(focused);
  }
}

/** Select the session that has the focus in the list, for deleting several, or unselect it. */
export function selectListed() {
  const focused = focusedSession();
  if (focused && selection().isSelecting) {
    select(focused.id, !selection().selected.has(focused.id));
  } else if (focused) {
    startSelecting(focused.id);
    queueMicrotask(() => focusSession(focused.id)); // its link has become a checkbox
  }
}

function focusedSession() {
  const id = keyOf(document.activeElement);
  return listedSessions().find((session) => session.id === id);
}

function keyOf(element) {
  return element.closest(".sidebar li.session")?.dataset.key;
}

function activate(id) {
  if (id !== slice.state.activeId) {
    slice.update({ activeId: id ?? null });
  }
}

function showSession(id) {
  return showRow(document.querySelector(isSearching() ? ".hits" : ".sessions"), id);
}
