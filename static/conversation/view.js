/** The screen of a session: its header, its messages and the composer. */

import { guard, html, keyed, nothing, ref, repeat } from "../core/html.js";
import { loginState } from "../login/model.js";
import { currentSession } from "../sessions/current.js";
import { copyAndTell } from "../ui/toast.js";
import { icon } from "../ui/icons.js";
import { keyOf } from "./answer.js";
import { askAgain, canAskAgain, canStop, chatState, sendQuestion, stop } from "./chat.js";
import { copyToComposer, draftOf } from "./composer.js";
import { composerView } from "./composer_view.js";
import { headerView } from "./header.js";
import { answerView, messageView, questionView } from "./message_view.js";
import { messagesState, withoutUnfinished } from "./messages.js";
import { loadOlderMessages, reopenSession } from "./model.js";
import { dropQuestion, questionState } from "./question.js";
import { followEnd, scrollState, watchScroller } from "./scroll.js";
import { sendDraft } from "./sending.js";

export { homeView } from "./home.js";

const CHUNK = 20; // messages

/** Render the open session's screen. */
export function conversationView() {
  const { id, status, session, error } = currentSession();
  if (status === "missing") {
    return missingView(id);
  }
  if (status === "failed") {
    return html`<div class="screen-content"><h1>The session cannot be read</h1><p role="alert">${error}</p>
      <button type="button" class="primary" @click=${reopenSession}>Try again</button></div>`;
  }
  if (status !== "ready") {
    return html`<div class="screen-content" aria-busy="true"><p class="quiet">Reading the session…</p></div>`;
  }
  return html`
    ${headerView(session)}
    ${keyed(id, messagesView())}
    ${footerView(id)}
  `;
}

function missingView(id) {
  const { content } = draftOf(id);
  const copy = () => copyAndTell(content, "Text");
  return html`<div class="screen-content">
    <h1>There is no such session</h1>
    <p>It has been deleted, or the link is wrong.</p>
    ${content
      ? html`<p>What you had typed: <button type="button" @click=${copy}>${icon("copy")} Copy it</button></p>`
      : nothing}
    <p><a href="#/">Back to the sessions</a></p>
  </div>`;
}

function messagesView() {
  const { status, error, messages, cursor, older, search } = messagesState();
  if (status === "failed") {
    return html`<div class="scroller"><div class="messages"><p class="error" role="alert">${error}</p>
      <p><button type="button" class="primary" @click=${reopenSession}>Try again</button></p></div></div>`;
  }
  return html`
    ${search ? html`<p class="banner" role="status">${SEARCH_NOTES[search]}</p>` : nothing}
    <div class="scroller" tabindex="0" role="region" aria-label="Messages"
      aria-busy=${status === "ready" ? "false" : "true"} ${ref(watchScroller)}>
      <div class="messages">
        ${cursor ? olderView(older) : nothing}
        ${listView()}
        ${unsentView()}
        ${status === "ready" && !messages.length && !questionState().question ? emptyView() : nothing}
        ${endView()}
      </div>
    </div>
  `;
}

const SEARCH_NOTES = {
  searching: "Looking for the message…",
  missing: "The message that the link leads to is not in this session any more.",
  failed: "The message that the link leads to could not be read. Reload the page to try again.",
};

function olderView(older) {
  return html`<p class="older">
    ${older === "failed" ? html`<span class="error">Older messages could not be read.</span>` : nothing}
    <button type="button" class="link" @click=${loadOlderMessages}>
      ${older === "loading" ? "Reading older messages…" : "Older messages"}</button>
  </p>`;
}

/**
 * Render the messages, and after them the answer that is being written: in chunks, since a browser that watches
 * thousands of elements for whether they are in view is slow; of 5,000 messages it watches 250 chunks.
 */
function listView() {
  const { messages, start, targetId } = messagesState();
  const { answer, questionId } = chatState();
  const isWriting = isAnswering();
  return guard([messages, targetId, answer, isWriting], () => {
    const shown = answer ? withoutUnfinished(messages, questionId) : messages;
    const items = shown.map((message) => ({ key: keyOf(message), content: message }));
    if (isWriting) {
      items.push({ key: answer?.key ?? "waiting", content: answer });
    }
    return repeat(chunksOf(items, start), ({ number }) => number, (chunk) => chunkView(chunk, targetId));
  });
}

/** Return items in chunks whose borders stay where they are when items come before or after them. */
function chunksOf(items, start) {
  const chunks = [];
  for (const [index, item] of items.entries()) {
    const number = Math.floor((start + index) / CHUNK);
    if (chunks.at(-1)?.number !== number) {
      chunks.push({ number, items: [] });
    }
    chunks.at(-1).items.push(item);
  }
  return chunks;
}

function chunkView({ items }, targetId) {
  const target = items.find(({ content }) => content?.id === targetId) ?? null;
  const itemView = ({ content }) =>
    content?.id ? messageView(content, content === target?.content) : answerView(content);
  return guard(
    [target?.content, ...items.map(({ content }) => content)],
    () => html`<div class="chunk">${repeat(items, ({ key }) => key, itemView)}</div>`,
  );
}

function isAnswering() {
  return chatState().phase !== "idle" && !questionState().question;
}

function unsentView() {
  const { question, error } = questionState();
  const { id } = currentSession();
  if (!question) {
    return nothing;
  }
  const edit = () => {
    dropQuestion(id);
    copyToComposer(id, question.content);
  };
  return questionView(
    question,
    error
      ? html`<p class="ending error" role="alert">Not sent. ${error}</p>
          <p class="ending"><button type="button" class="primary" @click=${sendQuestion}>Try again</button>
            <button type="button" @click=${edit}>Edit</button>
            <span class="quiet">Trying again never asks twice.</span></p>`
      : html`<p class="ending quiet" role="status">
          ${chatState().phase === "lost" ? "Sent, waiting for the connection…" : "Sending…"}</p>`,
  );
}

function emptyView() {
  const { chat } = loginState().about;
  return html`<p class="quiet empty">${chat ? "Nothing has been asked yet." : "There are no messages yet."}</p>`;
}

/** Render how the chat is going, below its messages: a lost connection, a failure, what can be asked again. */
function endView() {
  const { phase, error } = chatState();
  if (phase === "lost") {
    return html`<p class="note" role="status">${icon("warning")} Connection lost. ${questionState().question
      ? "As soon as it is back, this page finds out whether the question has arrived."
      : "The answer goes on at the server, and shows here as soon as the connection is back."}</p>`;
  }
  const retry = canAskAgain()
    ? html`<button type="button" @click=${retryAndKeepFocus}>${icon("retry")} Ask again</button>`
    : nothing;
  if (error) {
    return html`<div class="note error"><p role="alert">${icon("warning")} ${error}</p>${retry}</div>`;
  }
  return retry === nothing ? nothing : html`<div class="note">${retry}</div>`;
}

/** Ask again: the button, which has the focus, goes away. */
function retryAndKeepFocus() {
  document.querySelector(".scroller").focus({ preventScroll: true });
  askAgain();
}

function footerView(id) {
  const { isFollowing, hasNewText } = scrollState();
  return html`
    <div class="conversation-footer">
      ${isFollowing
        ? nothing
        : html`<button type="button" class="to-end" @click=${followEnd}>
            ${hasNewText ? "New text" : "To the end"} ${icon("down")}</button>`}
      ${composerView({
        place: id,
        label: loginState().about.chat ? "Ask a question" : "Write a message",
        send: (draft) => sendDraft(id, draft),
        stop: canStop() ? stop : null,
        isStopping: chatState().phase === "stopping",
      })}
    </div>
  `;
}
