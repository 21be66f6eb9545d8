/** The field in which a session's title is edited. */

import { html, live, nothing, ref } from "../core/html.js";
import { icon } from "../ui/icons.js";
import { cancelRename, changeTitle, renameState, saveTitle } from "./rename.js";

/**
 * Render the editor of a session's title, or return null if it is not edited in this place.
 * @param {{id: string}} session
 * @param {"header" | "list"} [place]
 */
export function titleEditor(session, place = "header") {
  const { session: edited, place: where, value, error, isBusy } = renameState();
  if (edited?.id !== session.id || where !== place) {
    return null;
  }
  return html`<form class="title-editor" @submit=${submit} @keydown=${onKey}>
    <input
      aria-label="Title"
      aria-invalid=${error ? "true" : "false"}
      autocomplete="off"
      ?readonly=${isBusy}
      .value=${live(value)}
      @input=${(event) => changeTitle(event.target.value)}
      ${ref(focusAndSelect)}
    />
    <button type="submit" class="icon" aria-label="Save the title">${icon("check")}</button>
    <button type="button" class="icon" aria-label="Keep the old title" @click=${cancelRename}>${icon("close")}</button>
    ${error ? html`<p class="error" role="alert">${error}</p>` : nothing}
  </form>`;
}

function submit(event) {
  event.preventDefault();
  saveTitle();
}

function onKey(event) {
  if (event.key === "Escape") {
    event.preventDefault();
    cancelRename();
  }
}

/** Called once for each field: the function is the same at each rendering. */
function focusAndSelect(field) {
  queueMicrotask(() => {
    field?.focus();
    field?.select();
  });
}
