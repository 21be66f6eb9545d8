/**
 * The question that has left the composer and is not known to be stored: kept with its Idempotency-Key until the
 * server has said that it is, so that neither a reload loses it nor trying again asks twice.
 */

import { loadDraft, saveDraft } from "../core/drafts.js";
import { createSlice } from "../core/store.js";
import { messagesState, newestMessage } from "./messages.js";

// `question` is `{content, key, after, isNew}`: `after` is the newest message's id at the time, and `isNew` says that
// it has not been sent yet. `error` is why it is not stored, empty while that is open.
const slice = createSlice("question", { question: null, error: "" });

/** Return `{question, error}`; the question is null if there is none. */
export function questionState() {
  return slice.state;
}

/** Keep a question for a session, which is sent as soon as that is open. */
export function keepQuestion(sessionId, { content, key }) {
  const question = { content, key, after: newestMessage()?.id ?? null, isNew: true };
  saveDraft(placeOf(sessionId), question);
  return question;
}

/** Read what is kept for a session. */
export function loadQuestion(sessionId) {
  slice.update({ question: loadDraft(placeOf(sessionId), "content", "key"), error: "" });
}

/** Note that the question is on its way. */
export function markSent(sessionId) {
  const question = { ...slice.state.question, isNew: false };
  saveDraft(placeOf(sessionId), question);
  slice.update({ question, error: "" });
}

/** Note why the question is not stored; with another key, if the server has seen another question with this one. */
export function markUnsent(sessionId, error, key = slice.state.question.key) {
  const question = { ...slice.state.question, key };
  saveDraft(placeOf(sessionId), question);
  slice.update({ question, error });
}

/** Forget the question: it is stored, or is in the composer again. */
export function dropQuestion(sessionId) {
  saveDraft(placeOf(sessionId), null);
  if (sessionId === messagesState().sessionId) {
    slice.reset();
  }
}

/** Forget the question if it is among the messages; it is that message. */
export function findStored(sessionId) {
  const { question } = slice.state;
  const { messages } = messagesState();
  const start = messages.findIndex(({ id }) => id === question?.after) + 1;
  const isQuestion = ({ role, content }) => role === "user" && content === question.content;
  const stored = question && messages.slice(start).find(isQuestion);
  if (stored) {
    dropQuestion(sessionId);
  }
  return stored;
}

function placeOf(sessionId) {
  return `${sessionId}.question`;
}
