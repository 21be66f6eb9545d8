/** Importing: files are rehearsed as soon as they are chosen, and imported when somebody has seen the report. */

import * as api from "../core/api.js";
import { ApiError, describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { countOf } from "../core/words.js";
import { loginState } from "../login/model.js";
import { sessionsChanged } from "../sessions/model.js";
import { announce } from "../ui/toast.js";
import { findProblem } from "./files.js";
import { addLine, addUp, createReport } from "./report.js";

const REDRAW_MS = 100;

// What can be done with a file, and its stage before, meanwhile and afterwards. Other stages of a file are "unfit",
// which cannot be sent, "failed" and "cancelled".
const JOBS = {
  check: { before: "queued", during: "checking", after: "checked", isRehearsal: true },
  import: { before: "approved", during: "importing", after: "imported", isRehearsal: false },
};

// A file is `{id, file, stage, error, sent, expected, report}`; `running` is the name of a job.
const slice = createSlice("transfer", { files: [], duplicate: false, running: null, filter: "all", shown: 0 });
let lastId = 0;
let controller = null;

/** Return the state of imports: `{files, duplicate, running, filter, shown}`. */
export function transferState() {
  return slice.state;
}

/** Return the sums of all files' reports. */
export function totals() {
  return addUp(slice.state.files.filter(({ report }) => report).map(({ report }) => report));
}

/** Add files, without those that are there already, and rehearse their import. */
export async function addFiles(files) {
  const maxBytes = loginState().about.limits.import_bytes;
  const known = new Set(slice.state.files.map(({ file }) => identify(file)));
  const added = files.filter((file) => !known.has(identify(file)));
  const problems = await Promise.all(added.map((file) => findProblem(file, maxBytes)));
  const entries = added.map((file, index) => ({
    id: (lastId += 1),
    file,
    stage: problems[index] ? "unfit" : JOBS.check.before,
    error: problems[index],
    sent: 0,
    expected: 0,
    report: null,
  }));
  slice.update({ files: [...slice.state.files, ...entries] });
  await run("check");
}

/** Take a file off the list. */
export function removeFile(id) {
  slice.update({ files: slice.state.files.filter((entry) => entry.id !== id) });
}

/** Take all files off the list. */
export function clearFiles() {
  slice.update({ files: [], filter: "all", shown: 0 });
}

/** Choose whether to import again what is already there, and rehearse again what has not been imported. */
export async function setDuplicate(duplicate) {
  slice.update({ duplicate });
  requeue(({ stage }) => stage === "checked", "check");
  await run("check");
}

/** Try a file again that has failed or was cancelled. What it has imported so far is there, and will be skipped. */
export async function retryFile(id) {
  requeue((entry) => entry.id === id, "check");
  await run("check");
}

/** Import what the rehearsal has found to be new. */
export async function importFiles() {
  requeue(({ stage, report }) => stage === "checked" && report.counts.imported > 0, "import");
  await run("import");
}

/** Stop what is going on; what has been imported so far stays. */
export function cancelTransfer() {
  controller?.abort();
}

/** List the conversations of one status, or "all", or "left_out". */
export function setFilter(filter) {
  slice.update({ filter, shown: 0 });
}

/** List more conversations of the report. */
export function showMore(count) {
  slice.update({ shown: slice.state.shown + count });
}

/** Return whether leaving the page now would break something off. */
export function isTransferring() {
  return slice.state.running !== null;
}

function identify({ name, size, lastModified, webkitRelativePath }) {
  return JSON.stringify([webkitRelativePath || name, size, lastModified]);
}

function requeue(isMeant, jobName) {
  slice.update({
    files: slice.state.files.map((entry) => (isMeant(entry) ? { ...entry, stage: JOBS[jobName].before } : entry)),
  });
}

function update(id, changes) {
  slice.update({ files: slice.state.files.map((entry) => (entry.id === id ? { ...entry, ...changes } : entry)) });
}

function nextFile(jobName) {
  return slice.state.files.find(({ stage }) => stage === JOBS[jobName].before);
}

/** Do a job with all files that wait for it, one after another; what is added meanwhile has its turn as well. */
async function run(jobName) {
  if (slice.state.running || !nextFile(jobName)) {
    return;
  }
  controller = new AbortController();
  const { signal } = controller;
  slice.update({ running: jobName, shown: 0 });
  while (nextFile(jobName) && !signal.aborted) {
    await send(nextFile(jobName), JOBS[jobName], signal);
  }
  if (signal.aborted) {
    slice.update({ files: slice.state.files.map((entry) => (entry.stage === JOBS[jobName].before ? { ...entry, stage: "cancelled" } : entry)) });
  }
  slice.update({ running: null });
  announce(describeTotals());
  await run("check");
}

async function send(entry, job, signal) {
  const { id, file } = entry;
  const report = createReport(job.isRehearsal);
  const redraw = throttle(() => update(id, { report: { ...report } }), REDRAW_MS);
  const { counts } = entry.report ?? {};
  const expected = counts ? counts.imported + counts.skipped + counts.refused : 0;
  update(id, { stage: job.during, error: "", sent: 0, expected, report });
  let outcome = { stage: job.after };
  try {
    await api.upload("import", file, {
      query: { dry_run: job.isRehearsal ? 1 : null, duplicate: slice.state.duplicate ? 1 : null },
      signal,
      onSent: (sent) => (isListed(id) ? update(id, { sent }) : cancelTransfer()),
      onLine(line) {
        addLine(report, line);
        redraw();
      },
    });
    if (!report.isComplete) {
      throw report.endedBy ? new ApiError(500, report.endedBy) : new ApiError(0, "network_error");
    }
  } catch (error) {
    outcome = error.name === "AbortError" ? { stage: "cancelled" } : { stage: "failed", error: describeError(error) };
  }
  redraw.cancel();
  update(id, { ...outcome, report: { ...report } });
  if (!job.isRehearsal && report.counts.imported) {
    sessionsChanged();
  }
}

/** Return whether a file is still on the list: it is not after its removal, or a logout. */
function isListed(id) {
  return slice.state.files.some((entry) => entry.id === id);
}

function describeTotals() {
  const { counts } = totals();
  const isDone = slice.state.files.some(({ stage }) => stage === "imported");
  return `${countOf(counts.imported, "conversation")} ${isDone ? "imported" : "new"}, ${counts.skipped} already there, ${counts.refused} refused.`;
}

function throttle(run, intervalMs) {
  let timer = null;
  const throttled = () => {
    timer ??= setTimeout(() => {
      timer = null;
      run();
    }, intervalMs);
  };
  throttled.cancel = () => clearTimeout(timer);
  return throttled;
}
