/** A row of the list: a day, a session, or the place where more of them are loaded. */

import { html, nothing } from "../core/html.js";
import { currentRoute, sessionLink } from "../core/router.js";
import { formatClock, formatClockOrDay, formatTime } from "../core/time.js";
import { icon } from "../ui/icons.js";
import { activeId, deleteInList, renameInList } from "./list.js";
import { parseMatch } from "./match.js";
import { loadMore, sessionsState } from "./model.js";
import { listedSessions } from "./rows.js";
import { select, selection } from "./selection.js";
import { titleEditor } from "./title_editor.js";

const VIEWS = {
  day: ({ label }) => html`<h2>${label}</h2>`,
  more: moreView,
  session: ({ session }) =>
    selection().isSelecting ? checkView(session) : (titleEditor(session, "list") ?? linkView(session)),
};

/** Render a row's content. */
export function rowView(row) {
  return VIEWS[row.kind](row);
}

function linkView(session) {
  const tabIndex = session.id === activeId() ? 0 : -1;
  const name = session.title || `Untitled session, ${formatTime(session.updated_at)}`;
  const rename = (event) => {
    event.preventDefault();
    renameInList(session);
  };
  return html`
    <a
      href=${sessionLink(session.id)}
      tabindex=${tabIndex}
      aria-current=${session.id === currentRoute().sessionId ? "page" : "false"}
      @dblclick=${rename}
    >${textView(session)}</a>
    <div class="row-actions">
      <button type="button" class="icon" tabindex=${tabIndex} aria-label="Rename: ${name}" @click=${rename}>${icon("edit")}</button>
      <button type="button" class="icon" tabindex=${tabIndex} aria-label="Delete: ${name}" @click=${() => deleteInList(session)}>
        ${icon("delete")}
      </button>
    </div>
  `;
}

function checkView(session) {
  const check = (event) => {
    const ids = event.shiftKey ? listedSessions().map(({ id }) => id) : [];
    select(session.id, event.target.checked, ids);
  };
  const isSelected = selection().selected.has(session.id);
  return html`<label class=${isSelected ? "selected" : ""}>
    <input
      type="checkbox"
      tabindex=${session.id === activeId() ? 0 : -1}
      .checked=${isSelected}
      @click=${check}
    />
    ${textView(session)}
  </label>`;
}

function textView({ title, updated_at: updatedAt, match }) {
  const time = match === undefined ? formatClock(updatedAt) : formatClockOrDay(updatedAt);
  return html`<span class=${title ? "title" : "title quiet"}>${title || "Untitled session"}</span>
    <time datetime=${updatedAt}>${time}</time>${match === undefined ? nothing : html`<span class="match">${parseMatch(match).map(partView)}</span>`}`;
}

function partView({ text, isMarked }) {
  return isMarked ? html`<mark>${text}</mark>` : text;
}

function moreView() {
  return sessionsState().more === "failed"
    ? html`<span>The rest could not be loaded.</span> <button type="button" class="link" @click=${loadMore}>Try again</button>`
    : html`<span>Loading more…</span>`;
}
