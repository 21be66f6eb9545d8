/** What the model is sent: each part with its source, its size, its text; and what is left out. */

import { guard, html, nothing } from "../core/html.js";
import { messageLink } from "../core/router.js";
import { countOf, formatNumber } from "../core/words.js";
import { loginState } from "../login/model.js";
import { icon } from "../ui/icons.js";
import { explanationState, refreshExplanation, toggleConversation } from "./explanation.js";

const KINDS = {
  base: "Base identity",
  override: "Your system prompt",
  docs: "Docs",
  actions: "Actions",
  message: "Conversation",
};
const ROLES = { user: "Question", assistant: "Answer", system: "System message" };
const REASONS = {
  docs_limit: "no more room for docs",
  section_limit: "other sections match better",
  conversation_limit: "the conversation is longer than the model is sent",
};

/** Render the explanation. */
export function explanationView() {
  const state = explanationState();
  const { status, error, messages, leftOut, limits, isConversationOpen } = state;
  return html`
    <section class="explanation" aria-labelledby="explanation-title" aria-busy=${status === "loading"}>
      <div class="section-head">
        <h2 id="explanation-title">What the model is sent</h2>
        <button
          type="button"
          class="icon"
          aria-label="Refresh what the model is sent"
          title="Refresh"
          @click=${refreshExplanation}
        >
          ${icon("retry")}
        </button>
      </div>
      ${
        status === "failed"
          ? html`<p class="error" role="alert">${error}</p>`
          : html`<p class="quiet">${introduction(state)}</p>`
      }
      ${guard([messages, leftOut, limits, isConversationOpen], () => partsView(state))}
    </section>
  `;
}

function introduction({ status, messages, hasQuestion, isTooLong }) {
  if (status === "loading" && messages.length === 0) {
    return "Loading…";
  }
  if (isTooLong) {
    return "Your draft is too long to be previewed: this is the prompt without it. Asking sends all of it.";
  }
  return hasQuestion ? "If you send your draft now, in this order:" : "With no question typed yet, in this order:";
}

function partsView({ sessionId, messages, leftOut, limits, isConversationOpen }) {
  const parts = messages.flatMap(
    (message) => message.parts?.map((part) => ({ role: message.role, ...part })) ?? [message],
  );
  const conversation = parts.filter(({ kind }) => kind === "message");
  const rest = parts.filter(({ kind }) => kind !== "message");
  const limitOf = { docs: limits?.docs, override: loginState().about.limits.system_prompt };
  return html`
    <ol class="parts">
      ${rest.map((part) => html`<li>${partView(sessionId, part, limitOf[part.kind])}</li>`)}
      ${
        conversation.length
          ? html`<li>${conversationView(sessionId, conversation, limits, isConversationOpen)}</li>`
          : nothing
      }
    </ol>
    ${parts.length ? html`<p class="quiet total">${formatNumber(sizeOf(parts))} characters in all</p>` : nothing}
    ${leftOut.length ? leftOutView(sessionId, leftOut) : nothing}
  `;
}

function conversationView(sessionId, conversation, limits, isOpen) {
  const label = countOf(conversation.length, "message");
  return html`
    <details
      class="part"
      ?open=${isOpen}
      @toggle=${(event) => event.target === event.currentTarget && toggleConversation(event.target.open)}
    >
      ${summaryView({ kind: "message", source: label, characters: sizeOf(conversation) }, limits?.conversation)}
      ${
        isOpen
          ? html`<ol class="parts">
              ${conversation.map((part) => html`<li>${partView(sessionId, part, limits?.conversation)}</li>`)}
            </ol>`
          : nothing
      }
    </details>
  `;
}

function partView(sessionId, part, limit) {
  return html`
    <details class="part">
      ${summaryView(part, limit)}
      <pre tabindex="0" role="group" aria-label="Text sent to the model">${part.content}</pre>
      ${
        part.kind === "message" && part.source
          ? html`<p><a href=${messageLink(sessionId, part.source)}>Go to this message</a></p>`
          : nothing
      }
    </details>
  `;
}

function summaryView({ kind, role, source, characters }, limit) {
  const isMessage = kind === "message" && role;
  const label = isMessage ? (source ? ROLES[role] : "Your next question") : (KINDS[kind] ?? kind);
  return html`<summary>
    <span class="part-label">${label}</span>
    ${source && !isMessage ? html`<span class="part-source">${source}</span>` : nothing}
    <span class="part-size"
      >${formatNumber(characters)}${limit ? html`<span class="quiet"> of ${formatNumber(limit)}</span>` : nothing}</span
    >
    ${limit ? barView(characters / limit) : nothing}
  </summary>`;
}

function barView(share) {
  return html`<svg class="bar" aria-hidden="true"><rect width="${Math.min(share, 1) * 100}%" height="100%" /></svg>`;
}

function leftOutView(sessionId, leftOut) {
  return html`
    <h3>Left out</h3>
    <ul class="left-out">
      ${leftOut.map(
        ({ kind, source, count, characters, reason, last_id: lastId }) =>
          html`<li>
            ${kind === "message" ? olderMessages(sessionId, count, lastId) : html`<strong>${source}</strong>`}:
            ${formatNumber(characters)} characters, ${REASONS[reason] ?? reason}
          </li>`,
      )}
    </ul>
  `;
}

function olderMessages(sessionId, count, lastId) {
  const label = count ? `The oldest ${countOf(count, "message")}` : "Older messages";
  return lastId
    ? html`<strong>${label}</strong> (<a href=${messageLink(sessionId, lastId)}>up to this one</a>)`
    : html`<strong>${label}</strong>`;
}

function sizeOf(parts) {
  return parts.reduce((sum, { characters }) => sum + characters, 0);
}
