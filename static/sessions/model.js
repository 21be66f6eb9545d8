/** The list of sessions. */

import * as api from "../core/api.js";
import { navigate, sessionLink } from "../core/router.js";
import { createSlice } from "../core/store.js";
import { broadcast, onBroadcast } from "../core/tabs.js";

const slice = createSlice("sessions", { items: [], cursor: null });

export function sessionsState() {
  return slice.state;
}

export async function loadSessions() {
  const { items, next_cursor: cursor } = await api.request("GET", "sessions", { query: { limit: 50 } });
  slice.update({ items, cursor });
}

export async function createSession() {
  const session = await api.request("POST", "sessions", { key: api.createKey() });
  slice.update({ items: [session, ...slice.state.items] });
  navigate(sessionLink(session.id));
}

export function selectNeighbor(step) {}

export function watchSessions() {
  onBroadcast("sessions_added", loadSessions);
}

export function sessionsChanged() {
  broadcast("sessions_added");
  loadSessions();
}
