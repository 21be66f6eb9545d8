/** The session that is open: read without its messages, kept in step with other tabs, updated without overwriting. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { broadcast, onBroadcast } from "../core/tabs.js";

const PATHS = { title: "", system_prompt: "/system-prompt" };

// `status` is "none", "loading", "ready", "missing" or "failed".
const slice = createSlice("current", { id: null, status: "none", session: null, etag: null, error: "" });

/** Return the open session's state: `{id, status, session, etag, error}`. */
export function currentSession() {
  return slice.state;
}

/** Open a session; null opens none. Reading again what is open keeps it on the page meanwhile. */
export async function openSession(id) {
  if (id !== slice.state.id) {
    slice.reset();
    slice.update({ id, status: id ? "loading" : "none" });
  }
  if (!id) {
    return;
  }
  try {
    const { data, etag } = await getSession(id, slice.state.etag);
    if (data) {
      showSession(data, etag);
    }
  } catch (error) {
    if (id === slice.state.id && error.status === 404) {
      slice.update({ status: "missing" });
    } else if (id === slice.state.id && !slice.state.session) {
      slice.update({ status: "failed", error: describeError(error) }); // what is on the page already stays
    }
  }
}

/** Show a session as a request has just returned it, if it is the open one. */
export function showSession(session, etag = null) {
  if (session.id === slice.state.id) {
    slice.update({ session, etag, status: "ready", error: "" });
  }
}

/**
 * Change one field of a session, unless somebody else has changed it since `base` was read. What else has changed in
 * the session, a new message for example, is no conflict.
 * @param {{id: string}} base the session as the person knows it
 * @param {"title" | "system_prompt"} field
 * @returns {Promise<{session: object} | {conflict: object}>} the session as it is now
 */
export async function updateSession(base, field, value) {
  for (;;) {
    const { data: latest, etag } = await getSession(base.id);
    if (latest[field] !== base[field]) {
      showSession(latest, etag);
      return { conflict: latest };
    }
    try {
      const path = `sessions/${base.id}${PATHS[field]}`;
      const updated = await api.requestWithEtag("PATCH", path, { body: { [field]: value }, ifMatch: etag });
      showSession(updated.data, updated.etag);
      broadcast("session_updated", { id: base.id });
      return { session: updated.data };
    } catch (error) {
      if (error.code !== "precondition_failed") {
        throw error;
      }
    }
  }
}

/** Read the open session again when another tab has changed it, and when the person comes back to this tab. */
export function watchSession() {
  const reread = () => slice.state.status === "ready" && openSession(slice.state.id);
  onBroadcast("session_updated", ({ id }) => id === slice.state.id && reread());
  onBroadcast("sessions_deleted", ({ ids }) => ids.includes(slice.state.id) && slice.update({ status: "missing" }));
  addEventListener("focus", reread);
  addEventListener("online", reread);
}

/** Return `{data, etag}` of a session without its messages. */
function getSession(id, ifNoneMatch) {
  return api.requestWithEtag("GET", `sessions/${encodeURIComponent(id)}`, { query: { messages: false }, ifNoneMatch });
}
