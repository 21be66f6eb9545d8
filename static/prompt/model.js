/** The editor of a session's system prompt: what is typed is a draft until the server has stored it. */

import { loadDraft, saveDraft } from "../core/drafts.js";
import { describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { countCharacters } from "../core/text.js";
import { loginState } from "../login/model.js";
import { currentSession, updateSession } from "../sessions/current.js";
import { announce, showToast } from "../ui/toast.js";
import { openExplanation } from "./explanation.js";

// `draft` is `{text, base, theirs?}`: `base` is the prompt that the text was typed over, `theirs` another version that
// the person is merging by hand.
const slice = createSlice("prompt", { sessionId: null, draft: null, busy: false, error: "" });

/** Show the prompt of a session, with the draft of before a reload. */
export function openPrompt(sessionId) {
  slice.reset();
  slice.update({ sessionId, draft: loadDraft(placeOf(sessionId), "text") });
  openExplanation(sessionId);
}

/**
 * Return what the editor shows.
 * @returns {{text: string, saved: string, theirs: string | undefined, count: number, limit: number, isUnsaved: boolean,
 *   isConflict: boolean, busy: boolean, error: string}}
 */
export function promptState() {
  const { draft, busy, error } = slice.state;
  const saved = savedPrompt();
  const text = draft?.text ?? saved;
  const isUnsaved = text !== saved;
  const isConflict = isUnsaved && !busy && draft.base !== saved;
  const limit = loginState().about.limits.system_prompt;
  return {
    text,
    saved,
    theirs: draft?.theirs,
    count: countCharacters(text),
    limit,
    isUnsaved,
    isConflict,
    busy,
    error,
  };
}

/** Take what has been typed. */
export function editPrompt(text) {
  const { isUnsaved, saved } = promptState();
  setDraft(text === saved ? null : { base: saved, ...(isUnsaved && slice.state.draft), text });
}

/** Go back to what is stored; the note takes that back. */
export function discardDraft() {
  const { draft } = slice.state;
  const saved = savedPrompt();
  setDraft(null);
  showToast("Your version is discarded.", {
    durationMs: 20_000,
    action: { label: "Undo", run: () => setDraft({ ...draft, base: saved }) },
  });
}

/** Store the draft, unless somebody else has stored another version since it was begun. */
export async function savePrompt() {
  const { sessionId, draft, busy } = slice.state;
  const { isUnsaved, isConflict, count, limit } = promptState();
  if (!isUnsaved || isConflict || busy || count > limit) {
    return;
  }
  slice.update({ busy: true, error: "" });
  const changes = { busy: false };
  try {
    const base = { id: sessionId, system_prompt: draft.base || null };
    const { session, conflict } = await updateSession(base, "system_prompt", draft.text);
    // The answer of an earlier attempt may have been lost: then what "somebody else" has stored is this very text.
    const isSaved = Boolean(session) || conflict.system_prompt === draft.text;
    if (isSaved) {
      finishSaving(sessionId, draft, (session ?? conflict).system_prompt ?? "");
    }
    announce(isSaved ? "The system prompt is saved." : "Somebody else has changed the system prompt.");
  } catch (error) {
    changes.error = describeError(error);
  }
  if (slice.state.sessionId === sessionId) {
    slice.update(changes);
  }
}

/** Store the own version over the other one, which the person has seen. */
export function keepMine() {
  setDraft({ text: slice.state.draft.text, base: savedPrompt() });
  return savePrompt();
}

/** Go on editing the own version, with the other one beside it. */
export function mergeTheirs() {
  const saved = savedPrompt();
  setDraft({ text: slice.state.draft.text, base: saved, theirs: saved });
}

/** Forget the draft that has been stored; what was typed meanwhile is a draft over it. */
function finishSaving(sessionId, sent, stored) {
  const latest = slice.state.sessionId === sessionId ? slice.state.draft : sent;
  if (latest && latest.text !== sent.text) {
    setDraft({ text: latest.text, base: stored });
  } else if (loadDraft(placeOf(sessionId))?.text === sent.text) {
    saveDraft(placeOf(sessionId), null); // another tab may have a draft of its own there
  }
  if (latest?.text === sent.text && slice.state.sessionId === sessionId) {
    slice.update({ draft: null });
  }
}

function setDraft(draft) {
  slice.update({ draft, error: "" });
  saveDraft(placeOf(slice.state.sessionId), draft);
}

function savedPrompt() {
  return currentSession().session?.system_prompt ?? "";
}

function placeOf(sessionId) {
  return `${sessionId}.prompt`;
}
