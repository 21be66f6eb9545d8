/** What a session is called: its first question, until somebody gives it a title. */

import { broadcast } from "../core/tabs.js";
import { currentSession, updateSession } from "../sessions/current.js";
import { noteSession } from "../sessions/model.js";

const MAX_TITLE = 80;

/** Note in the list, and in other tabs, that a session has a new message. */
export function noteMessage(sessionId, message) {
  const { session } = currentSession();
  if (session?.id === sessionId) {
    noteSession({ ...session, updated_at: message.created_at });
    broadcast("session_updated", { id: sessionId });
  }
}

/** Call a session without a title after a question, before that is sent: afterwards, the title would race the answer. */
export async function nameSession(sessionId, question) {
  const { session } = currentSession();
  const title = titleOf(question);
  if (session?.id !== sessionId || session.title !== null || !title) {
    return;
  }
  try {
    const named = await updateSession(session, "title", title);
    noteSession(named.session ?? named.conflict);
  } catch {
    // It stays without a title, which the list shows as well.
  }
}

/** Return a question's first line as a title, without the marks of Markdown before it. */
export function titleOf(content) {
  const lines = content.split("\n").map((line) => line.replace(/^[\s#>*`-]+/, "").trim());
  return shorten(lines.find(Boolean) ?? "", MAX_TITLE);
}

/** Return a text of at most so many characters, cut between words. */
export function shorten(text, max) {
  const characters = [...text.replace(/\s+/g, " ").trim()];
  if (characters.length <= max) {
    return characters.join("");
  }
  const cut = characters.slice(0, max - 1).join("");
  const space = cut.lastIndexOf(" ");
  return `${space > cut.length / 2 ? cut.slice(0, space) : cut}…`;
}
