import { html } from "../core/html.js";

export function accountView() {
  return html`<h1>Account</h1>`;
}
