/** What the model would be sent, were the question in the composer asked now. */

import * as api from "../core/api.js";
import { loadDraft } from "../core/drafts.js";
import { describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { isPanelOpen, onSessionUpdate } from "../sessions/changes.js";

const PAUSE_MS = 600; // in typing, before it is asked for again
// The question is part of the request's URL, of which the server reads 256 KiB with all headers.
const MAX_ENCODED = 200_000;
const TOO_LONG = [400, 414, 431]; // what servers answer to a long URL; a proxy may take far less

// `status` is "loading", "ready" or "failed"; what was there stays while it is asked for again.
const slice = createSlice("explanation", {
  sessionId: null,
  status: "loading",
  messages: [],
  leftOut: [],
  limits: null,
  hasQuestion: false,
  isTooLong: false,
  isConversationOpen: false,
  error: "",
});

let request = new AbortController();
let timer = null;

/** Return the explanation: `{status, messages, leftOut, limits, hasQuestion, isTooLong, …}`. */
export function explanationState() {
  return slice.state;
}

/** Explain the prompt of a session. */
export function openExplanation(sessionId) {
  slice.reset();
  slice.update({ sessionId });
  return refreshExplanation();
}

/** Ask for the explanation again, with the question that is in the composer now. */
export async function refreshExplanation() {
  const { sessionId } = slice.state;
  request.abort();
  request = new AbortController();
  const { signal } = request;
  slice.update({ status: "loading", error: "" });
  try {
    const changes = await getExplanation(sessionId, loadDraft(sessionId, "content")?.content ?? "", signal);
    if (!signal.aborted) {
      slice.update({ status: "ready", ...changes });
    }
  } catch (error) {
    if (!signal.aborted) {
      slice.update({ status: "failed", error: describeError(error) });
    }
  }
}

/** Show or hide the messages of the conversation, which can be thousands. */
export function toggleConversation(isConversationOpen) {
  if (isConversationOpen !== slice.state.isConversationOpen) {
    slice.update({ isConversationOpen });
  }
}

async function getExplanation(sessionId, question, signal) {
  const hasQuestion = question.trim() !== "";
  const isTooLong = hasQuestion && encodeURIComponent(question.toWellFormed()).length > MAX_ENCODED;
  const content = hasQuestion && !isTooLong ? question : undefined;
  try {
    const query = { explain: 1, content };
    const {
      messages,
      left_out: leftOut,
      limits,
    } = await api.request("GET", `sessions/${sessionId}/prompt`, { query, signal });
    return { messages, leftOut: leftOut ?? [], limits, hasQuestion, isTooLong };
  } catch (error) {
    if (content && TOO_LONG.includes(error.status)) {
      return { ...(await getExplanation(sessionId, "", signal)), hasQuestion, isTooLong: true };
    }
    throw error;
  }
}

function refreshLater() {
  clearTimeout(timer);
  timer = setTimeout(() => isPanelOpen("prompt", slice.state.sessionId) && refreshExplanation(), PAUSE_MS);
}

onSessionUpdate("prompt", refreshLater);
addEventListener("input", (event) => {
  if (event.target.matches?.("[data-composer]") && isPanelOpen("prompt", slice.state.sessionId)) {
    refreshLater();
  }
});
