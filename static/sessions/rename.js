/** Renaming a session: one title at a time is edited, in the list or above the conversation. */

import { describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { html } from "../core/html.js";
import { announce } from "../ui/toast.js";
import { openDialog } from "../ui/dialog.js";
import { updateSession } from "./current.js";
import { noteSession } from "./model.js";

const MAX_LENGTH = 120;

// `session` is as the person knows it; `place` is where the editor is, "header" or "list"; `after` is called when it closes.
const slice = createSlice("rename", { session: null, place: null, value: "", error: "", isBusy: false, after: null });

/** Return the editor's state. */
export function renameState() {
  return slice.state;
}

/**
 * Edit the title of a session.
 * @param {{id: string, title: string | null}} session
 * @param {{place?: "header" | "list", after?: () => void}} [options] `after` gives the focus back
 */
export function renameSession(session, { place = "header", after = () => {} } = {}) {
  slice.update({ session, place, value: session.title ?? "", error: "", isBusy: false, after });
}

/** Take over what is typed. */
export function changeTitle(value) {
  slice.update({ value, error: lengthError(value) });
}

/** Close the editor. */
export function cancelRename() {
  const { after } = slice.state;
  slice.reset();
  queueMicrotask(() => after?.()); // when the page has been rendered without it
}

/** Save the title; if somebody else has changed it meanwhile, ask which of the two it shall be. */
export async function saveTitle() {
  const { session, value, isBusy } = slice.state;
  const title = value.trim();
  const error = title ? lengthError(title) : "A title has at least one character.";
  if (error || isBusy) {
    slice.update({ error });
    return;
  }
  if (title === session.title) {
    cancelRename();
    return;
  }
  slice.update({ isBusy: true, error: "" });
  try {
    const saved = await saveOrAsk(session, title);
    if (!saved) {
      slice.update({ isBusy: false });
      return;
    }
    noteSession(saved);
    if (slice.state.session?.id === session.id) {
      cancelRename();
    }
    announce(`The title is now ${saved.title}`);
  } catch (failure) {
    slice.update({ isBusy: false, error: describeError(failure) });
  }
}

/** Return the session with the title that it has in the end, null if the person wants to think it over. */
async function saveOrAsk(session, title) {
  for (let base = session; ; ) {
    const { session: saved, conflict } = await updateSession(base, "title", title);
    if (saved) {
      return saved;
    }
    const answer = conflict.title === title ? "theirs" : await askWhich(title, conflict.title);
    if (answer !== "mine") {
      slice.update({ session: conflict });
      return answer && conflict;
    }
    base = conflict;
  }
}

/** Ask for one of two titles and return "mine", "theirs", or null if the question was dismissed. */
function askWhich(mine, theirs) {
  return openDialog("The title was changed elsewhere", (close) => html`
    <dl class="versions">
      <div><dt>Yours</dt><dd>${mine}</dd></div>
      <div><dt>The other</dt><dd>${theirs || html`<span class="quiet">Untitled session</span>`}</dd></div>
    </dl>
    <div class="buttons">
      <button type="button" @click=${() => close("theirs")}>Keep the other</button>
      <button type="button" class="primary" @click=${() => close("mine")}>Use yours</button>
    </div>
  `);
}

function lengthError(title) {
  const excess = [...title.trim()].length - MAX_LENGTH;
  return excess > 0 ? `A title has at most ${MAX_LENGTH} characters: ${excess} too many.` : "";
}
