/** The start: a composer whose first question creates a session. */

import { html } from "../core/html.js";
import { loginState } from "../login/model.js";
import { composerView } from "./composer_view.js";
import { sendFirstDraft } from "./sending.js";

const PLACE = "home";

/** Render the start. */
export function homeView() {
  const { user, about } = loginState();
  return html`
    <div class="home">
      <h1>${about.chat ? `What is going on, ${user.username}?` : `Hello ${user.username}`}</h1>
      <p class="quiet">${about.chat
        ? "Describe the incident, or paste the alert. The conversation is kept, and the answer goes on if you leave."
        : "Begin a conversation. It is kept, and you can export it at any time."}</p>
      ${composerView({
        place: PLACE,
        label: about.chat ? "Ask a question" : "Write a message",
        send: (draft) => sendFirstDraft(PLACE, draft),
      })}
      <p class="quiet keys">
        <kbd>/</kbd> search <kbd>n</kbd> new session <kbd>j</kbd> <kbd>k</kbd> next and previous <kbd>?</kbd> all keys
      </p>
    </div>
  `;
}
