/** The report of an import, conversation by conversation. */

import { guard, html, nothing } from "../core/html.js";
import { describeDetails } from "../core/errors.js";
import { sessionLink } from "../core/router.js";
import { countOf, formatNumber } from "../core/words.js";
import * as model from "./model.js";
import { describeRefusal, LEFT_OUT } from "./words.js";

const PAGE = 100;

const FILTERS = [
  { name: "all", label: () => "All", matches: () => true },
  { name: "imported", label: (isRehearsal) => (isRehearsal ? "New" : "Imported"), matches: ({ status }) => status === "imported" },
  { name: "skipped", label: () => "Already there", matches: ({ status }) => status === "skipped" },
  { name: "refused", label: () => "Refused", matches: ({ status }) => status === "refused" },
  { name: "left_out", label: () => "Not complete", matches: (item) => Boolean(item.left_out) },
];

/** Render the report of all files. */
export function reportView() {
  const { files, filter, shown } = model.transferState();
  const reports = files.filter(({ report }) => report);
  if (!reports.length) {
    return nothing;
  }
  return guard([...reports.map(({ report }) => report), reports.length, filter, shown], () => listView(reports, filter, shown));
}

function listView(files, filter, shown) {
  const { counts, withLeftOut, notListed } = model.totals();
  const isRehearsal = files.every(({ report }) => report.isRehearsal);
  const { matches } = FILTERS.find(({ name }) => name === filter);
  const limit = shown + PAGE;
  const isOne = files.length === 1;
  const found = files.flatMap(({ file, report }) =>
    report.items.filter(matches).map((item) => ({ item, isRehearsal: report.isRehearsal, fileName: isOne ? "" : file.name })),
  );
  const numbers = { ...counts, all: counts.imported + counts.skipped + counts.refused, left_out: withLeftOut };
  return html`
    <section class="report" aria-labelledby="report-title">
      <h3 id="report-title" tabindex="-1">${isRehearsal ? "What would be imported" : "What has been imported"}</h3>
      <div class="filters" role="group" aria-label="Show">
        ${FILTERS.filter(({ name }) => name === "all" || numbers[name]).map(
          ({ name, label }) => html`<button type="button" aria-pressed=${name === filter} @click=${() => model.setFilter(name)}>
            ${label(isRehearsal)} <span class="number">${formatNumber(numbers[name])}</span>
          </button>`,
        )}
      </div>
      <ol class="items">
        ${found.slice(0, limit).map(itemView)}
      </ol>
      ${found.length > limit
        ? html`<button type="button" @click=${() => model.showMore(PAGE)}>
            Show ${formatNumber(Math.min(PAGE, found.length - limit))} more of ${formatNumber(found.length - limit)}
          </button>`
        : nothing}
      ${notListed ? html`<p class="quiet">${countOf(notListed, "conversation is", "conversations are")} counted, but not listed.</p>` : nothing}
    </section>
  `;
}

function itemView({ item, isRehearsal, fileName }) {
  const { status, title, messages, session_id: id, line } = item;
  const { label } = FILTERS.find(({ name }) => name === status);
  const place = [`No. ${formatNumber(line)}`, fileName].filter(Boolean).join(" of ");
  return html`
    <li class="item">
      <span class="status ${status}">${label(isRehearsal)}</span>
      <div>
        ${id ? html`<a href=${sessionLink(id)}>${title || "Untitled"}</a>` : html`<span class="title">${title || "Untitled"}</span>`}
        <span class="quiet">
          ${messages === undefined ? nothing : html`${countOf(messages, "message")} · `}${line === undefined ? fileName : place}
        </span>
        ${item.error ? refusalView(item) : nothing}
        ${item.left_out ? html`<p class="quiet">Left out: ${leftOutOf(item.left_out)}</p>` : nothing}
      </div>
    </li>
  `;
}

function refusalView({ error, details }) {
  return html`<p class="error">${describeRefusal(error)}</p>
    ${details ? html`<ul class="details">${describeDetails(details).slice(0, 5).map((text) => html`<li>${text}</li>`)}</ul>` : nothing}`;
}

function leftOutOf(leftOut) {
  return Object.entries(leftOut)
    .map(([kind, count]) => countOf(count, ...(LEFT_OUT[kind] ?? [kind.replaceAll("_", " "), kind.replaceAll("_", " ")])))
    .join(", ");
}
