/** Who is using the page: logging in and out, and what the service offers. */

import * as api from "../core/api.js";
import { deleteDrafts, setDraftUser } from "../core/drafts.js";
import { describeError } from "../core/errors.js";
import { createSlice, resetState } from "../core/store.js";
import { broadcast, onBroadcast } from "../core/tabs.js";

// `status` is "starting" until it is known whether somebody is logged in, then "out" or "in"; "expired" is a login
// that has ended while the page was open: what is on it stays, below a form to log in again.
const slice = createSlice("login", { status: "starting", user: null, about: null, error: "", busy: false });

/** Return the login's state: `{status, user, about, error, busy}`. */
export function loginState() {
  return slice.state;
}

/** Go on with the login of before the reload, if there is one. */
export async function resumeLogin() {
  api.setLoggedOutHandler(() => slice.state.status === "in" && slice.update({ status: "expired" }));
  onBroadcast("logged_out", forget);
  try {
    if (await api.resume()) {
      await enter();
    } else {
      slice.update({ status: "out" });
    }
  } catch (error) {
    slice.update({ status: "unreachable", error: describeError(error) });
  }
}

/** Log in with a name and a password. */
export async function logIn(username, password) {
  const expired = slice.state.status === "expired" ? slice.state.user : null;
  slice.update({ busy: true, error: "" });
  try {
    await api.login(username, password);
    await enter(expired);
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

async function enter(previous) {
  const [user, about] = await Promise.all([api.request("GET", "auth/me"), api.request("GET", "about")]);
  if (previous && previous.id !== user.id) {
    resetState(); // another user has logged in where the login of the first had expired
  }
  setDraftUser(user.id);
  slice.update({ status: "in", user, about, error: "" });
}

function forget() {
  resetState();
  slice.update({ status: "out" });
  location.hash = "#/";
}
