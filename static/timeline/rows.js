/** Messages and webhook runs on one axis of time, oldest first. */

const GAP_MS = 60_000; // a shorter one is not worth a line

/**
 * @typedef {object} Row
 * @property {"message" | "run"} kind
 * @property {string} id
 * @property {string} at
 * @property {number} gap milliseconds since the row before, 0 if that is not worth mentioning
 * @property {object} [message]
 * @property {object} [run]
 */

/**
 * Merge messages and runs. The messages keep their order, whatever their times, which an import has taken as they were.
 * @param {object[]} messages
 * @param {object[]} runs
 * @param {boolean} hasOlder whether there are older messages that are not here: then runs before them are not shown
 * @returns {Row[]}
 */
export function rowsOf(messages, runs, hasOlder) {
  const start = hasOlder && messages.length ? messages[0].created_at : "";
  const waiting = runs.filter(({ started_at: at }) => at >= start).sort(byStart);
  const rows = [];
  for (const message of messages) {
    while (waiting.length && waiting[0].started_at < message.created_at) {
      rows.push(runRow(waiting.shift()));
    }
    rows.push({ kind: "message", id: message.id, at: message.created_at, message });
  }
  return withGaps([...rows, ...waiting.map(runRow)]);
}

/**
 * Return the rows of a report: those that are not excluded, within a range of time.
 * @param {Row[]} rows
 * @param {{excluded: Set<string>, from: string, to: string}} choice times as `datetime-local` has them, empty for none
 */
export function chosenRows(rows, { excluded, from, to }) {
  const [first, last] = [from ? Date.parse(from) : -Infinity, to ? Date.parse(to) + GAP_MS : Infinity];
  const isWithin = ({ at }) => Date.parse(at) >= first && Date.parse(at) < last;
  return withGaps(rows.filter((row) => isWithin(row) && !excluded.has(row.id)));
}

function runRow(run) {
  return { kind: "run", id: run.id, at: run.started_at, run };
}

function byStart({ started_at: one }, { started_at: other }) {
  return one < other ? -1 : Number(one > other);
}

function withGaps(rows) {
  return rows.map((row, index) => {
    const gap = index ? Date.parse(row.at) - Date.parse(rows[index - 1].at) : 0;
    return { ...row, gap: gap >= GAP_MS ? gap : 0 };
  });
}
