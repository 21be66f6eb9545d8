/** The rows of the list: sessions under the days on which they were last updated, or the hits of a search. */

import { memoized } from "../core/memo.js";
import { formatDay, startOfDay } from "../core/time.js";
import { hiddenIds } from "./deletion.js";
import { sessionsState } from "./model.js";
import { isSearching, searchState } from "./search.js";

const MORE = { kind: "more", key: "more" };

const NO_HITS = [];

const listRows = memoized(groupByDay);
const sessionsOf = memoized((rows) => rows.flatMap(({ session }) => session ?? []));
const hitRows = memoized((hits, hidden) =>
  hits.filter(({ id }) => !hidden.has(id)).map((session, index) => sessionRow(session, index + 1)));

/** Return the list's rows, the same array as long as they are the same. */
export function sessionRows() {
  const { items, cursor } = sessionsState();
  return listRows(items, hiddenIds(), cursor !== null, startOfDay(new Date()));
}

/** Return the rows of the hits. */
export function searchRows() {
  return hitRows(searchState().hits ?? NO_HITS, hiddenIds());
}

/** Return the sessions that are listed now, in their order. */
export function listedSessions() {
  return sessionsOf(isSearching() ? searchRows() : sessionRows());
}

function groupByDay(items, hidden, hasMore) {
  const rows = [];
  let position = 0;
  let day = null;
  for (const session of items) {
    if (hidden.has(session.id)) {
      continue;
    }
    const updatedAt = new Date(session.updated_at);
    if (day === null || updatedAt < day) {
      day = startOfDay(updatedAt);
      rows.push({ kind: "day", key: `day ${day}`, label: formatDay(session.updated_at) });
    }
    rows.push(sessionRow(session, (position += 1)));
  }
  if (hasMore) {
    rows.push(MORE);
  }
  return rows;
}

function sessionRow(session, position) {
  return { kind: "session", key: session.id, position, session };
}
