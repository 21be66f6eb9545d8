/** The sidebar: a new session, the search, the list or what was found, and the way to the other screens. */

import { html, live, nothing } from "../core/html.js";
import { currentRoute, navigate, sessionLink } from "../core/router.js";
import { focusNext } from "../ui/focus.js";
import { icon } from "../ui/icons.js";
import { showShortcuts } from "../ui/shortcuts.js";
import { windowed } from "../ui/windowed.js";
import { describeCount } from "./deletion.js";
import { activeId, focusSession, followFocus, moveFocus } from "./list.js";
import { createSession, loadMore, loadSessions, sessionsState } from "./model.js";
import { rowView } from "./row_view.js";
import { listedSessions, searchRows, sessionRows } from "./rows.js";
import { describeHits, isSearching, search, searchState } from "./search.js";
import { deleteSelected, selectAll, selection, startSelecting, stopSelecting } from "./selection.js";

/** Render the sidebar. */
export function sidebarView() {
  return html`
    <div class="sidebar-top" @keydown=${onEscape}>
      <button type="button" class="primary" ?disabled=${sessionsState().isCreating} @click=${createSession}>
        ${icon("add")} New session
      </button>
      ${searchView()} ${selection().isSelecting ? selectionView() : statusView()}
    </div>
    <div class="session-scroller" ?hidden=${isSearching()} @focusin=${followFocus} @keydown=${onListKey}>
      <ul class="sessions" role="list" aria-label="All sessions">
        ${windowed(sessionRows(), rowView, { size: listSize(), pinned: activeId(), onNearEnd })}
      </ul>
    </div>
    <div class="session-scroller" ?hidden=${!isSearching()} @focusin=${followFocus} @keydown=${onListKey}>
      <ul class="hits" role="list" aria-label="Sessions found">
        ${windowed(searchRows(), rowView, { size: searchRows().length, pinned: activeId() })}
      </ul>
    </div>
    <div class="sidebar-links">
      <a href="#/transfer" aria-current=${currentOn("transfer")}>${icon("import")} Import and export</a>
      <a href="#/account" aria-current=${currentOn("account")}>${icon("user")} Account</a>
      <button type="button" class="icon" aria-label="Keyboard shortcuts" @click=${showShortcuts}>${icon("help")}</button>
    </div>
  `;
}

/** Give the focus to the search field; on a phone it is on the list's screen. */
export function focusSearch() {
  const field = document.querySelector(".session-search input");
  if (field?.offsetParent) {
    field.focus();
    field.select();
  } else {
    navigate("#/", { focus: ".session-search input" });
  }
}

function searchView() {
  return html`<form class="session-search" role="search" @submit=${openBest}>
    ${icon("search")}
    <input
      type="search"
      aria-label="Search the sessions"
      aria-keyshortcuts="/"
      placeholder="Search"
      autocomplete="off"
      maxlength="1000"
      .value=${live(searchState().query)}
      @input=${(event) => search(event.target.value)}
      @keydown=${onSearchKey}
    />
    <kbd aria-hidden="true">/</kbd>
  </form>`;
}

/** The line above the list: how many were found, what went wrong, or that there is nothing. */
function statusView() {
  const { status, items, error } = sessionsState();
  const { hits, error: searchError } = searchState();
  if (isSearching()) {
    return html`<p class="list-status">
      ${searchError ? html`<span class="error" role="alert">${searchError}</span>` : (hits && describeHits(hits)) ?? "Searching…"}
      ${hits?.length ? selectButton() : nothing}
    </p>`;
  }
  if (status === "failed") {
    return html`<p class="list-status"><span class="error" role="alert">${error}</span>
      <button type="button" class="link" @click=${loadSessions}>Try again</button></p>`;
  }
  if (status === "loading") {
    return html`<p class="list-status">Loading the sessions…</p>`;
  }
  return html`<p class="list-status">${items.length ? html`<span>Sessions</span>${selectButton()}` : "There is no session yet."}</p>`;
}

function selectButton() {
  return html`<button type="button" class="link" @click=${beginSelection}>Select</button>`;
}

function selectionView() {
  const { selected } = selection();
  return html`<div class="selection" role="group" aria-label="Selection">
    <span role="status">${describeCount(selected.size)} selected</span>
    <button type="button" class="link" @click=${selectListed}>Select all ${isSearching() ? "found" : "loaded"}</button>
    <button type="button" @click=${() => endSelection(stopSelecting)}>Cancel</button>
    <button type="button" class="danger" ?disabled=${!selected.size} @click=${() => endSelection(deleteSelected)}>Delete ${selected.size || nothing}</button>
  </div>`;
}

function beginSelection() {
  startSelecting();
  focusNext(".selection button");
}

function endSelection(end) {
  end();
  focusNext(".list-status button", ".session-search input");
}

function selectListed() {
  selectAll(listedSessions().map(({ id }) => id));
}

function listSize() {
  const { items, cursor } = sessionsState();
  return cursor ? -1 : items.length;
}

function onNearEnd() {
  if (sessionsState().more === "idle") {
    loadMore();
  }
}

function currentOn(name) {
  return currentRoute().name === name ? "page" : "false";
}

function openBest(event) {
  event.preventDefault();
  const [best] = listedSessions();
  if (isSearching() && best) {
    navigate(sessionLink(best.id));
  }
}

function onSearchKey(event) {
  if (event.key === "Escape" && searchState().query) {
    event.preventDefault();
    search("");
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    focusSession(listedSessions()[0]?.id);
  }
}

function onListKey(event) {
  moveFocus(event);
  onEscape(event);
}

function onEscape(event) {
  if (event.key === "Escape" && !event.defaultPrevented && selection().isSelecting) {
    event.preventDefault();
    if (event.target.closest(".session-scroller")) {
      stopSelecting(); // the list keeps the focus
    } else {
      endSelection(stopSelecting);
    }
  }
}
