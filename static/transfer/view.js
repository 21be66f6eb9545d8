/** The screen to import and export. */

import { html, nothing, repeat } from "../core/html.js";
import { countOf, formatBytes, formatNumber } from "../core/words.js";
import { loginState } from "../login/model.js";
import { icon } from "../ui/icons.js";
import { cancelExport, exportEverything, exportState } from "./exports.js";
import { filesOfFolder } from "./files.js";
import * as model from "./model.js";
import { reportView } from "./report_view.js";

const STAGES = {
  unfit: "Cannot be imported",
  queued: "Waiting",
  approved: "Waiting",
  checking: "Checking…",
  checked: "Checked",
  importing: "Importing…",
  imported: "Imported",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** Render the screen. */
export function transferView() {
  return html`
    <header class="screen-header">
      <a class="icon back" href="#/" aria-label="Back to the sessions">${icon("back")}</a>
      <h1>Import and export</h1>
    </header>
    <div class="screen-content transfer">
      <section aria-labelledby="import-title">
        <h2 id="import-title">Import</h2>
        <p class="quiet">
          Conversations from Parley, ChatGPT, Claude, Open WebUI or LibreChat, as JSON files. You see what would be
          imported before anything is.
        </p>
        ${dropView()} ${filesView()}
      </section>
      <section aria-labelledby="export-title">
        <h2 id="export-title">Export</h2>
        ${exportView()}
      </section>
    </div>
  `;
}

function dropView() {
  const chooseFiles = (event) => choose(event, (files) => files);
  const chooseFolder = (event) => choose(event, filesOfFolder);
  return html`
    <div class="drop">
      ${icon("import")}
      <p>Drop files or a folder here, or anywhere on the page.</p>
      <div class="buttons">
        <button type="button" class=${model.transferState().files.length ? "" : "primary"} @click=${openInput}>Choose files</button>
        <input type="file" hidden multiple accept=".json,.ndjson,.jsonl,.zip" data-testid="files" @change=${chooseFiles} />
        <button type="button" @click=${openInput}>Choose a folder</button>
        <input type="file" hidden webkitdirectory data-testid="folder" @change=${chooseFolder} />
      </div>
      <p class="quiet">Up to ${formatBytes(loginState().about.limits.import_bytes)} a file</p>
    </div>
  `;
}

function openInput(event) {
  event.currentTarget.nextElementSibling.click();
}

function choose({ target }, select) {
  model.addFiles(select(Array.from(target.files)));
  target.value = ""; // so that the same file can be chosen again
}

function filesView() {
  const { files } = model.transferState();
  return files.length
    ? html`
        <ul class="files" aria-label="Files">
          ${repeat(files, ({ id }) => id, fileView)}
        </ul>
        ${summaryView()} ${reportView()}
      `
    : nothing;
}

function fileView({ id, file, stage, error, sent, expected, report }) {
  const isRunning = stage === "checking" || stage === "importing";
  const canRetry = stage === "failed" || stage === "cancelled";
  return html`
    <li class="file ${stage}">
      <div class="file-name">
        <strong>${file.name}</strong> <span class="quiet">${formatBytes(file.size)}</span>
      </div>
      <div class="file-state">${STAGES[stage]}${report ? html`: ${countsOf(report)}` : nothing}</div>
      ${isRunning ? progressView(file, sent, expected, report) : nothing}
      ${error ? html`<p class="error">${error}</p>` : nothing}
      ${canRetry && !report?.isRehearsal && report?.counts.imported
        ? html`<p class="quiet">What has been imported stays; trying again skips it.</p>`
        : nothing}
      <div class="file-buttons">
        ${canRetry ? html`<button type="button" @click=${() => model.retryFile(id)}>Try again</button>` : nothing}
        ${isRunning
          ? nothing
          : html`<button type="button" class="icon" aria-label="Remove ${file.name} from the list" @click=${() => model.removeFile(id)}>
              ${icon("close")}
            </button>`}
      </div>
    </li>
  `;
}

/** The bar shows what takes longest: first the bytes on their way, then, if their number is known, the conversations. */
function progressView(file, sent, expected, report) {
  const isSending = sent < file.size;
  const done = report.counts.imported + report.counts.skipped + report.counts.refused;
  const text = isSending
    ? `${formatBytes(sent)} of ${formatBytes(file.size)} sent`
    : `${formatNumber(done)}${expected ? ` of ${formatNumber(expected)}` : ""} conversations`;
  return html`<div class="progress">
    ${isSending || expected
      ? html`<progress aria-label="Progress of ${file.name}" max=${isSending ? file.size : expected} .value=${isSending ? sent : done}></progress>`
      : html`<progress aria-label="Progress of ${file.name}"></progress>`}
    <span class="quiet">${text}</span>
  </div>`;
}

function countsOf({ counts, isRehearsal }) {
  return [
    `${formatNumber(counts.imported)} ${isRehearsal ? "new" : "imported"}`,
    ...(counts.skipped ? [`${formatNumber(counts.skipped)} already there`] : []),
    ...(counts.refused ? [`${formatNumber(counts.refused)} refused`] : []),
  ].join(", ");
}

function summaryView() {
  const { files, duplicate, running } = model.transferState();
  const ready = files.filter(({ stage, report }) => stage === "checked" && report.counts.imported);
  const isDone = !running && files.some(({ stage }) => stage === "imported");
  const count = ready.reduce((sum, { report }) => sum + report.counts.imported, 0);
  const messages = ready.reduce((sum, { report }) => sum + report.messages, 0);
  const setDuplicate = (event) => model.setDuplicate(event.target.checked);
  return html`
    <label class="check"><input type="checkbox" .checked=${duplicate} ?disabled=${running} @change=${setDuplicate} />
      Import again what is already there</label>
    <div class="buttons">
      ${running
        ? html`<button type="button" @click=${model.cancelTransfer}>Cancel</button>`
        : html`<button type="button" @click=${model.clearFiles}>${isDone && !count ? "Done" : "Clear the list"}</button>`}
      ${count || !isDone
        ? html`<button type="button" class="primary" ?disabled=${running || !count} @click=${importAndStay}>
            ${importLabel(count, messages, running)}
          </button>`
        : nothing}
    </div>
  `;
}

function importLabel(count, messages, running) {
  if (running === "import") {
    return "Importing…";
  }
  return count ? `Import ${countOf(count, "conversation")} (${countOf(messages, "message")})` : "Nothing to import";
}

/** The button that had the focus is gone meanwhile: the report takes it over. */
function importAndStay() {
  model.importFiles();
  requestAnimationFrame(() => document.querySelector(".report h3")?.focus({ preventScroll: true }));
}

function exportView() {
  const { running, received } = exportState();
  return html`
    <p class="quiet">
      Every session with its messages, a line each, in one file that this or another Parley imports again. System
      prompts and webhook runs are not in it. One session alone: see its menu.
    </p>
    <div class="buttons start">
      <button type="button" ?disabled=${running} @click=${exportEverything}>${icon("export")} Export everything</button>
      ${running
        ? html`<button type="button" @click=${cancelExport}>Cancel</button>
            <span class="quiet" role="status">${formatBytes(received)} received</span>`
        : nothing}
    </div>
  `;
}
