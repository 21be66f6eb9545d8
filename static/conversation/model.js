/** The open conversation: its messages, its chat, and staying in step with the server and the user's other tabs. */

import { currentRoute } from "../core/router.js";
import { subscribe } from "../core/store.js";
import { onBroadcast } from "../core/tabs.js";
import { loginState } from "../login/model.js";
import { currentSession, openSession } from "../sessions/current.js";
import { catchUp, leaveChat, resumeChat, sleep, wake } from "./chat.js";
import { watchComposer } from "./composer.js";
import { loadNewest, loadOlder, loadTarget, messagesState, resetMessages } from "./messages.js";
import { followEnd, keepPlace, setNearStartHandler, showMessage } from "./scroll.js";

/** Open a session's conversation, at its end or at a message. */
export async function openConversation(sessionId, messageId = null) {
  const isOther = sessionId !== messagesState().sessionId;
  if (isOther) {
    leaveChat(sessionId);
  }
  resetMessages(sessionId, messageId);
  if (isOther || messagesState().status !== "ready") {
    followEnd();
    await loadNewest();
  }
  if (messagesState().sessionId !== sessionId || messagesState().status !== "ready") {
    return;
  }
  if (isOther) {
    resumeChat();
  } else {
    catchUp();
  }
  if (messageId) {
    await openMessage(messageId);
  }
}

async function openMessage(messageId) {
  if (await loadTarget()) {
    queueMicrotask(() => showMessage(messageId));
  }
}

/** Read the session and its messages again after that has failed. */
export async function reopenSession() {
  const { sessionId, messageId } = currentRoute();
  await openSession(sessionId);
  if (currentSession().status === "ready") {
    await openConversation(sessionId, messageId);
  }
}

/** Read the page before the oldest message, without moving what one reads. */
export function loadOlderMessages() {
  return loadOlder(keepPlace);
}

/** Attach to chats that other tabs start, and look again whenever the page may have missed something. */
export function watchConversation() {
  let status = null;
  watchComposer();
  setNearStartHandler(loadOlderMessages);
  onBroadcast("chat_started", ({ id }) => id === messagesState().sessionId && catchUp());
  addEventListener("offline", sleep);
  addEventListener("online", wake);
  addEventListener("focus", wake);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && wake());
  subscribe(() => {
    if (status === "expired" && loginState().status === "in") {
      wake();
    }
    status = loginState().status;
  });
}
