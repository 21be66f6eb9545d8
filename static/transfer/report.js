/** What becomes of a file's conversations: the lines of the server's report, counted. */

const MAX_LISTED = 5_000; // of a file and a status; beyond that they are only counted

/** The statuses of a conversation, in the order in which a report has them. */
export const STATUSES = ["imported", "skipped", "refused"];

/** Return a report without any line. */
export function createReport(isRehearsal) {
  return {
    isRehearsal,
    isComplete: false,
    endedBy: null, // the code of an error
    items: [],
    counts: { imported: 0, skipped: 0, refused: 0 },
    messages: 0,
    withLeftOut: 0,
    notListed: 0,
  };
}

/** Add a line of the server's report: an item, or at its end the counts, or the error that has ended the import. */
export function addLine(report, line) {
  if (!line.counts && !line.status) {
    report.endedBy = line.error;
    return;
  }
  if (line.counts) {
    // Of refused items the server lists the first, and counts all.
    report.isComplete = true;
    report.counts = line.counts;
    report.notListed += line.not_listed ?? 0;
    return;
  }
  report.counts[line.status] += 1;
  report.messages += line.status === "imported" ? (line.messages ?? 0) : 0;
  report.withLeftOut += line.left_out ? 1 : 0;
  if (report.counts[line.status] > MAX_LISTED) {
    report.notListed += 1;
  } else {
    report.items.push(line);
  }
}

/** Return the sums of several reports. */
export function addUp(reports) {
  const sum = (value) => reports.reduce((total, report) => total + value(report), 0);
  return {
    counts: Object.fromEntries(STATUSES.map((status) => [status, sum(({ counts }) => counts[status])])),
    messages: sum(({ messages }) => messages),
    withLeftOut: sum(({ withLeftOut }) => withLeftOut),
    notListed: sum(({ notListed }) => notListed),
  };
}
