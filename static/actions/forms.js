/** The forms of a session's actions: what is typed into each, and what has been fired from it without an answer yet. */

import { loadDraft, saveDraft } from "../core/drafts.js";
import { createSlice } from "../core/store.js";
import { fieldsOf, isObject } from "./fields.js";
import { defaultsOf, parseJson, readForm, valuesOf } from "./input.js";

/**
 * @typedef {object} Form
 * @property {Record<string, unknown>} values of the fields, by path
 * @property {string | null} json the input, where it is written as JSON
 * @property {{key: string, input: object, at: string, isSending?: boolean, error?: string} | null} fired
 *   what has been sent; its key makes sending it again the same request
 * @property {Record<string, string>} errors by path
 * @property {string} error of the whole form
 */

const slice = createSlice("forms", () => ({ sessionId: null, forms: new Map() }));

/** Use the forms of this session. */
export function openForms(sessionId) {
  if (sessionId !== slice.state.sessionId) {
    slice.update({ sessionId, forms: new Map() });
  }
}

/** Return an action's form. @returns {Form} */
export function formOf(action) {
  return slice.state.forms.get(action.name) ?? restoreForm(action);
}

/** Return whether anything has been typed into an action's form, or fired from it without an answer. */
export function hasDraft(action) {
  return loadDraft(placeOf(action.name)) !== null;
}

/** Change an action's form. @param {Partial<Form>} changes */
export function updateForm(action, changes) {
  const form = { ...formOf(action), ...changes };
  slice.update({ forms: new Map(slice.state.forms).set(action.name, form) });
  saveDraft(placeOf(action.name), isUntouched(action, form) ? null : draftOf(form));
}

/**
 * Forget what had been fired from a form, now that it has been answered or refused, also if another session is open by
 * now. A form that is still as it was fired is made empty if `clear` is set.
 */
export function settleForm(action, sessionId, form, { clear = false, ...changes } = {}) {
  if (sessionId !== slice.state.sessionId) {
    saveDraft(placeOf(action.name, sessionId), clear ? null : { ...draftOf(form), fired: null });
    return;
  }
  const { values, json } = formOf(action);
  const isSame = values === form.values && json === form.json;
  updateForm(action, { fired: null, ...(clear && isSame && blankForm(action)), ...changes });
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
  const fields = fieldsOf(action.parameters);
  const values = fields && valuesOf(fields, input);
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
  const fields = fieldsOf(action.parameters);
  if (json === null) {
    const { input } = readForm(fields, formOf(action).values);
    updateForm(action, { json: JSON.stringify(input, null, 2), errors: {}, error: "" });
    return;
  }
  const { input, error } = readJson(json);
  const values = input && valuesOf(fields, input);
  updateForm(action, values ? { values, json: null, error: "" } : { error: error ?? "The form cannot show all of this. Go on in JSON." });
}

/** Return the input of a form: `{input}`, or `{errors, error}` if it cannot be sent. */
export function readInput(action) {
  const { values, json } = formOf(action);
  if (json !== null) {
    return readJson(json);
  }
  const { input, errors } = readForm(fieldsOf(action.parameters), values);
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

function restoreForm(action) {
  const draft = loadDraft(placeOf(action.name));
  const json = draft?.json ?? null;
  const isForm = fieldsOf(action.parameters) !== null;
  return { ...blankForm(action), ...draft, json: isForm ? json : (json ?? "{}"), errors: {}, error: "" };
}

function blankForm(action) {
  const fields = fieldsOf(action.parameters);
  return { values: fields ? defaultsOf(fields) : {}, json: fields ? null : "{}", fired: null, errors: {}, error: "" };
}

function isUntouched(action, { values, json, fired }) {
  const blank = blankForm(action);
  return fired === null && json === blank.json && JSON.stringify(filled(values)) === JSON.stringify(filled(blank.values));
}

function filled(values) {
  return Object.entries(values).filter(([, value]) => value.length).sort();
}

function draftOf({ values, json, fired }) {
  return { values, json, fired: fired && { key: fired.key, input: fired.input, at: fired.at } };
}

function placeOf(name, sessionId = slice.state.sessionId) {
  return `${sessionId}.action.${name}`;
}
