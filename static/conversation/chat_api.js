/** The requests of a chat. */

import * as api from "../core/api.js";
import { nameSession } from "./title.js";

/** Ask a question, after which a session without a title is called, and yield the events of its answer. */
export async function* postQuestion(sessionId, { content, key }, signal) {
  await nameSession(sessionId, content);
  yield* api.requestEvents("POST", chatPath(sessionId), { body: { content }, key, signal });
}

/** Ask the newest question again, and yield the events of its answer. */
export function postRetry(sessionId, signal) {
  return api.requestEvents("POST", chatPath(sessionId), { body: { retry: true }, key: api.createKey(), signal });
}

/** Attach to the chat under way: yield its question, all that has come of the answer, and what still comes. */
export function getEvents(sessionId, signal) {
  return api.requestEvents("GET", chatPath(sessionId), { signal });
}

/** Return whether there is a chat to attach to; asking for one that is not there would be an error in the console. */
export async function hasChat(sessionId) {
  return (await api.requestHeaders("GET", sessionPath(sessionId), { query: { messages: false } })).has("Parley-Chat");
}

/** Stop the chat under way, if there still is one. */
export async function deleteChat(sessionId) {
  try {
    await api.request("DELETE", chatPath(sessionId));
  } catch (error) {
    if (error.code !== "chat_not_found") {
      throw error;
    }
  }
}

function chatPath(sessionId) {
  return `${sessionPath(sessionId)}/chat`;
}

function sessionPath(sessionId) {
  return `sessions/${encodeURIComponent(sessionId)}`;
}
