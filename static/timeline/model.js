/** The timeline of the open session: messages, older ones on demand, and webhook runs; and what its report has. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { sessionLink } from "../core/router.js";
import { createSlice } from "../core/store.js";
import { loginState } from "../login/model.js";
import { allRuns, openActions } from "../actions/model.js";
import { loadRuns } from "../actions/runs.js";
import { onSessionUpdate } from "../sessions/changes.js";
import { currentSession } from "../sessions/current.js";
import { reportOf } from "./report.js";
import { chosenRows, rowsOf } from "./rows.js";

const PAGE = 100;
const LARGEST_PAGE = 200;
const NO_CHOICE = { excluded: new Set(), from: "", to: "" };

// `status` is "loading", "ready" or "failed"; `messages` are oldest first, `cursor` leads to older ones.
const slice = createSlice("timeline", {
  sessionId: null,
  status: "loading",
  error: "",
  messages: [],
  cursor: null,
  isLoadingOlder: false,
  isReporting: false,
  choice: NO_CHOICE,
  openings: 0, // how often it has been opened: then it shows its end
});

/** Return the state of the timeline. */
export function timelineState() {
  return slice.state;
}

/** Return what the timeline shows. */
export function timelineRows() {
  const { messages, cursor } = slice.state;
  return rowsOf(messages, allRuns(), cursor !== null);
}

/** Show the timeline of a session. */
export async function openTimeline(sessionId) {
  if (sessionId !== slice.state.sessionId) {
    slice.reset();
    slice.update({ sessionId });
  }
  const open = loginState().about.actions ? openActions : loadRuns;
  await Promise.all([loadNewest(sessionId), open(sessionId)]);
  slice.update({ openings: slice.state.openings + 1 });
}

/** Read the newest messages again, after a failure. */
export function reloadTimeline() {
  return openTimeline(slice.state.sessionId);
}

/** Read the page of messages before the oldest one; return whether there are even older ones. */
export async function loadOlder(limit = PAGE) {
  const { sessionId, cursor } = slice.state;
  slice.update({ isLoadingOlder: true });
  try {
    const page = await getPage(sessionId, { limit, cursor });
    if (sessionId !== slice.state.sessionId || cursor !== slice.state.cursor) {
      return false;
    }
    slice.update({
      messages: [...page.messages, ...slice.state.messages],
      cursor: page.cursor,
      isLoadingOlder: false,
    });
    return page.cursor !== null;
  } catch (error) {
    if (sessionId === slice.state.sessionId) {
      slice.update({ isLoadingOlder: false, error: describeError(error) });
    }
    return false;
  }
}

/** Read all older messages. */
export async function loadAll() {
  while (await loadOlder(LARGEST_PAGE));
}

/** Begin with a report of all that is shown, or end with it. */
export function toggleReport() {
  slice.update({ isReporting: !slice.state.isReporting });
}

/** Put a row into the report, or leave it out. */
export function chooseRow(id, isChosen) {
  const excluded = new Set(slice.state.choice.excluded);
  if (isChosen) {
    excluded.delete(id);
  } else {
    excluded.add(id);
  }
  chooseRange({ excluded });
}

/** Put all rows into the report, or none. */
export function chooseAll(isChosen) {
  chooseRange({ excluded: new Set(isChosen ? [] : timelineRows().map(({ id }) => id)) });
}

/** Limit the report to a range of time. @param {{from?: string, to?: string}} range */
export function chooseRange(range) {
  slice.update({ choice: { ...slice.state.choice, ...range } });
}

/** Return the rows that are in the report. */
export function reportRows() {
  return chosenRows(timelineRows(), slice.state.choice);
}

/** Return the report as Markdown. */
export function buildReport() {
  const { session } = currentSession();
  const url = new URL(sessionLink(session.id), location.href).href;
  const { username } = loginState().user;
  return reportOf({ title: session.title, url, username, rows: reportRows(), now: new Date().toISOString() });
}

async function loadNewest(sessionId) {
  try {
    const page = await getPage(sessionId, { limit: PAGE });
    if (sessionId === slice.state.sessionId) {
      showNewest(page);
    }
  } catch (error) {
    if (sessionId === slice.state.sessionId) {
      slice.update({ status: slice.state.status === "ready" ? "ready" : "failed", error: describeError(error) });
    }
  }
}

/** Put a page of the newest messages in the place of those that it has again; an answer may have been replaced. */
function showNewest({ messages: newest, cursor }) {
  const { messages } = slice.state;
  const start = newest.length ? messages.findIndex(({ id }) => id === newest[0].id) : -1;
  const changes = start < 0 ? { messages: newest, cursor } : { messages: [...messages.slice(0, start), ...newest] };
  slice.update({ status: "ready", error: "", ...changes });
}

async function getPage(sessionId, query) {
  const { items, next_cursor: cursor } = await api.request("GET", `sessions/${sessionId}/messages`, {
    query: { order: "desc", ...query },
  });
  return { messages: items.reverse(), cursor: cursor ?? null };
}

onSessionUpdate("timeline", loadNewest);
