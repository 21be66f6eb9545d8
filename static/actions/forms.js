/** The forms of a session's actions: what is typed into each, and what has been fired from it without an answer yet. */

import { loadDraft, saveDraft } from "../core/drafts.js";
import { createSlice } from "../core/store.js";
import { isObject } from "./fields.js";
import { defaultsOf, parseJson, readForm, valuesOf } from "./input.js";

/**
 * @typedef {object} Form
 * @property {Record<string, unknown>} values of the fields, by path
 * @property {string | null} json the input, where it is written as JSON
 * @property {{key: string, input: object, at: string, isSending?: boolean, error?: string} | null} fired
 *   what has been sent; its key makes sending it again the same request
 * @property {Record<string, string>} errors by path
 * @property {string} error of the whole form
 * @property {boolean} isTouched whether anything has been typed, or fired without an answer
 *
 * @typedef {{name: string, description: string, parameters: object, fields: object[] | null}} Action
 */

const slice = createSlice("forms", () => ({ sessionId: null, forms: new Map() }));

/** Use the forms of a session's actions, with the drafts of before a reload. @param {Action[]} actions */
export function openForms(sessionId, actions) {
  const opened = sessionId === slice.state.sessionId ? slice.state.forms : new Map();
  const forms = new Map(
    actions.map((action) => [action.name, opened.get(action.name) ?? restoreForm(action, sessionId)]),
  );
  slice.update({ sessionId, forms });
}

/** Return an action's form. @returns {Form} */
export function formOf(action) {
  return slice.state.forms.get(action.name);
}

/** Change an action's form. @param {Partial<Form>} changes */
export function updateForm(action, changes) {
  const form = { ...formOf(action), ...changes };
  form.isTouched = !isBlank(action, form);
  slice.update({ forms: new Map(slice.state.forms).set(action.name, form) });
  saveDraft(placeOf(action.name), form.isTouched ? draftOf(form) : null);
}

/**
 * Forget what had been fired from a form, now that it has been answered or refused, also if another session is open by
 * now. A form that is still as it was fired is made empty if `clear` is set.
 */
export function settleForm(action, sessionId, form, { clear = false, ...changes } = {}) {
  const isOpen = sessionId === slice.state.sessionId;
  const latest = isOpen ? formOf(action) : restoreForm(action, sessionId);
  const isSame = JSON.stringify(draftOf(latest)) === JSON.stringify(draftOf(form));
  const settled = { fired: null, ...(clear && isSame && blankForm(action)), ...changes };
  if (isOpen) {
    updateForm(action, settled);
  } else {
    saveDraft(placeOf(action.name, sessionId), draftOf({ ...latest, ...settled }));
  }
}

/** Type a value into a field. */
export function editField(action, path, value) {
  const { values, errors } = formOf(action);
  const { [path]: _, ...others } = errors;
  updateForm(action, { values: { ...values, [path]: value }, errors: others });
}

/** Write the input as JSON. */
export function editJson(action, json) {
  updateForm(action, { json, error: "" });
}

/** Put an input into an action's form, as JSON if the form cannot show it. */
export function fillForm(action, input) {
  const values = action.fields && valuesOf(action.fields, input);
  updateForm(action, {
    values: values ?? {},
    json: values ? null : JSON.stringify(input, null, 2),
    errors: {},
    error: "",
  });
}

/** Go from fields to JSON or back. */
export function toggleJson(action) {
  const { json } = formOf(action);
  if (json === null) {
    const { input } = readForm(action.fields, formOf(action).values);
    updateForm(action, { json: JSON.stringify(input, null, 2), errors: {}, error: "" });
    return;
  }
  const { input, error } = readJson(json);
  const values = input && valuesOf(action.fields, input);
  updateForm(
    action,
    values ? { values, json: null, error: "" } : { error: error ?? "The form cannot show all of this. Go on in JSON." },
  );
}

/** Return the input of a form: `{input}`, or `{errors, error}` if it cannot be sent. */
export function readInput(action) {
  const { values, json } = formOf(action);
  if (json !== null) {
    return readJson(json);
  }
  const { input, errors } = readForm(action.fields, values);
  return Object.keys(errors).length ? { errors, error: "" } : { input };
}

function readJson(json) {
  try {
    const input = json.trim() ? parseJson(json) : {};
    return isObject(input) ? { input } : { errors: {}, error: "The input has to be an object: { … }." };
  } catch (error) {
    return { errors: {}, error: error.message };
  }
}

function restoreForm(action, sessionId) {
  const blank = blankForm(action);
  const draft = loadDraft(placeOf(action.name, sessionId));
  return { ...blank, ...draft, json: draft?.json ?? blank.json, isTouched: draft !== null };
}

function blankForm({ fields }) {
  return { values: fields ? defaultsOf(fields) : {}, json: fields ? null : "{}", fired: null, errors: {}, error: "" };
}

function isBlank(action, { values, json, fired }) {
  const blank = blankForm(action);
  return (
    fired === null && json === blank.json && JSON.stringify(filled(values)) === JSON.stringify(filled(blank.values))
  );
}

function filled(values) {
  return Object.entries(values)
    .filter(([, value]) => value.length)
    .sort();
}

function draftOf({ values, json, fired }) {
  return { values, json, fired: fired && { key: fired.key, input: fired.input, at: fired.at } };
}

function placeOf(name, sessionId = slice.state.sessionId) {
  return `${sessionId}.action.${name}`;
}
