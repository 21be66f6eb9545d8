/** The webhook runs of the open session. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { broadcast, onBroadcast } from "../core/tabs.js";
import { isPanelOpen } from "../sessions/changes.js";

const POLL_MS = 2_000; // while a run goes on of which this tab does not wait for the answer

// `status` is "loading", "ready" or "failed".
const slice = createSlice("runs", { sessionId: null, status: "loading", items: [], error: "" });
let timer = null;

/** Return the runs as they are stored: `{sessionId, status, items, error}`, oldest first. */
export function runsState() {
  return slice.state;
}

/** Read the runs of a session; those that are on the page stay meanwhile. */
export async function loadRuns(sessionId) {
  if (sessionId !== slice.state.sessionId) {
    slice.reset();
    slice.update({ sessionId });
  }
  try {
    const { items } = await api.request("GET", `sessions/${sessionId}/webhook-runs`);
    if (sessionId === slice.state.sessionId) {
      slice.update({ status: "ready", items, error: "" });
      pollWhileRunning();
    }
  } catch (error) {
    if (sessionId === slice.state.sessionId) {
      slice.update({ status: "failed", error: describeError(error) });
    }
  }
}

/** Show a run as a request has just returned it. */
export function showRun(run) {
  if (run.session_id === slice.state.sessionId) {
    slice.update({ items: [...slice.state.items.filter(({ id }) => id !== run.id), run].sort(byStart) });
    pollWhileRunning();
  }
  broadcast("webhook_runs_changed", { id: run.session_id });
}

function byStart(one, other) {
  return one.started_at < other.started_at ? -1 : Number(one.started_at > other.started_at);
}

function pollWhileRunning() {
  clearTimeout(timer);
  if (slice.state.items.some(({ status }) => status === "running")) {
    timer = setTimeout(rereadIfSeen, POLL_MS);
  }
}

function rereadIfSeen() {
  const { sessionId } = slice.state;
  if (["actions", "timeline"].some((panel) => isPanelOpen(panel, sessionId))) {
    loadRuns(sessionId);
  }
}

onBroadcast("webhook_runs_changed", ({ id }) => id === slice.state.sessionId && rereadIfSeen());
addEventListener("focus", rereadIfSeen);
addEventListener("online", rereadIfSeen);
