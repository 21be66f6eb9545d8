import { html } from "../core/html.js";

export function actionsView() {
  return html`<h2>Actions</h2>`;
}
