/** What a panel does when the session beside it has changed: a new message, another prompt. */

import { messagesState } from "../conversation/messages.js";
import { currentRoute } from "../core/router.js";
import { subscribe } from "../core/store.js";
import { currentSession } from "./current.js";

/** Return whether this panel of this session is what the person looks at. */
export function isPanelOpen(panel, sessionId) {
  const route = currentRoute();
  return route.panel === panel && route.sessionId === sessionId;
}

/**
 * Call a handler with the id of the open session when that has been updated, or has a new message, while its panel is
 * open.
 * @param {string} panel
 * @param {(sessionId: string) => void} handler
 */
export function onSessionUpdate(panel, handler) {
  let seen = {};
  subscribe(() => {
    const { id, updated_at: updatedAt } = currentSession().session ?? {};
    const newestId = newestMessageId(id);
    const hasNewMessage = seen.newestId !== undefined && newestId !== seen.newestId;
    const isNews = id === seen.id && (updatedAt !== seen.updatedAt || hasNewMessage);
    seen = { id, updatedAt, newestId };
    if (id && isNews && isPanelOpen(panel, id)) {
      handler(id);
    }
  });
}

/** Return the id of the conversation's newest message, null without one, undefined while it is being read. */
function newestMessageId(sessionId) {
  const { sessionId: shownId, status, messages } = messagesState();
  return shownId === sessionId && status === "ready" ? (messages.at(-1)?.id ?? null) : undefined;
}
