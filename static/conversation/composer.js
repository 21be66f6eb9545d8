/** What one is writing: kept as a draft while one types, for each session and for the start. */

import { createKey } from "../core/api.js";
import { loadDraft, saveDraft } from "../core/drafts.js";
import { createSlice } from "../core/store.js";
import { loginState } from "../login/model.js";

const SAVE_AFTER_MS = 200;
const COUNTED_FROM = 0.9; // of the limit

// By place, `drafts` has what is in the composers, and `errors` why it is not sent; `busy` is where it is being sent.
const slice = createSlice("composer", () => ({ drafts: {}, errors: {}, busy: null }));
let unsaved = new Set();
let timer = null;

/** Return what is in a place's composer: `{content, key, role}`. */
export function draftOf(place) {
  slice.state.drafts[place] ??= loadDraft(place, "content", "key", "role") ?? { content: "", key: createKey(), role: "user" };
  return slice.state.drafts[place];
}

/** Return why a place's draft could not be sent, and whether it is being sent. */
export function composerState(place) {
  return { error: slice.state.errors[place] ?? "", isBusy: slice.state.busy === place };
}

/**
 * Change what is in a place's composer, which has a key of its own then: with the old one, another text may have been
 * sent. The text itself is the element's own: typing it renders nothing.
 */
export function changeDraft(place, changes) {
  const before = draftOf(place);
  slice.state.drafts[place] = { ...before, ...changes, key: createKey() };
  unsaved.add(place);
  clearTimeout(timer);
  timer = setTimeout(saveDrafts, SAVE_AFTER_MS);
  if (changes.content === undefined || noteOn(before) !== noteOn(draftOf(place)) || slice.state.errors[place]) {
    slice.update({ errors: { ...slice.state.errors, [place]: "" } });
  }
}

/** Empty a place's composer: what was in it is sent, or in other hands. */
export function clearDraft(place) {
  const { [place]: _, ...drafts } = slice.state.drafts;
  unsaved.delete(place);
  saveDraft(place, null);
  slice.update({ drafts });
}

/** Note that a place's draft is being sent, or why it could not be. */
export function markBusy(place) {
  slice.update({ busy: place, errors: { ...slice.state.errors, [place]: "" } });
}

/** Note that a place's draft is not being sent any more, and why it could not be. */
export function markIdle(place, error = "") {
  slice.update({ busy: null, errors: { ...slice.state.errors, [place]: error } });
}

/** Put a text into a place's composer, below what is there, and go there. */
export function copyToComposer(place, content) {
  const draft = draftOf(place);
  changeDraft(place, { content: draft.content.trim() ? `${draft.content}\n\n${content}` : content });
  slice.update({});
  focusComposer();
}

/** Go to the composer. */
function focusComposer() {
  const composer = document.querySelector("[data-composer]");
  composer?.focus();
  queueMicrotask(() => composer?.setSelectionRange(composer.value.length, composer.value.length));
}

/** Return what is said about a draft's length: how much is left near the limit, or nothing. */
export function noteOn({ content }) {
  const { content: limit } = loginState().about.limits;
  if (content.length < limit * COUNTED_FROM) {
    return "";
  }
  const left = limit - countCharacters(content);
  return left < 0 ? `${-left} characters too long` : `${left} characters left`;
}

/** Return whether a draft can be sent. */
export function isSendable({ content }) {
  return content.trim() !== "" && countCharacters(content) <= loginState().about.limits.content;
}

function countCharacters(content) {
  return [...content].length;
}

function saveDrafts() {
  for (const place of unsaved) {
    const draft = slice.state.drafts[place];
    saveDraft(place, draft?.content ? draft : null);
  }
  unsaved = new Set();
}

/** Store drafts before the page is left, also where a phone ends it in the background. */
export function watchComposer() {
  addEventListener("pagehide", saveDrafts);
  document.addEventListener("visibilitychange", saveDrafts);
}
