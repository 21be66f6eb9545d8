/** The composer: a field that grows, what is below it, and its keys. */

import { html, live, nothing } from "../core/html.js";
import { loginState } from "../login/model.js";
import { icon } from "../ui/icons.js";
import { changeDraft, composerState, draftOf, isSendable, noteOn } from "./composer.js";

const ROLES = { user: "You", assistant: "Assistant", system: "System" };
const HAS_KEYBOARD = matchMedia("(hover: hover) and (pointer: fine)");

/**
 * Render a composer.
 * @param {object} options
 * @param {string} options.place of the draft
 * @param {string} options.label
 * @param {(draft: object) => void} options.send
 * @param {(() => void) | null} [options.stop] while an answer is being written
 * @param {boolean} [options.isStopping]
 */
export function composerView({ place, label, send, stop = null, isStopping = false }) {
  const draft = draftOf(place);
  const { error, isBusy } = composerState(place);
  const { chat: hasModel } = loginState().about;
  const note = noteOn(draft);
  const submit = (event) => {
    event.preventDefault();
    if (!stop && !isBusy && isSendable(draftOf(place))) {
      send(draftOf(place));
    }
  };
  const press = (event) => {
    if (event.key === "Enter" && !event.isComposing && isSending(event)) {
      submit(event);
    } else if (event.key === "Escape" && stop) {
      event.preventDefault();
      stop();
    }
  };
  return html`
    <form class="composer" @submit=${submit}>
      ${error ? html`<p class="error" role="alert">Not sent: ${error}</p>` : nothing}
      <div class="composer-field">
        <label class="offscreen" for="composer">${label}</label>
        <textarea id="composer" data-composer rows="1" dir="auto" enterkeyhint="enter"
          placeholder=${label} aria-describedby="composer-hint"
          .value=${live(draft.content)} ?readonly=${isBusy} @keydown=${press}
          @input=${(event) => changeDraft(place, { content: event.target.value })}></textarea>
        <div class="composer-buttons">
          ${hasModel ? nothing : roleView(place, draft)}
          <span id="composer-hint" class="quiet hints">${hintView(hasModel, stop)}</span>
          <span class="count ${note.endsWith("long") ? "error" : "quiet"}" role="status">${note}</span>
          ${stop
            ? html`<button type="button" class="primary" ?disabled=${isStopping} @click=${stop}>
                ${icon("stop")} ${isStopping ? "Stopping…" : "Stop"}</button>`
            : html`<button type="submit" class="primary">
                ${hasModel ? html`${icon("send")} Send` : "Add message"}</button>`}
        </div>
      </div>
    </form>
  `;
}

function isSending({ ctrlKey, metaKey, shiftKey, altKey }) {
  return ctrlKey || metaKey || (HAS_KEYBOARD.matches && !shiftKey && !altKey);
}

function roleView(place, draft) {
  const change = (event) => changeDraft(place, { role: event.target.value });
  const optionView = ([role, name]) => html`<option value=${role} ?selected=${role === draft.role}>${name}</option>`;
  return html`<label class="role">From
    <select name="role" .value=${live(draft.role)} @change=${change}>
      ${Object.entries(ROLES).map(optionView)}
    </select></label>`;
}

function hintView(hasModel, stop) {
  if (!hasModel) {
    return "No model is configured: messages are kept, and nobody answers.";
  }
  const { model } = loginState().about;
  const keys = HAS_KEYBOARD.matches && (stop ? "Esc stops" : "Enter sends, Shift+Enter for a new line");
  return [model, keys].filter(Boolean).join(" · ");
}
