/** The timeline's panel: what was said and what was done, and the report of it. */

import { guard, html, nothing, repeat } from "../core/html.js";
import { messageLink } from "../core/router.js";
import { excerpt } from "../core/text.js";
import { formatDuration, timeView } from "../core/time.js";
import { countOf } from "../core/words.js";
import { runsState } from "../actions/runs.js";
import { runView } from "../actions/run_view.js";
import { downloadBlob } from "../ui/download.js";
import { icon } from "../ui/icons.js";
import { copyAndTell } from "../ui/toast.js";
import * as model from "./model.js";

const EXCERPT = 280;
const END_PX = 64;
const ROLES = { user: "You", assistant: "Assistant", system: "System" };

/** Render the panel. */
export function timelineView() {
  const { status, error, cursor, isLoadingOlder, isReporting, choice, sessionId, openings } = model.timelineState();
  const rows = model.timelineRows();
  followEnd(rows, openings);
  return html`
    <div class="section-head timeline-head">
      <h2>Timeline</h2>
      <button type="button" aria-expanded=${isReporting} @click=${toggleReport}>
        ${icon("export")}Incident report
      </button>
    </div>
    ${isReporting ? reportView(choice, cursor) : nothing}
    ${
      error || runsState().error
        ? html`<p class="error" role="alert">${error || runsState().error}</p>
            <button type="button" @click=${model.reloadTimeline}>Try again</button>`
        : nothing
    }
    ${status === "loading" ? html`<p class="quiet">Loading…</p>` : nothing}
    ${
      status === "ready" && rows.length === 0
        ? html`<p class="quiet">Nothing has happened in this session yet.</p>`
        : nothing
    }
    ${
      cursor
        ? html`<button type="button" class="timeline-older" ?disabled=${isLoadingOlder} @click=${() => model.loadOlder()}>
            ${isLoadingOlder ? "Loading…" : "Load older"}
          </button>`
        : nothing
    }
    <ol class="timeline">
      ${repeat(
        rows,
        ({ id }) => id,
        (row) =>
          guard([row.message ?? runKey(row.run), row.gap, isReporting && choice], () =>
            rowView(row, sessionId, isReporting && choice),
          ),
      )}
    </ol>
  `;
}

let end = { id: null, openings: 0 };

/** Show the newest row when the timeline has been opened, and a new one if the one before it was in sight. */
function followEnd(rows, openings) {
  const id = rows.at(-1)?.id;
  if (id === end.id && openings === end.openings) {
    return;
  }
  const scroller = document.querySelector(".panel-content");
  const isAtEnd = scroller && scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < END_PX;
  if (isAtEnd || openings !== end.openings) {
    queueMicrotask(() => document.querySelector(".timeline > :last-child")?.scrollIntoView({ block: "end" }));
  }
  end = { id, openings };
}

/** Return what a run's row depends on: one that waits for its answer is a new object each time. */
function runKey(run) {
  return run.waiting ? `${run.status} ${run.error}` : run;
}

function rowView(row, sessionId, choice) {
  const label = row.kind === "run" ? `webhook run ${row.run.action}` : "message";
  const change = (event) => model.chooseRow(row.id, event.target.checked);
  return html`
    ${row.gap ? html`<li class="gap"><span>${formatDuration(row.gap)}</span></li>` : nothing}
    <li class="row ${row.run?.status ?? row.message.role}">
      ${
        choice
          ? html`<input
              type="checkbox"
              aria-label="In the report: ${label}, ${row.at}"
              .checked=${!choice.excluded.has(row.id)}
              @change=${change}
            />`
          : nothing
      }
      ${row.kind === "run" ? runView(row.run) : messageView(row.message, sessionId)}
    </li>
  `;
}

function messageView({ id, role, content, created_at: at }, sessionId) {
  return html`<article class="said">
    <header><a href=${messageLink(sessionId, id)}>${ROLES[role]}</a><span class="quiet">${timeView(at)}</span></header>
    <p>${excerpt(content, EXCERPT)}</p>
  </article>`;
}

function reportView({ from, to }, cursor) {
  const chosen = model.reportRows();
  const runs = chosen.filter(({ kind }) => kind === "run").length;
  const range = (name) => (event) => model.chooseRange({ [name]: event.target.value });
  return html`<section class="report-controls" aria-label="Incident report">
    <p class="quiet">What is chosen below, as Markdown for the ticket, with times in UTC.</p>
    <div class="range">
      <label>From <input type="datetime-local" .value=${from} @change=${range("from")} /></label>
      <label>To <input type="datetime-local" .value=${to} @change=${range("to")} /></label>
    </div>
    <div class="buttons">
      <button type="button" class="link" @click=${() => model.chooseAll(true)}>All</button>
      <button type="button" class="link" @click=${() => model.chooseAll(false)}>None</button>
      <span class="count" role="status">${countOf(chosen.length - runs, "message")}, ${countOf(runs, "run")}</span>
    </div>
    ${
      cursor
        ? html`<p class="quiet">
            Older messages are not loaded, and so not in it.
            <button type="button" class="link" @click=${model.loadAll}>Load all</button>
          </p>`
        : nothing
    }
    <div class="buttons">
      <button type="button" ?disabled=${chosen.length === 0} @click=${download}>${icon("export")}Download</button>
      <button
        type="button"
        class="primary"
        ?disabled=${chosen.length === 0}
        @click=${() => copyAndTell(model.buildReport(), "The report")}
      >
        ${icon("copy")}Copy
      </button>
    </div>
  </section>`;
}

function toggleReport() {
  model.toggleReport();
  document.querySelector(".panel-content").scrollTop = 0; // where the report's controls are
}

function download() {
  downloadBlob(new Blob([model.buildReport()], { type: "text/markdown" }), "incident-report.md");
}
