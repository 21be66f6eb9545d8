/** The search in all sessions, as one types. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { announce } from "../ui/toast.js";

const PAUSE_MS = 150; // after the last key
const MAX_HITS = 100;

// `hits` is null until there is an answer.
const slice = createSlice("search", { query: "", hits: null, error: "" });
let pending = { timer: 0, controller: new AbortController() };

/** Return the search's state: `{query, hits, error}`. */
export function searchState() {
  return slice.state;
}

/** Return whether the list shows hits. */
export function isSearching() {
  return slice.state.query.trim() !== "";
}

/** Search for a text; an empty one shows the list again. What has been asked before is not waited for any more. */
export function search(query) {
  clearTimeout(pending.timer);
  pending.controller.abort();
  pending = { timer: 0, controller: new AbortController() };
  slice.update({ query, error: "" });
  if (isSearching()) {
    const { signal } = pending.controller;
    pending.timer = setTimeout(() => getHits(query, signal), PAUSE_MS);
  } else {
    slice.update({ hits: null });
  }
}

/** Return "12 sessions found", as a sentence. */
export function describeHits({ length }) {
  if (length === 0) {
    return "No session contains all of these words.";
  }
  return length === MAX_HITS ? `The best ${MAX_HITS} sessions.` : `${length} ${length === 1 ? "session" : "sessions"} found.`;
}

/** Show what has changed in a session in its hit, too. */
export function noteInHits(session) {
  const { hits } = slice.state;
  slice.update({ hits: hits && hits.map((hit) => (hit.id === session.id ? { ...hit, title: session.title } : hit)) });
}

/** Take sessions off the hits. */
export function removeHits(ids) {
  const { hits } = slice.state;
  slice.update({ hits: hits && hits.filter(({ id }) => !ids.has(id)) });
}

async function getHits(query, signal) {
  try {
    const { items } = await api.request("GET", "sessions", { query: { q: query, limit: MAX_HITS }, signal });
    slice.update({ hits: items, error: "" });
    announce(describeHits(items));
  } catch (error) {
    if (error.name !== "AbortError") {
      slice.update({ error: describeError(error) });
    }
  }
}
