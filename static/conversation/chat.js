/**
 * The chat: asking, and reading the answer while it is written. An answer goes on at the server whatever happens to
 * this page, which attaches to it again after a reload, a lost connection or a closed lid.
 */

import { createKey } from "../core/api.js";
import { ApiError, describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { broadcast } from "../core/tabs.js";
import { loginState } from "../login/model.js";
import { announce, showToast } from "../ui/toast.js";
import { createAnswer } from "./answer.js";
import { deleteChat, getEvents, hasChat, postQuestion, postRetry } from "./chat_api.js";
import { addAnswer, addMessage, awaitsAnswer, loadNewest, messagesState } from "./messages.js";
import {
  dropQuestion, findStored, keepQuestion, loadQuestion, markSent, markUnsent, questionState,
} from "./question.js";
import { followEnd, noteNewText } from "./scroll.js";
import { openStream } from "./stream.js";
import { noteMessage, shorten } from "./title.js";

const MAX_PAUSE_MS = 15_000; // between two attempts to attach
const ANNOUNCED_CHARACTERS = 300;

// `phase` is "idle", "sending" until the question is known to be stored, "answering", "stopping", or "lost" while the
// connection is. `answer` is what has come of the answer to the question `questionId`.
const slice = createSlice("chat", { phase: "idle", questionId: null, answer: null, error: "" });

/** Return the state of the chat. */
export function chatState() {
  return slice.state;
}

let reading = null; // the chat whose stream is being read
let attempts = 0; // to attach, since the connection was lost
let timer = null;

/** Read the open session's chat if there is one, and send the question that waits for it. */
export async function resumeChat() {
  if (questionState().question?.isNew) {
    await sendQuestion();
  } else {
    await attach();
  }
}

/** Leave the chat, whose answer goes on without this page, for that of another session. */
export function leaveChat(nextId) {
  clearTimeout(timer);
  attempts = 0;
  if (reading?.isAccepted) {
    reading.stream.abort(); // one whose question is still on its way is read until that is stored
  }
  reading = null;
  slice.reset();
  loadQuestion(nextId);
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
  const { question } = questionState();
  await read((signal) => postQuestion(sessionId, question, signal), true);
}

/** Ask the newest question again, in the place of its unfinished answer. */
export async function askAgain() {
  const { sessionId } = messagesState();
  followEnd();
  slice.update({ phase: "sending", error: "" });
  await read((signal) => postRetry(sessionId, signal), true);
}

/** Return whether the newest question can be asked again: it has no answer that has come to its end. */
export function canAskAgain() {
  return slice.state.phase === "idle" && !questionState().question && mayBeAnswered(messagesState().messages);
}

/** Return whether an answer is being written, which can be stopped. */
export function canStop() {
  return ["answering", "stopping", "lost"].includes(slice.state.phase) && !questionState().question;
}

/** Stop the answer; what has come of it is kept. */
export async function stop() {
  const { phase } = slice.state;
  slice.update({ phase: "stopping" });
  try {
    await deleteChat(messagesState().sessionId);
  } catch (error) {
    if (slice.state.phase === "stopping") {
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
  if (await reload((messages) => mayBeAnswered(messages) || rest())) {
    await attach();
  }
}

/** Look again after the page has slept, has been elsewhere, or is online again. */
export async function wake() {
  if (reading?.isAccepted && reading.stream.isSilent()) {
    reading.stream.abort();
    reading = null;
  }
  await catchUp();
}

/** Say that the connection is lost, before the browser finds out by itself. */
export function sleep() {
  if (reading?.isAccepted) {
    reading.stream.abort();
  }
}

/** Attach to the chat under way if there may be one: while there is, the newest message is not a finished answer. */
async function attach() {
  if (reading || !mayBeAnswered(messagesState().messages)) {
    checkQuestion();
    return;
  }
  const { sessionId } = messagesState();
  let isAnswering;
  try {
    isAnswering = await hasChat(sessionId);
  } catch {
    lose();
    return;
  }
  if (reading || sessionId !== messagesState().sessionId) {
    return;
  }
  if (isAnswering) {
    await read((signal) => getEvents(sessionId, signal));
  } else {
    await finish();
  }
}

function mayBeAnswered(messages) {
  return loginState().about.chat && awaitsAnswer(messages);
}

/** Read a stream of a chat to its end, then see how things are. */
async function read(start, isPost = false) {
  const { sessionId } = messagesState();
  const chat = { isPost, isAccepted: !isPost, questionId: null, answer: null, isOver: false, failure: "" };
  chat.stream = openStream(start, ({ name, data }) => {
    if (reading === chat) {
      EVENTS[name]?.(chat, data);
    } else if (name === "message") {
      dropQuestion(sessionId); // of a session that is not open any more
      chat.stream.abort();
    }
  });
  reading = chat;
  const error = await chat.stream.ended;
  if (reading === chat) {
    reading = null;
    await settle(chat, error);
  }
}

const EVENTS = {
  message(chat, message) {
    if (chat.questionId) {
      finishAnswer(message);
    } else {
      acceptQuestion(chat, message);
    }
  },
  delta(chat, { content }) {
    const { answer } = slice.state;
    const isRest = !chat.answer && answer && content.startsWith(answer.text); // attached again
    chat.answer ??= isRest ? answer : createAnswer();
    chat.answer.append(isRest ? content.slice(answer.text.length) : content);
    if (answer !== chat.answer) {
      slice.update({ answer: chat.answer });
    }
    noteNewText();
  },
  done(chat) {
    chat.isOver = true;
  },
  error(chat, { error }) {
    chat.isOver = true;
    chat.failure = error;
  },
};

function acceptQuestion(chat, message) {
  const { sessionId } = messagesState();
  chat.questionId = message.id;
  chat.isAccepted = true;
  attempts = 0;
  addMessage(message);
  if (chat.isPost) {
    dropQuestion(sessionId);
    broadcast("chat_started", { id: sessionId });
    noteMessage(sessionId, message);
  } else {
    findStored(sessionId);
  }
  slice.update({ phase: "answering", questionId: message.id, error: "" });
}

function finishAnswer(message) {
  addAnswer(slice.state.questionId, message);
  rest();
  noteMessage(messagesState().sessionId, message);
  announce(`Answer: ${shorten(message.content, ANNOUNCED_CHARACTERS)}`);
}

/** Go on after a stream has ended, in whatever way. */
async function settle(chat, error) {
  if (chat.isOver) {
    await finish(chat.failure && describeError(new ApiError(200, chat.failure)));
  } else if (error.code === "chat_not_found") {
    await finish();
  } else if (chat.isPost && !chat.isAccepted && error.code === "conflict") {
    // An answer is being written, or the key has been used for another question, in another tab. Is it ours?
    if (questionState().question) {
      markUnsent(messagesState().sessionId, "", createKey());
    }
    await catchUp();
  } else if (chat.isPost && !chat.isAccepted && error.status) {
    refuse(describeError(error));
  } else {
    lose();
  }
}

/** See what is stored, now that no answer is being written. */
async function finish(error = "") {
  if (await reload(() => rest(error))) {
    checkQuestion();
    if (error) {
      announce(error);
    }
  }
}

/** Read the newest messages again, and return whether the session is still the open one and they are here. */
async function reload(alongside) {
  const { sessionId } = messagesState();
  try {
    await loadNewest((messages) => reading || alongside(messages));
  } catch {
    lose();
    return false;
  }
  return sessionId === messagesState().sessionId;
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
