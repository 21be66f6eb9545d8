/** Deleting sessions: they vanish at once, and the request goes when nobody has undone that for a while. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { currentRoute, navigate, sessionLink } from "../core/router.js";
import { createSlice } from "../core/store.js";
import { broadcast } from "../core/tabs.js";
import { showToast } from "../ui/toast.js";
import { removeSessions } from "./model.js";

const UNDO_MS = 8_000;
const MAX_IDS = 1_000; // of a request
const MAX_KEEPALIVE_IDS = 1_600; // a browser sends 64 KiB for a page that is being left

// A batch, `{ids, openId, timer, close}`, is what is deleted at once, with the session that was open if it is one of
// them. It waits to be undone, then it is sent; meanwhile its sessions are hidden.
const slice = createSlice("deletion", () => ({ waiting: [], sent: [], hidden: new Set() }));

/** Return the ids of the sessions that are no longer shown: a set, the same as long as it has the same ids. */
export function hiddenIds() {
  return slice.state.hidden;
}

/**
 * Take sessions off the page, and delete them unless that is undone.
 * @param {string[]} ids
 * @param {{focus?: string}} [options] the selector of what gets the focus if the open session is one of them
 */
export function deleteSessions(ids, { focus } = {}) {
  const { sessionId } = currentRoute();
  const batch = { ids, openId: ids.includes(sessionId) ? sessionId : null };
  batch.timer = setTimeout(() => send(batch), UNDO_MS);
  batch.close = showToast(`${describeCount(ids.length)} deleted`, {
    action: { label: "Undo", run: () => undo(batch) },
    durationMs: UNDO_MS,
  });
  updateBatches({ waiting: [...slice.state.waiting, batch] });
  api.ensureToken().catch(() => {}); // if the page is left, there is no time to get one
  if (batch.openId) {
    navigate("#/", { focus });
  }
}

/** Undo the newest deletion, if there is one that can be undone. */
export function undoDeletion() {
  const batch = slice.state.waiting.at(-1);
  if (batch) {
    batch.close();
    undo(batch);
  }
}

/** Send now what is waiting to be undone: nobody is there to undo it any more. */
export async function finishDeletions(options) {
  await Promise.all(slice.state.waiting.map((batch) => send(batch, options)));
}

/** Send what is waiting when the page is left. */
export function watchDeletions() {
  addEventListener("pagehide", () => finishDeletions({ keepalive: true }));
  addEventListener("beforeunload", (event) => {
    if (slice.state.waiting.flatMap(({ ids }) => ids).length > MAX_KEEPALIVE_IDS) {
      event.preventDefault(); // the browser asks whether to leave
    }
  });
}

/** Return "1 session" or "12 sessions". */
export function describeCount(count) {
  return `${count.toLocaleString()} ${count === 1 ? "session" : "sessions"}`;
}

function undo(batch) {
  if (!slice.state.waiting.includes(batch)) {
    return;
  }
  clearTimeout(batch.timer);
  updateBatches({ waiting: without(slice.state.waiting, batch) });
  if (batch.openId) {
    navigate(sessionLink(batch.openId));
  }
}

async function send(batch, { keepalive = false } = {}) {
  if (!slice.state.waiting.includes(batch)) {
    return; // the user has logged out in another tab
  }
  clearTimeout(batch.timer);
  batch.close();
  updateBatches({ waiting: without(slice.state.waiting, batch), sent: [...slice.state.sent, batch] });
  if (keepalive) {
    broadcast("sessions_deleted", { ids: batch.ids }); // there will be no later
  }
  const chunks = chunksOf(batch.ids);
  const results = await Promise.allSettled(chunks.map((ids) => sendDeletion(ids, keepalive)));
  const idsOf = (status) => chunks.filter((_, index) => results[index].status === status).flat();
  removeSessions(idsOf("fulfilled"));
  updateBatches({ sent: without(slice.state.sent, batch) });
  broadcast("sessions_deleted", { ids: idsOf("fulfilled") });
  const failed = results.find(({ status }) => status === "rejected");
  if (failed) {
    const count = describeCount(idsOf("rejected").length);
    showToast(`${count} could not be deleted. ${describeError(failed.reason)}`, { kind: "error" });
  }
}

async function sendDeletion(ids, keepalive) {
  if (ids.length > 1) {
    await api.request("DELETE", "sessions", { query: { listed: true }, body: { ids }, keepalive });
    return;
  }
  try {
    await api.request("DELETE", `sessions/${encodeURIComponent(ids[0])}`, { keepalive });
  } catch (error) {
    if (error.status !== 404) {
      throw error;
    }
  }
}

function updateBatches(changes) {
  const { waiting, sent } = { ...slice.state, ...changes };
  slice.update({ waiting, sent, hidden: new Set([...waiting, ...sent].flatMap(({ ids }) => ids)) });
}

function without(batches, batch) {
  return batches.filter((other) => other !== batch);
}

function chunksOf(ids) {
  return Array.from({ length: Math.ceil(ids.length / MAX_IDS) }, (_, index) =>
    ids.slice(index * MAX_IDS, (index + 1) * MAX_IDS));
}
