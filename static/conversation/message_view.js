/** A message: who, when, what, how it ended, and what one can do with it. */

import { html, nothing } from "../core/html.js";
import { messageLink } from "../core/router.js";
import { formatDuration, formatTime, timeView } from "../core/time.js";
import { icon } from "../ui/icons.js";
import { copyAndTell } from "../ui/toast.js";
import { bodyOf } from "./answer.js";
import { copyToComposer } from "./composer.js";

const NAMES = { user: "You", assistant: "Assistant", system: "System" };
const ENDINGS = {
  stopped: "Stopped by you",
  length: "Cut off: it reached the limit of length",
  interrupted: "Interrupted: the server stopped",
  error: "Failed before it was complete",
  content_filter: "Cut off by the model's filter",
};
const MAX_SHOWN = 80; // of what an import may have put into the metadata

/** Render a stored message; `isTarget` is the one that the URL names. */
export function messageView(message, isTarget) {
  const { id, role, created_at: createdAt } = message;
  return articleView({
    id: `message-${id}`,
    className: role,
    label: `${NAMES[role]}, ${formatTime(createdAt)}`,
    isTarget,
    header: html`<span class="author">${NAMES[role]}</span> ${timeView(createdAt)} ${detailsView(message)}
      <span class="message-actions">${actionsView(message)}</span>`,
    body: bodyOf(message),
    footer: endingView(message),
  });
}

/** Render the answer that is being written, null if nothing of it has come. */
export function answerView(answer) {
  return articleView({
    className: "assistant",
    label: "Assistant, writing",
    isBusy: true,
    header: html`<span class="author">Assistant</span> <span class="quiet">is writing…</span>`,
    body: answer?.element ?? html`<p class="waiting" aria-hidden="true"><span></span><span></span><span></span></p>`,
  });
}

/** Render a question that is not known to be stored, with what can be done about it. */
export function questionView(question, footer) {
  return articleView({
    className: "user unsent",
    label: "You, not yet stored",
    header: html`<span class="author">You</span>`,
    body: bodyOf(question),
    footer,
  });
}

// One template for all of them, so that an answer stays the element it is when it has come to its end.
function articleView({ id, className, label, isTarget = false, isBusy = false, header, body, footer = nothing }) {
  return html`
    <article id=${id ?? nothing} class="message ${className}" tabindex="-1" aria-label=${label}
      aria-busy=${isBusy ? "true" : "false"} aria-current=${isTarget ? "true" : "false"}>
      <header>${header}</header>
      ${body}
      ${footer}
    </article>
  `;
}

function actionsView({ id, session_id: sessionId, role, content }) {
  const link = messageLink(sessionId, id);
  const copyLink = (event) => {
    event.preventDefault();
    copyAndTell(new URL(link, location.href).href, "Link");
  };
  return html`
    <a class="icon" href=${link} aria-label="Copy link to this message" title="Copy link" @click=${copyLink}>
      ${icon("link")}</a>
    <button type="button" class="icon" aria-label="Copy message as Markdown" title="Copy as Markdown"
      @click=${() => copyAndTell(content, "Message")}>${icon("copy")}</button>
    ${role === "user"
      ? html`<button type="button" class="icon" aria-label="Copy message to the composer" title="Copy to the composer"
          @click=${() => copyToComposer(sessionId, content)}>${icon("edit")}</button>`
      : nothing}
  `;
}

function detailsView({ metadata: { model, duration_ms: duration } }) {
  const details = [isText(model) && model.slice(0, MAX_SHOWN), Number.isFinite(duration) && formatDuration(duration)];
  const shown = details.filter(Boolean).join(" · ");
  return shown ? html`<span class="quiet message-details">${shown}</span>` : nothing;
}

function endingView({ role, metadata: { finish_reason: reason } }) {
  if (role !== "assistant" || !isText(reason) || reason === "stop") {
    return nothing;
  }
  const ending = Object.hasOwn(ENDINGS, reason) ? ENDINGS[reason] : `Ended: ${reason.slice(0, MAX_SHOWN)}`;
  return html`<p class="ending ${reason === "error" ? "error" : "quiet"}">${ending}</p>`;
}

function isText(value) {
  return typeof value === "string" && value !== "";
}
