/** The prompt's panel: the editor of the system prompt, and below it what the model is sent. */

import { guard, html, live, nothing } from "../core/html.js";
import { formatNumber } from "../core/words.js";
import { focusNext } from "../ui/focus.js";
import { icon } from "../ui/icons.js";
import { explanationView } from "./explanation_view.js";
import { discardDraft, editPrompt, keepMine, mergeTheirs, promptState, savePrompt } from "./model.js";

/** Render the panel. */
export function promptView() {
  const state = promptState();
  return html`
    <section class="prompt" aria-labelledby="prompt-title">
      <h2 id="prompt-title">System prompt</h2>
      <p class="quiet" id="prompt-hint">Sent to the model with every question of this session. Blank means none.</p>
      ${state.isConflict ? conflictView(state) : nothing}
      ${state.theirs !== undefined && !state.isConflict ? mergeView(state) : nothing} ${editorView(state)}
    </section>
    ${explanationView()}
  `;
}

function editorView({ text, count, limit, isUnsaved, isConflict, busy, error }) {
  const isOver = count > limit;
  const keydown = (event) => {
    if ((event.ctrlKey || event.metaKey) && ["s", "Enter"].includes(event.key)) {
      event.preventDefault();
      savePrompt();
    }
  };
  const submit = (event) => {
    event.preventDefault();
    savePrompt();
  };
  return html`<form @submit=${submit} @keydown=${keydown}>
    <textarea
      aria-labelledby="prompt-title"
      aria-describedby="prompt-hint prompt-count"
      aria-invalid=${isOver}
      rows="8"
      placeholder="None"
      .value=${live(text)}
      @input=${(event) => editPrompt(event.target.value)}
    ></textarea>
    ${error ? html`<p class="error" role="alert">${error}</p>` : nothing}
    <div class="prompt-foot">
      <span id="prompt-count" class=${isOver ? "error" : "quiet"}
        >${formatNumber(count)} of ${formatNumber(limit)} characters${isOver ? ": too long to save" : ""}</span
      >
      ${isUnsaved ? html`<span class="badge">Unsaved</span>` : nothing}
      <span class="buttons">
        ${
          isUnsaved && !isConflict
            ? html`<button type="button" @click=${discardDraft} ?disabled=${busy}>Discard</button>`
            : nothing
        }
        <button
          type="submit"
          class="primary"
          aria-disabled=${!isUnsaved || isConflict || isOver || busy ? "true" : "false"}
          title="Ctrl+S or Ctrl+Enter"
        >
          ${busy ? "Saving…" : "Save"}
        </button>
      </span>
    </div>
  </form>`;
}

function conflictView({ text, saved, count, limit }) {
  return html`<div class="notice" role="group" aria-labelledby="prompt-conflict">
    <h3 id="prompt-conflict">${icon("warning")}Somebody else has changed it meanwhile</h3>
    <p>Neither version is lost yet. Which one should this session have? Marked lines are in one version alone.</p>
    <div class="prompt-versions">${versionView("Your version", text, saved)} ${versionView("Their version", saved, text)}</div>
    <div class="buttons">
      <button type="button" @click=${discardDraft}>Take theirs</button>
      <button type="button" @click=${merge}>Edit a merge</button>
      <button type="button" class="primary" @click=${keepMine} ?disabled=${count > limit}>Keep mine</button>
    </div>
  </div>`;
}

function merge() {
  mergeTheirs();
  focusNext(".prompt textarea");
}

function mergeView({ theirs, text }) {
  return html`<div class="notice">
    ${versionView("Their version, to copy from", theirs, text)}
    <p class="quiet">Saving stores what is in the editor below.</p>
  </div>`;
}

function versionView(label, text, other) {
  return html`<div>
    <h4>${label}</h4>
    <pre tabindex="0" role="group" aria-label=${label}>
${text.trim() ? guard([text, other], () => markedLines(text, other)) : html`<em>Blank</em>`}</pre>
  </div>`;
}

/** Return a text whose lines are marked if the other text does not have them. */
function markedLines(text, other) {
  const others = new Set(other.split("\n"));
  return text.split("\n").map((line) => [others.has(line) ? line : html`<mark>${line}</mark>`, "\n"]);
}
