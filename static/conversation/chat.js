/**
 * The chat: asking, and reading the answer while it is written. An answer goes on at the server whatever happens to
 * this page, which attaches to it again after a reload, a lost connection or a closed lid.
 */

import * as api from "../core/api.js";
import { ApiError, describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { broadcast } from "../core/tabs.js";
import { loginState } from "../login/model.js";
import { announce, showToast } from "../ui/toast.js";
import { createAnswer } from "./answer.js";
import { addMessage, isUnfinished, loadNewest, messagesState, newestMessage } from "./messages.js";
import { dropQuestion, findStored, keepQuestion, loadQuestion, markSent, markUnsent, questionState } from "./question.js";
import { followEnd, noteNewText } from "./scroll.js";
import { nameSession, shorten } from "./title.js";

const SILENCE_MS = 35_000; // the server sends a comment every ten seconds
const SHORT_SILENCE_MS = 15_000; // after which a page that wakes up attaches again
const MAX_PAUSE_MS = 15_000; // between two attempts to attach
const ANNOUNCED_CHARACTERS = 300;

// `phase` is "idle", "sending" until the question is known to be stored, "answering", "stopping", or "lost" while the
// connection is. `answer` is what has come of the answer to the question `questionId`.
const slice = createSlice("chat", { phase: "idle", questionId: null, answer: null, error: "" });

/** Return the state of the chat. */
export function chatState() {
  return slice.state;
}

let reading = null; // the stream that is being read
let attempts = 0; // to attach, since the connection was lost
let timer = null;

/** Read the open session's chat if there is one, and send the question that waits for it. */
export async function resumeChat() {
  loadQuestion(messagesState().sessionId);
  if (questionState().question?.isNew) {
    await sendQuestion();
  } else {
    await attach();
  }
}

/** Leave the chat: its answer goes on without this page. */
export function leaveChat() {
  clearTimeout(timer);
  attempts = 0;
  if (reading?.isAccepted) {
    reading.controller.abort(); // one whose question is still on its way is read until that is stored
  }
  reading = null;
  slice.reset();
}

/** Ask a question. */
export async function ask({ content, key }) {
  const { sessionId } = messagesState();
  keepQuestion(sessionId, { content, key });
  loadQuestion(sessionId);
  await sendQuestion();
}

/** Send the question that is kept, perhaps again. */
export async function sendQuestion() {
  const { sessionId } = messagesState();
  markSent(sessionId);
  followEnd();
  slice.update({ phase: "sending", error: "" });
  const { content, key } = questionState().question;
  await read((signal) => post({ content }, key, signal), true);
}

/** Ask the newest question again, in the place of its unfinished answer. */
export async function askAgain() {
  followEnd();
  slice.update({ phase: "sending", error: "" });
  await read((signal) => post({ retry: true }, api.createKey(), signal), true);
}

/** Return whether the newest question has no answer that has come to its end. */
export function canAskAgain() {
  return slice.state.phase === "idle" && !questionState().question && mayBeAnswered(newestMessage());
}

/** Stop the answer; what has come of it is kept. */
export async function stop() {
  const { phase } = slice.state;
  slice.update({ phase: "stopping" });
  try {
    await api.request("DELETE", chatPath());
  } catch (error) {
    if (error.code !== "chat_not_found" && slice.state.phase === "stopping") {
      slice.update({ phase });
      showToast(describeError(error), { kind: "error" });
    }
  }
}

/** Read what is new, and attach to the chat under way if there may be one that is not being read. */
export async function catchUp() {
  clearTimeout(timer);
  if (reading || messagesState().status !== "ready") {
    return;
  }
  try {
    await loadNewest((newest) => mayBeAnswered(newest) || rest());
  } catch {
    lose();
    return;
  }
  await attach();
}

/** Look again after the page has slept, has been elsewhere, or is online again. */
export async function wake() {
  const isSilent = reading && performance.now() - reading.heardAt > SHORT_SILENCE_MS;
  if (isSilent && reading.isAccepted) {
    reading.controller.abort();
    reading = null;
  }
  await catchUp();
}

/** Say that the connection is lost, before the browser finds out by itself. */
export function sleep() {
  if (reading?.isAccepted) {
    reading.controller.abort();
  }
}

function post(body, key, signal) {
  return api.requestEvents("POST", chatPath(), { body, key, signal });
}

function chatPath() {
  return `sessions/${encodeURIComponent(messagesState().sessionId)}/chat`;
}

/** Attach to the chat under way if there may be one: while there is, the newest message is not a finished answer. */
async function attach() {
  if (!reading && mayBeAnswered(newestMessage())) {
    await read((signal) => api.requestEvents("GET", chatPath(), { signal }));
  } else {
    checkQuestion();
  }
}

function mayBeAnswered(newest) {
  return loginState().about.chat && newest && (newest.role === "user" || isUnfinished(newest));
}

/** Read a stream of events to its end, then see how things are. */
async function read(start, isPost = false) {
  const { sessionId } = messagesState();
  const stream = { controller: new AbortController(), heardAt: performance.now(), isPost, isAccepted: !isPost };
  const watch = setInterval(() => {
    if (performance.now() - stream.heardAt > SILENCE_MS) {
      stream.controller.abort();
    }
  }, 1_000);
  let error = new ApiError(0, "network_error");
  reading = stream;
  try {
    for await (const { name, data } of start(stream.controller.signal)) {
      stream.heardAt = performance.now();
      if (reading === stream) {
        EVENTS[name]?.(stream, data);
      } else if (name === "message") {
        dropQuestion(sessionId); // of a session that is not open any more
        return;
      }
    }
  } catch (thrown) {
    error = thrown;
  } finally {
    clearInterval(watch);
  }
  if (reading === stream) {
    reading = null;
    await settle(stream, error);
  }
}

const EVENTS = {
  message(stream, message) {
    if (stream.questionId) {
      finishAnswer(message);
    } else {
      acceptQuestion(stream, message);
    }
  },
  delta(stream, { content }) {
    const { answer } = slice.state;
    const isRest = !stream.answer && answer && content.startsWith(answer.text); // attached again
    stream.answer ??= isRest ? answer : createAnswer();
    stream.answer.append(isRest ? content.slice(answer.text.length) : content);
    if (answer !== stream.answer) {
      slice.update({ answer: stream.answer });
    }
    noteNewText();
  },
  done(stream) {
    stream.isOver = true;
  },
  error(stream, { error }) {
    stream.isOver = true;
    stream.failure = error;
  },
};

function acceptQuestion(stream, message) {
  const { sessionId } = messagesState();
  stream.questionId = message.id;
  stream.isAccepted = true;
  attempts = 0;
  addMessage(message);
  if (stream.isPost) {
    dropQuestion(sessionId);
    broadcast("chat_started", { id: sessionId });
    nameSession(sessionId, message);
  } else {
    findStored(sessionId);
  }
  slice.update({ phase: "answering", questionId: message.id, error: "" });
}

function finishAnswer(message) {
  slice.state.answer?.finish();
  addMessage(message);
  slice.update({ phase: "idle", answer: null });
  announce(`Answer: ${shorten(message.content, ANNOUNCED_CHARACTERS)}`);
}

/** Go on after a stream has ended, in whatever way. */
async function settle(stream, error) {
  if (stream.isOver) {
    await finish(stream.failure && describeError(new ApiError(200, stream.failure)));
  } else if (error.code === "chat_not_found") {
    await finish();
  } else if (stream.isPost && !stream.isAccepted && error.code === "conflict") {
    // An answer is being written, or the key has been used for another question, in another tab. Is it ours?
    if (questionState().question) {
      markUnsent(messagesState().sessionId, "", api.createKey());
    }
    slice.update({ phase: "lost" });
    await catchUp();
  } else if (stream.isPost && !stream.isAccepted && error.status) {
    refuse(describeError(error));
  } else {
    lose();
  }
}

/** See what is stored, now that no answer is being written. */
async function finish(error = "") {
  try {
    await loadNewest(() => rest(error));
  } catch {
    lose();
    return;
  }
  checkQuestion();
  if (error) {
    announce(error);
  }
}

function rest(error = "") {
  attempts = 0;
  slice.state.answer?.finish();
  slice.update({ phase: "idle", answer: null, error });
}

/** See whether the question that is kept is stored, now that it is not on its way. */
function checkQuestion() {
  const { sessionId } = messagesState();
  if (!reading && questionState().question && !findStored(sessionId)) {
    markUnsent(sessionId, "It did not reach the server.");
  }
}

function refuse(error) {
  slice.update({ phase: "idle", error: questionState().question ? "" : error });
  if (questionState().question) {
    markUnsent(messagesState().sessionId, error);
  }
}

/** Try to attach later, unless nothing was going on. */
function lose() {
  if (slice.state.phase === "idle" && !questionState().question) {
    return;
  }
  slice.update({ phase: "lost" });
  attempts += 1;
  timer = setTimeout(catchUp, Math.min(500 * 2 ** attempts, MAX_PAUSE_MS));
}
