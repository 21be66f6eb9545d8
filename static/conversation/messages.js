/** The messages of the open session: the newest first, older ones page by page as one scrolls up. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";

const PAGE = 50;
const SEARCH_PAGE = 200; // while looking for a message
const UNFINISHED = ["interrupted", "stopped", "error"];

// `status` is "none", "loading", "ready" or "failed"; `messages` are oldest first, and `cursor` leads to those before
// them. `start` is the number of the oldest one; it falls as older ones come, so that no message's number changes.
// `targetId` is the message that the URL names, and `search` "searching" or "missing" while it is not here.
const slice = createSlice("messages", {
  sessionId: null, status: "none", error: "", messages: [], start: 0, cursor: null, older: "",
  targetId: null, search: "",
});

/** Return the state of the messages. */
export function messagesState() {
  return slice.state;
}

/** Begin with another session, or with another message of the open one. */
export function resetMessages(sessionId, targetId) {
  if (sessionId !== slice.state.sessionId) {
    slice.reset();
    slice.update({ sessionId, status: "loading" });
  }
  slice.update({ targetId, search: "" });
}

/**
 * Read the newest messages, and put them in the place of those that are here.
 * @param {(messages: object[]) => void} [alongside] changes what has to change in the same moment
 * @throws {ApiError} they cannot be read, and others are here already
 */
export async function loadNewest(alongside = () => {}) {
  const { sessionId } = slice.state;
  try {
    for (;;) {
      const before = slice.state.messages;
      const page = await getPage(sessionId, { limit: PAGE });
      if (sessionId !== slice.state.sessionId) {
        return;
      }
      if (before === slice.state.messages) {
        alongside(page.items);
        showNewest(page);
        return;
      }
      // A message has come meanwhile, which this page may not have.
    }
  } catch (error) {
    if (sessionId !== slice.state.sessionId) {
      return;
    }
    if (slice.state.status === "ready") {
      throw error;
    }
    slice.update({ status: "failed", error: describeError(error) });
  }
}

function showNewest({ items, cursor }) {
  const { messages } = slice.state;
  const known = new Map(messages.map((message) => [message.id, message]));
  const newest = items.map((message) => known.get(message.id) ?? message);
  const start = newest.length ? messages.findIndex(({ id }) => id === newest[0].id) : -1;
  if (start < 0) {
    slice.update({ status: "ready", messages: newest, cursor }); // what is older is read as one scrolls up
  } else {
    slice.update({ status: "ready", messages: [...messages.slice(0, start), ...newest] });
  }
}

/** Read the page before the oldest message; `show` is given the function that puts it on the page. */
export async function loadOlder(show) {
  const { sessionId, cursor, older } = slice.state;
  if (!cursor || older === "loading") {
    return;
  }
  slice.update({ older: "loading" });
  try {
    const page = await getPage(sessionId, { limit: PAGE, cursor });
    if (cursor === slice.state.cursor) {
      show(() => showOlder(page));
    }
  } catch {
    if (cursor === slice.state.cursor) {
      slice.update({ older: "failed" });
    }
  }
}

function showOlder({ items, cursor }) {
  const { messages, start } = slice.state;
  slice.update({ messages: [...items, ...messages], start: start - items.length, cursor, older: "" });
}

/** Read older pages until the message that the URL names is here. Return whether it is. */
export async function loadTarget() {
  const { sessionId, targetId } = slice.state;
  const isOpen = () => sessionId === slice.state.sessionId && targetId === slice.state.targetId;
  const isHere = () => slice.state.messages.some(({ id }) => id === targetId);
  if (isHere()) {
    return true;
  }
  slice.update({ search: "searching" });
  try {
    const found = await findOlder(sessionId, targetId, isOpen);
    if (isOpen()) {
      slice.update({ search: found ? "" : "missing" });
      showOlder(found ?? { items: [], cursor: slice.state.cursor });
    }
  } catch {
    if (isOpen()) {
      slice.update({ search: "failed" });
    }
  }
  return isOpen() && isHere();
}

/** Return all messages from the wanted one to the oldest one that is here, and the cursor before them; or null. */
async function findOlder(sessionId, targetId, isWanted) {
  const found = { items: [], cursor: slice.state.cursor };
  while (found.cursor && isWanted()) {
    const page = await getPage(sessionId, { limit: SEARCH_PAGE, cursor: found.cursor });
    found.items.unshift(...page.items);
    found.cursor = page.cursor;
    if (page.items.some(({ id }) => id === targetId)) {
      return found;
    }
  }
  return null;
}

/** Add a message that has just been stored, unless it is here already. */
export function addMessage(message) {
  if (!slice.state.messages.some(({ id }) => id === message.id)) {
    slice.update({ messages: [...slice.state.messages, message] });
  }
}

/** Add the answer to a question, in the place of those that have not come to their end. */
export function addAnswer(questionId, answer) {
  slice.update({ messages: withoutUnfinished(slice.state.messages, questionId) });
  addMessage(answer);
}

/** Return messages without the unfinished answers after a question. */
export function withoutUnfinished(messages, questionId) {
  const start = messages.findIndex(({ id }) => id === questionId);
  return messages.filter((message, index) => start < 0 || index <= start || !isUnfinished(message));
}

/** Return the newest message, undefined if there is none. */
export function newestMessage() {
  return slice.state.messages.at(-1);
}

/** Return whether a conversation's end may be answered: by a chat under way, or by one that is started for it. */
export function awaitsAnswer(messages) {
  const newest = messages.findLast(({ role }) => role !== "system");
  return newest?.role === "user" || (newest && isUnfinished(newest));
}

/** Return whether a message is an answer that has not come to its end, and can be asked for again. */
function isUnfinished({ role, metadata }) {
  return role === "assistant" && UNFINISHED.includes(metadata.finish_reason);
}

/** Return a page of messages, oldest first, with the cursor that leads to those before it. */
async function getPage(sessionId, query) {
  const path = `sessions/${encodeURIComponent(sessionId)}/messages`;
  const { items, next_cursor: cursor } = await api.request("GET", path, { query: { order: "desc", ...query } });
  return { items: items.reverse(), cursor };
}
