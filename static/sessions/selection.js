/** Which sessions are selected, to be deleted together. */

import { createSlice } from "../core/store.js";
import { deleteSessions } from "./deletion.js";

const slice = createSlice("selection", () => ({ isSelecting: false, selected: new Set(), anchor: null }));

/** Return the selection: `{isSelecting, selected}`, the latter a set of ids. */
export function selection() {
  return slice.state;
}

/** Begin to select, with one session perhaps, or stop. */
export function startSelecting(id) {
  slice.update({ isSelecting: true, selected: new Set(id ? [id] : []), anchor: id ?? null });
}

/** Stop selecting. */
export function stopSelecting() {
  slice.reset();
}

/**
 * Select a session or not; with a range, also all between it and the one before.
 * @param {string} id
 * @param {boolean} isSelected
 * @param {string[]} [range] the ids as they are listed
 */
export function select(id, isSelected, range = []) {
  const selected = new Set(slice.state.selected);
  const [start, end] = [range.indexOf(slice.state.anchor), range.indexOf(id)].sort((a, b) => a - b);
  const ids = start >= 0 ? range.slice(start, end + 1) : [id];
  ids.forEach((each) => (isSelected ? selected.add(each) : selected.delete(each)));
  slice.update({ selected, anchor: id });
}

/** Select all of these. */
export function selectAll(ids) {
  slice.update({ selected: new Set(ids) });
}

/** Delete what is selected, and stop selecting. */
export function deleteSelected() {
  const ids = [...slice.state.selected];
  stopSelecting();
  if (ids.length) {
    deleteSessions(ids);
  }
}
