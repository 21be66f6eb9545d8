import { html } from "../core/html.js";
import { currentSession } from "../sessions/current.js";

export function homeView() {
  return html`<h1>Parley</h1>`;
}

export function conversationView() {
  return html`<h1>${currentSession().session?.title ?? "Untitled session"}</h1>`;
}
