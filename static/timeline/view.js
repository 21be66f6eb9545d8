import { html } from "../core/html.js";

export function timelineView() {
  return html`<h2>Timeline</h2>`;
}
