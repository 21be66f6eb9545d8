/** The account: the password, logging out, and deleting everything. */

import * as api from "../core/api.js";
import { hasDrafts } from "../core/drafts.js";
import { describeError } from "../core/errors.js";
import { navigate } from "../core/router.js";
import { createSlice } from "../core/store.js";
import { broadcast } from "../core/tabs.js";
import { logOut } from "../login/model.js";
import { describeCount, finishDeletions } from "../sessions/deletion.js";
import { loadSessions } from "../sessions/model.js";
import { confirmDialog } from "../ui/dialog.js";
import { showToast } from "../ui/toast.js";

const PAGE_SIZE = 200;

// `busy` is what is under way: "password", "delete", "logout" or nothing.
const slice = createSlice("account", { busy: "", passwordError: "" });

/** Return the account's state: `{busy, passwordError}`. */
export function accountState() {
  return slice.state;
}

/** Change the password and return whether that succeeded. */
export async function changePassword(current, password) {
  if (slice.state.busy) {
    return false;
  }
  slice.update({ busy: "password", passwordError: "" });
  try {
    await api.request("POST", "auth/password", { body: { current_password: current, new_password: password } });
    showToast("The password is changed. Your other logins have ended.");
    return true;
  } catch (error) {
    const isWrong = error.code === "invalid_credentials";
    slice.update({ passwordError: isWrong ? "The current password is wrong." : describeError(error) });
    return false;
  } finally {
    slice.update({ busy: "" });
  }
}

/** Log out; where something typed has not been sent, ask before. */
export async function askAndLogOut() {
  const question = {
    title: "Log out?",
    text: "What you have typed but not sent is removed from this browser when you log out.",
    confirm: "Remove and log out",
    danger: true,
  };
  if (slice.state.busy || (hasDrafts() && !(await confirmDialog(question)))) {
    return;
  }
  slice.update({ busy: "logout" });
  try {
    await finishDeletions();
    await logOut();
  } catch (error) {
    slice.update({ busy: "" });
    showToast(describeError(error), { kind: "error" });
  }
}

/** Count the user's sessions, ask, and delete them. */
export async function askAndDeleteAll() {
  if (slice.state.busy) {
    return;
  }
  slice.update({ busy: "delete" });
  try {
    await finishDeletions();
    const ids = await listIds();
    if (ids.length === 0) {
      showToast("There is no session to delete.");
    } else if (await confirmDialog(deletionQuestion(ids.length))) {
      await deleteAll(ids);
    }
  } catch (error) {
    showToast(describeError(error), { kind: "error" });
  }
  slice.update({ busy: "" });
}

function deletionQuestion(count) {
  return {
    title: `Delete ${describeCount(count)}?`,
    text: `${count === 1 ? "Your session is" : "All your sessions are"} deleted, with messages, prompts and webhook runs.
      This cannot be undone.`,
    confirm: `Delete ${describeCount(count)}`,
    danger: true,
    typed: "delete",
  };
}

async function deleteAll(ids) {
  const { deleted } = await api.request("DELETE", "sessions");
  broadcast("sessions_deleted", { ids });
  navigate("#/");
  await loadSessions();
  showToast(`${describeCount(deleted)} deleted.`);
}

async function listIds() {
  const ids = [];
  let cursor;
  do {
    const page = await api.request("GET", "sessions", { query: { limit: PAGE_SIZE, cursor } });
    ids.push(...page.items.map(({ id }) => id));
    cursor = page.next_cursor;
  } while (cursor);
  return ids;
}
