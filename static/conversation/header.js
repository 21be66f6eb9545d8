/** The conversation's header: its title, its panels, and what can be done with it as a whole. */

import { html, nothing } from "../core/html.js";
import { currentRoute, sessionLink } from "../core/router.js";
import { loginState } from "../login/model.js";
import { deleteSessions } from "../sessions/deletion.js";
import { renameSession } from "../sessions/rename.js";
import { titleEditor } from "../sessions/title_editor.js";
import { icon } from "../ui/icons.js";
import { copyAndTell } from "../ui/toast.js";
import { copyConversation, downloadConversation } from "./export.js";

const PANELS = [
  { name: "prompt", label: "Prompt" },
  { name: "actions", label: "Actions" },
  { name: "timeline", label: "Timeline" },
];

/** Render the header of a session. */
export function headerView(session) {
  return html`
    <header class="screen-header conversation-header">
      <a class="icon back" href="#/" aria-label="Back to the sessions">${icon("back")}</a>
      ${titleEditor(session) ?? titleView(session)}
      <nav class="panel-links" aria-label="Panels">${PANELS.map((panel) => panelLink(session, panel))}</nav>
      ${menuView(session)}
    </header>
  `;
}

function titleView(session) {
  const title = session.title || "Untitled session";
  const rename = () => renameSession(session, { after: () => document.querySelector("[data-rename]")?.focus() });
  return html`<h1 title=${title} dir="auto">${title}</h1>
    <button type="button" class="icon" data-rename aria-label="Rename session" title="Rename" @click=${rename}>
      ${icon("edit")}</button>`;
}

function panelLink({ id }, { name, label }) {
  if (name === "actions" && !loginState().about.actions) {
    return nothing;
  }
  const isOpen = currentRoute().panel === name;
  return html`<a class="panel-link" href=${sessionLink(id, isOpen ? undefined : name)} title=${label}
    aria-current=${isOpen ? "true" : "false"}>${icon(name)}<span>${label}</span></a>`;
}

function menuView(session) {
  const link = new URL(sessionLink(session.id), location.href).href;
  const items = [
    ["copy", "Copy conversation as Markdown", () => copyConversation(session)],
    ["import", "Download JSON", () => downloadConversation(session, "json")],
    ["import", "Download Markdown", () => downloadConversation(session, "markdown")],
    ["link", "Copy link", () => copyAndTell(link, "Link")],
    ["delete", "Delete session", () => deleteSessions([session.id])],
  ];
  const itemView = ([name, label, action]) => {
    const run = () => {
      document.getElementById("session-menu").hidePopover();
      action();
    };
    return html`<button type="button" @click=${run}>${icon(name)} ${label}</button>`;
  };
  // The page's own Escape closes the panel; here it is the browser's, which closes the menu.
  const keepEscape = (event) => event.key === "Escape" && event.stopPropagation();
  return html`
    <button type="button" class="icon" popovertarget="session-menu" aria-label="More" title="More"
      @keydown=${keepEscape}>${icon("more")}</button>
    <div id="session-menu" class="menu" popover @keydown=${keepEscape}>
      ${items.map(itemView)}
    </div>
  `;
}
