/** Who is using the page: logging in and out, and what the service offers. */

import * as api from "../core/api.js";
import { deleteDrafts, leaveDrafts, setDraftUser } from "../core/drafts.js";
import { describeError } from "../core/errors.js";
import { createSlice, resetState } from "../core/store.js";
import { broadcast, onBroadcast } from "../core/tabs.js";
import { keepFocus } from "../ui/focus.js";

// `status` is "starting" until it is known whether somebody is logged in, then "out" or "in"; "expired" is a login
// that has ended while the page was open: what is on it stays, below a form to log in again.
const slice = createSlice("login", {
  status: "starting",
  user: null,
  about: null,
  error: "",
  busy: false,
  giveBackFocus: () => {}, // to where it was when the login expired
});

/** Return the login's state: `{status, user, about, error, busy}`. */
export function loginState() {
  return slice.state;
}

/** Go on with the login of before the reload, if there is one, and do what other tabs do. */
export async function startLogin() {
  api.setLoggedOutHandler(expire);
  onBroadcast("logged_out", forget);
  // The login is the browser's, not the tab's: where somebody else logs in, this tab becomes theirs as well.
  onBroadcast("logged_in", ({ userId }) => isWaitingFor(userId) && resumeLogin());
  await resumeLogin();
}

/** Go on with a login that the browser has, if it has one. */
export async function resumeLogin() {
  const { status } = slice.state;
  try {
    if (await api.resume()) {
      await enter();
    } else if (status !== "expired") {
      slice.update({ status: "out" });
    }
  } catch (error) {
    if (error.status === 401) {
      slice.update({ status: "out" }); // it has ended between two requests
    } else if (["starting", "unreachable"].includes(status)) {
      slice.update({ status: "unreachable", error: describeError(error) });
    }
  }
}

/** Log in with a name and a password. Other tabs that wait for a login have the same one. */
export async function logIn(username, password) {
  slice.update({ busy: true, error: "" });
  try {
    await api.login(username, password);
    await enter();
    broadcast("logged_in", { userId: slice.state.user.id });
  } catch (error) {
    slice.update({ error: describeError(error) });
  }
  slice.update({ busy: false });
}

/** Log out, in all tabs. */
export async function logOut() {
  try {
    await api.logout();
  } catch (error) {
    slice.update({ error: describeError(error) });
    throw error;
  }
  deleteDrafts();
  broadcast("logged_out");
  forget();
}

async function enter() {
  const [user, about] = await Promise.all([api.request("GET", "auth/me"), api.request("GET", "about")]);
  if (slice.state.user && slice.state.user.id !== user.id) {
    forget(); // somebody else has logged in where the login of the first had expired
    await null; // until the page has drawn that
  }
  setDraftUser(user.id);
  slice.update({ status: "in", user, about, error: "" });
  slice.state.giveBackFocus();
  slice.update({ giveBackFocus: () => {} });
}

function expire() {
  if (slice.state.status === "in") {
    slice.update({ status: "expired", giveBackFocus: keepFocus() });
  }
}

function isWaitingFor(userId) {
  return slice.state.status === "expired" || slice.state.user?.id !== userId;
}

function forget() {
  if (slice.state.status !== "out") {
    api.forgetRequests();
    leaveDrafts();
    resetState();
    slice.update({ status: "out" });
    location.hash = "#/";
  }
}
