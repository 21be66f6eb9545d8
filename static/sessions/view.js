/** The list of sessions. */

import { html } from "../core/html.js";
import { sessionLink } from "../core/router.js";
import { createSession, sessionsState } from "./model.js";

export function sidebarView() {
  return html`<button type="button" @click=${createSession}>New session</button>
    <ul>${sessionsState().items.map((s) => html`<li><a href=${sessionLink(s.id)}>${s.title ?? "Untitled"}</a></li>`)}</ul>`;
}

export function focusSearch() {}
