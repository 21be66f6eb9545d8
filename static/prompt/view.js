import { html } from "../core/html.js";

export function promptView() {
  return html`<h2>Prompt</h2>`;
}
