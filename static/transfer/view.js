import { html } from "../core/html.js";

export function transferView() {
  return html`<h1>Transfer</h1>`;
}
