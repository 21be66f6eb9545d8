/** What a panel does when the session beside it has changed: a new message, another prompt. */

import { currentRoute } from "../core/router.js";
import { subscribe } from "../core/store.js";
import { currentSession } from "./current.js";

/** Return whether this panel of this session is what the person looks at. */
export function isPanelOpen(panel, sessionId) {
  const route = currentRoute();
  return route.panel === panel && route.sessionId === sessionId;
}

/**
 * Call a handler with the id of the open session when that has been updated while its panel is open.
 * @param {string} panel
 * @param {(sessionId: string) => void} handler
 */
export function onSessionUpdate(panel, handler) {
  let seen = {};
  subscribe(() => {
    const { id, updated_at: updatedAt } = currentSession().session ?? {};
    const isNews = id === seen.id && updatedAt !== seen.updatedAt;
    seen = { id, updatedAt };
    if (id && isNews && isPanelOpen(panel, id)) {
      handler(id);
    }
  });
}
