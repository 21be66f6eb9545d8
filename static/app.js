/** The page's table of contents: its screens, its panels, its keys, and how it starts. */

import { accountView } from "./account/view.js";
import { openActions } from "./actions/model.js";
import { actionsView } from "./actions/view.js";
import { canStop, stop } from "./conversation/chat.js";
import { openConversation, watchConversation } from "./conversation/model.js";
import { conversationView, homeView } from "./conversation/view.js";
import { html, nothing, render } from "./core/html.js";
import { addShortcut, startKeyboard } from "./core/keyboard.js";
import { currentRoute, navigate, sessionLink, startRouter } from "./core/router.js";
import { subscribe } from "./core/store.js";
import { loginState, startLogin } from "./login/model.js";
import { expiredView, loginView } from "./login/view.js";
import { openPrompt } from "./prompt/model.js";
import { promptView } from "./prompt/view.js";
import { currentSession, openSession, watchSession } from "./sessions/current.js";
import { undoDeletion, watchDeletions } from "./sessions/deletion.js";
import { deleteListed, openNeighbor, renameListed, selectListed } from "./sessions/list.js";
import { createSession, loadSessions, sessionsState, watchSessions } from "./sessions/model.js";
import { focusSearch, sidebarView } from "./sessions/view.js";
import { openTimeline } from "./timeline/model.js";
import { timelineView } from "./timeline/view.js";
import { dropView, watchDrops } from "./transfer/drop.js";
import { transferView } from "./transfer/view.js";
import { icon } from "./ui/icons.js";
import { showShortcuts } from "./ui/shortcuts.js";
import { toastsView } from "./ui/toast.js";

const SCREENS = { home: homeView, session: conversationView, transfer: transferView, account: accountView };

const TITLES = { transfer: "Import and export", account: "Account" };

const PANELS = {
  prompt: { label: "Prompt", open: openPrompt, view: promptView },
  actions: { label: "Actions", open: openActions, view: actionsView, isHidden: () => !loginState().about.actions },
  timeline: { label: "Timeline", open: openTimeline, view: timelineView },
};

function pageView() {
  const { status } = loginState();
  return html`
    ${["in", "expired"].includes(status) ? appView() : loginView()}
    ${status === "expired" ? expiredView() : nothing}
    ${toastsView()} ${dropView()}
  `;
}

function appView() {
  const route = currentRoute();
  const isExpired = loginState().status === "expired";
  return html`
    <div class="app" data-screen=${route.name} data-panel=${openPanel() ?? "none"} ?inert=${isExpired}>
      <button type="button" class="skip" @click=${focusMain}>Skip to the conversation</button>
      <nav class="sidebar" aria-label="Sessions">${sidebarView()}</nav>
      <main class="screen" tabindex="-1">${SCREENS[route.name]()}</main>
      ${openPanel() ? panelView(route) : nothing}
    </div>
  `;
}

function panelView({ sessionId }) {
  const open = openPanel();
  return html`
    <aside class="panel" aria-label=${PANELS[open].label}>
      <div class="panel-tabs">
        ${visiblePanels().map(
          (name) => html`<a href=${sessionLink(sessionId, name)} aria-current=${name === open ? "page" : "false"}>${PANELS[name].label}</a>`,
        )}
        <a class="icon" href=${sessionLink(sessionId)} aria-label="Close panel">${icon("close")}</a>
      </div>
      <div class="panel-content">${PANELS[open].view()}</div>
    </aside>
  `;
}

function visiblePanels() {
  return Object.keys(PANELS).filter((name) => !PANELS[name].isHidden?.());
}

/** Return the name of the panel that is open, null if none is. */
function openPanel() {
  const { panel } = currentRoute();
  return currentSession().status === "ready" && visiblePanels().includes(panel) ? panel : null;
}

let opened = { screen: null, panel: null }; // what has been opened last, so that a panel's link leaves the conversation alone

async function openRoute(route, focus = null) {
  if (loginState().status !== "in") {
    return;
  }
  const screen = `${route.name}/${route.sessionId ?? ""}/${route.messageId ?? ""}`;
  if (screen !== opened.screen) {
    const isFirst = opened.screen === null;
    opened = { screen, panel: null };
    await openSession(route.sessionId ?? null);
    if (route.name === "session" && currentSession().status === "ready") {
      openConversation(route.sessionId, route.messageId);
    }
    if (!isFirst && !route.messageId) {
      focusOn(focus);
    }
  }
  if (openPanel() && openPanel() !== opened.panel) {
    PANELS[openPanel()].open(route.sessionId);
  }
  opened.panel = openPanel();
}

function focusOn(selector) {
  ((selector && document.querySelector(selector)) ?? document.querySelector("main"))?.focus({ preventScroll: true });
}

function focusMain() {
  focusOn("main");
}

function addShortcuts() {
  addShortcut("/", "Search the sessions", focusSearch);
  addShortcut("n", "New session", createSession);
  addShortcut("j", "Next session", () => openNeighbor(1));
  addShortcut("k", "Previous session", () => openNeighbor(-1));
  addShortcut("e", "Rename the session, in the list the one with the focus", renameListed);
  addShortcut("F2", "The same", renameListed);
  addShortcut("x", "In the list: select the session, for deleting several", selectListed);
  addShortcut("Delete", "In the list: delete the session", deleteListed);
  addShortcut("z", "Undo the deletion", undoDeletion);
  for (const [keys, panel] of [["p", "prompt"], ["a", "actions"], ["t", "timeline"]]) {
    const isHidden = () => !visiblePanels().includes(panel);
    addShortcut(keys, `Open or close: ${PANELS[panel].label}`, () => togglePanel(panel), isHidden);
  }
  addShortcut("c", "Write a question", () => document.querySelector("[data-composer]")?.focus());
  addShortcut("Escape", "Close the panel, or else stop the answer", closeOrStop);
  addShortcut("?", "This list", showShortcuts);
}

function closeOrStop() {
  if (openPanel()) {
    navigate(sessionLink(currentRoute().sessionId));
  } else if (canStop()) {
    stop();
  }
}

function togglePanel(panel) {
  const { sessionId } = currentRoute();
  if (sessionId && visiblePanels().includes(panel)) {
    navigate(sessionLink(sessionId, openPanel() === panel ? undefined : panel));
  }
}

/** Draw the page after each update, and open what the URL says as soon as somebody is logged in. */
async function start() {
  const root = document.getElementById("page");
  root.replaceChildren(); // what index.html shows until the modules are here
  let status = null;
  subscribe(() => {
    render(pageView(), root);
    const title = TITLES[currentRoute().name] ?? currentSession().session?.title;
    document.title = [title, "Parley"].filter(Boolean).join(" – ");
    if (loginState().status !== status) {
      const before = status;
      status = loginState().status;
      if (status === "in") {
        if (before !== "expired" || sessionsState().status !== "ready") {
          loadSessions();
        }
        if (currentSession().status === "failed") {
          opened = { screen: null, panel: null }; // the login had ended before it was read
        }
        openRoute(currentRoute());
      } else if (status === "out") {
        opened = { screen: null, panel: null };
      }
    }
  });
  addShortcuts();
  startKeyboard();
  watchSession();
  watchSessions();
  watchDeletions();
  watchConversation();
  watchDrops();
  startRouter(openRoute);
  await startLogin();
}

start();
