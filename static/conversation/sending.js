/** What the composer's button does: ask, add a message where there is no model, or begin a session with a question. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { navigate, sessionLink } from "../core/router.js";
import { broadcast } from "../core/tabs.js";
import { loginState } from "../login/model.js";
import { noteSession } from "../sessions/model.js";
import { ask, chatState } from "./chat.js";
import { clearDraft, markBusy, markIdle } from "./composer.js";
import { addMessage } from "./messages.js";
import { keepQuestion, questionState } from "./question.js";
import { followEnd } from "./scroll.js";
import { nameSession, noteMessage, titleOf } from "./title.js";

/** Send a session's draft: to the model, or, where there is none, into the conversation. */
export async function sendDraft(sessionId, draft) {
  if (!loginState().about.chat) {
    await addDraft(sessionId, draft);
  } else if (chatState().phase !== "idle" || questionState().question) {
    document.querySelector(".unsent button")?.focus(); // that one first
  } else {
    const asking = ask(draft);
    clearDraft(sessionId);
    await asking;
  }
}

async function addDraft(sessionId, { content, role, key }) {
  markBusy(sessionId);
  try {
    if (role === "user") {
      await nameSession(sessionId, content);
    }
    const path = `sessions/${encodeURIComponent(sessionId)}/messages`;
    const message = await api.request("POST", path, { body: { role, content }, key });
    clearDraft(sessionId);
    addMessage(message);
    followEnd();
    markIdle(sessionId);
    noteMessage(sessionId, message);
  } catch (error) {
    markIdle(sessionId, describeError(error));
  }
}

/** Create a session with the draft of the start as its first question. */
export async function sendFirstDraft(place, { content, key, role }) {
  markBusy(place);
  try {
    const title = titleOf(content);
    const session = await api.request("POST", "sessions", { body: title ? { title } : {}, key });
    if (loginState().about.chat) {
      keepQuestion(session.id, { content, key: `${key}.question` });
    } else {
      await api.request("POST", `sessions/${session.id}/messages`, { body: { role, content }, key: `${key}.message` });
    }
    clearDraft(place);
    markIdle(place);
    noteSession(session);
    broadcast("sessions_added");
    navigate(sessionLink(session.id), { focus: "[data-composer]" });
  } catch (error) {
    markIdle(place, describeError(error));
  }
}
