/** The actions: which there are, and firing one, never twice. */

import * as api from "../core/api.js";
import { describeDetails, describeError } from "../core/errors.js";
import { navigate, sessionLink } from "../core/router.js";
import { createSlice } from "../core/store.js";
import { announce, showToast } from "../ui/toast.js";
import { fieldsOf, leavesOf } from "./fields.js";
import { fillForm, formOf, openForms, readInput, settleForm, updateForm } from "./forms.js";
import { loadRuns, runsState, showRun } from "./runs.js";

const REFUSALS = [400, 404, 413, 429]; // statuses that say for sure that nothing has been fired
const KEY_LIFE_MS = 23 * 3_600_000; // the server remembers a key for a day

// `status` is "loading", "ready" or "failed".
const slice = createSlice("actions", { sessionId: null, status: "loading", items: [], error: "", selected: null });

/** Return `{sessionId, status, items, error, selected}`. */
export function actionsState() {
  return slice.state;
}

/** Show the actions of a session. */
export async function openActions(sessionId) {
  if (sessionId !== slice.state.sessionId) {
    slice.update({ sessionId, selected: null });
    openForms(sessionId, slice.state.items);
  }
  await Promise.all([loadActions(), loadRuns(sessionId)]);
}

/** Read which actions there are. */
export async function loadActions() {
  try {
    const answer = await api.request("GET", "actions");
    const items = answer.items.map((action) => ({ ...action, fields: fieldsOf(action.parameters) }));
    const { sessionId, selected } = slice.state;
    openForms(sessionId, items);
    slice.update({ status: "ready", items, error: "", selected: items.length === 1 ? items[0].name : selected });
  } catch (error) {
    slice.update({ status: "failed", error: describeError(error) });
  }
}

/** Open the form of an action, or close it. */
export function toggleAction(name) {
  slice.update({ selected: slice.state.selected === name ? null : name });
}

/** Check an action's form, and fire it; return whether it was refused, for its fields then say why. */
export async function fireAction(action) {
  const { input, ...problems } = readInput(action);
  if (!input) {
    updateForm(action, problems);
    return false;
  }
  updateForm(action, { fired: { key: api.createKey(), input, at: new Date().toISOString() }, errors: {}, error: "" });
  return sendFired(action);
}

/** Send what has been fired from a form, for the first time or again: its key keeps it from acting twice. */
export async function sendFired(action) {
  const { sessionId } = slice.state;
  const form = formOf(action);
  const { key, input } = form.fired;
  updateForm(action, { fired: { ...form.fired, isSending: true } });
  try {
    const path = `sessions/${sessionId}/actions/${encodeURIComponent(action.name)}`;
    const run = await api.request("POST", path, { body: { input }, key });
    settleForm(action, sessionId, form, { clear: true });
    showRun(run);
    announce(`${action.name}: ${run.status}`);
  } catch (error) {
    if (REFUSALS.includes(error.status)) {
      settleForm(action, sessionId, form, problemsOf(action, form, error));
      return false;
    }
    if (sessionId === slice.state.sessionId) {
      updateForm(action, { fired: { ...form.fired, isSending: false, error: describeError(error) } });
      announce(`${action.name}: no answer`);
    }
  }
  return true;
}

/** Forget what has been fired without an answer. */
export function forgetFired(action) {
  updateForm(action, { fired: null });
  return loadRuns(slice.state.sessionId);
}

/** Return whether sending again is still safe: the server has not forgotten the key. */
export function canSendAgain({ at }) {
  return Date.now() - Date.parse(at) < KEY_LIFE_MS;
}

/** Open the form of a run's action, with its input. */
export async function fireAgain(run) {
  await openActions(run.session_id);
  const action = slice.state.items.find(({ name }) => name === run.action);
  if (!action) {
    showToast(slice.state.error || "This action is not configured any more.", { kind: "error" });
    return;
  }
  const { values, json, isTouched } = formOf(action);
  fillForm(action, run.request.data.input);
  slice.update({ selected: run.action });
  navigate(sessionLink(run.session_id, "actions"));
  const isChanged = JSON.stringify([values, json]) !== JSON.stringify([formOf(action).values, formOf(action).json]);
  if (isTouched && isChanged) {
    showToast("The form has the input of this run.", {
      action: { label: "Put back what was there", run: () => updateForm(action, { values, json }) },
    });
  }
}

/** Return the runs of the open session, oldest first, and among them those that have not been answered yet. */
export function allRuns() {
  const waiting = slice.state.items.flatMap((action) => {
    const { fired } = formOf(action);
    return fired ? [waitingRun(action, fired)] : [];
  });
  const isWaitedFor = (run) =>
    run.status === "running" &&
    waiting.some(({ status, action, input }) => status === "running" && action === run.action && isSame(input, run));
  return [...runsState().items.filter((run) => !isWaitedFor(run)), ...waiting];
}

function waitingRun(action, { key, input, at, isSending, error }) {
  const status = isSending ? "running" : "unanswered";
  return {
    id: key,
    action: action.name,
    status,
    input,
    request: { data: { input } },
    started_at: at,
    error,
    waiting: action,
  };
}

function isSame(input, run) {
  return JSON.stringify(input) === JSON.stringify(run.request.data.input);
}

/** Sort the server's errors to the fields that they are about; the others are about the whole form. */
function problemsOf(action, { json }, error) {
  if (error.code !== "validation_error" || json !== null) {
    const text =
      error.status === 429
        ? "Too many calls are going on. Nothing has been fired; try again in a moment."
        : describeError(error);
    return { errors: {}, error: text };
  }
  const errors = {};
  const rest = [];
  for (const [path, messages] of Object.entries(error.details ?? {})) {
    const field = leavesOf(action.fields).find((leaf) => path === leaf.path || path.startsWith(`${leaf.path}.`));
    const sentences = describeDetails(messages).join(" ");
    if (field) {
      errors[field.path] = sentences;
    } else {
      rest.push(sentences);
    }
  }
  return { errors, error: rest.join(" ") };
}
