/** Short notes at the bottom of the page, which a screen reader reads out, and what only it reads. */

import { html, nothing, repeat } from "../core/html.js";
import { createSlice } from "../core/store.js";
import { copyText } from "./clipboard.js";
import { focusNext } from "./focus.js";
import { icon } from "./icons.js";

const SHOWN_MS = 6_000;

const slice = createSlice("toast", { toasts: [], announcement: "" });
let lastId = 0;

/**
 * Show a note.
 * @param {string} text
 * @param {{kind?: "info" | "error", action?: {label: string, run: () => void}, durationMs?: number}} [options]
 * @returns {() => void} closes it
 */
export function showToast(text, { kind = "info", action, durationMs = SHOWN_MS } = {}) {
  const toast = { id: (lastId += 1), text, kind, action };
  const close = () => slice.update({ toasts: slice.state.toasts.filter(({ id }) => id !== toast.id) });
  slice.update({ toasts: [...slice.state.toasts, { ...toast, close }] });
  if (kind !== "error") {
    setTimeout(close, durationMs); // an error stays until it is closed
  }
  return close;
}

/** Have a screen reader say something that everybody else sees anyway. */
export function announce(text) {
  slice.update({ announcement: text });
}

/** Copy a text and say so. */
export async function copyAndTell(text, what) {
  const copied = await copyText(text);
  showToast(copied ? `${what} copied.` : "The browser does not allow copying.", { kind: copied ? "info" : "error" });
}

/** Render the notes; they lie outside of what a dialog makes inert only while none is open. */
export function toastsView() {
  const { toasts, announcement } = slice.state;
  return html`
    <div class="toasts" role="status" aria-live="polite">
      ${repeat(toasts, ({ id }) => id, toastView)}
    </div>
    <div class="offscreen" aria-live="polite" data-testid="announcement">${announcement}</div>
  `;
}

function toastView({ text, kind, action, close }) {
  const closeByHand = () => {
    close();
    focusNext("main");
  };
  const run = () => {
    closeByHand();
    action.run();
  };
  return html`
    <div class="toast ${kind}">
      <span>${text}</span>
      ${action ? html`<button type="button" class="link" @click=${run}>${action.label}</button>` : nothing}
      <button type="button" class="icon" aria-label="Close note" @click=${closeByHand}>${icon("close")}</button>
    </div>
  `;
}
