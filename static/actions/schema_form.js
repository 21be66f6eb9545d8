/** A form made from a JSON Schema: a control for each field, with its description and what is wrong with it. */

import { html, live, nothing } from "../core/html.js";
import { isSingleLine } from "./fields.js";

/**
 * @typedef {object} FormState
 * @property {Record<string, unknown>} values by the fields' paths
 * @property {Record<string, string>} errors likewise
 * @property {(path: string, value: unknown) => void} onEdit
 */

const CONTROLS = {
  text: (field, form) => (isSingleLine(field.schema) ? inputView(field, form, "text") : areaView(field, form, 2)),
  integer: (field, form) => inputView(field, form, "numeric"),
  number: (field, form) => inputView(field, form, "decimal"),
  boolean: (field, form) =>
    selectView(field, form, [
      ["true", "Yes"],
      ["false", "No"],
    ]),
  choice: (field, form) =>
    selectView(
      field,
      form,
      field.choices.map((choice, index) => [String(index), labelOf(choice)]),
    ),
  list: (field, form) => areaView(field, form, 3),
  json: (field, form) => areaView(field, form, 4, "code"),
};

/** Render fields. @param {import("./fields.js").Field[]} fields @param {FormState} form */
export function fieldsView(fields, form) {
  return fields.map((field) =>
    field.kind === "group" || field.kind === "choices" ? groupView(field, form) : fieldView(field, form),
  );
}

/** Move the focus to the first field of a form that is wrong, once it is marked. */
export function focusFirstWrong(form) {
  setTimeout(() => form.querySelector("[aria-invalid=true], [role=alert]")?.focus());
}

function fieldView(field, form) {
  return html`<div class="field">
    <label for=${field.id}>${titleView(field)}</label>
    ${hintView(field)} ${CONTROLS[field.kind](field, form)} ${errorView(field, form)}
  </div>`;
}

function groupView(field, form) {
  const hasError = Boolean(form.errors[field.path]);
  return html`<fieldset
    class="field"
    id=${field.id}
    tabindex="-1"
    aria-describedby=${describedBy(field)}
    aria-invalid=${hasError ? "true" : nothing}
  >
    <legend>${titleView(field)}</legend>
    ${hintView(field)} ${field.kind === "group" ? fieldsView(field.fields, form) : checkboxesView(field, form)}
    ${errorView(field, form)}
  </fieldset>`;
}

function checkboxesView({ path, choices }, { values, onEdit }) {
  const chosen = values[path] ?? [];
  const change = (index, checked) => onEdit(path, checked ? [...chosen, index] : chosen.filter((one) => one !== index));
  return choices.map((choice, position) => {
    const index = String(position);
    return html`<label class="check"
      ><input
        type="checkbox"
        .checked=${live(chosen.includes(index))}
        @change=${(event) => change(index, event.target.checked)}
      />${labelOf(choice)}</label
    >`;
  });
}

function titleView({ name, schema, required }) {
  return html`<span class="field-name">${schema.title || name}</span
    >${required ? html` <span class="quiet">required</span>` : nothing}`;
}

function hintView({ id, kind, schema }) {
  const format = { list: "One a line.", json: "As JSON." }[kind];
  const text = [schema.description, format].filter(Boolean).join(" ");
  return html`<p class="quiet" id="${id}-hint">${text}</p>`;
}

function errorView({ id, path }, { errors }) {
  return html`<p class="error" id="${id}-error">${errors[path] ?? ""}</p>`;
}

function inputView(field, form, mode) {
  return html`<input
    id=${field.id}
    inputmode=${mode}
    autocomplete="off"
    autocapitalize="off"
    spellcheck="false"
    aria-required=${field.required}
    aria-invalid=${isWrong(field, form)}
    aria-describedby=${describedBy(field)}
    .value=${live(form.values[field.path] ?? "")}
    @input=${(event) => form.onEdit(field.path, event.target.value)}
  />`;
}

function areaView(field, form, rows, className = "") {
  return html`<textarea
    id=${field.id}
    rows=${rows}
    class=${className}
    autocomplete="off"
    autocapitalize="off"
    spellcheck=${className === ""}
    aria-required=${field.required}
    aria-invalid=${isWrong(field, form)}
    aria-describedby=${describedBy(field)}
    .value=${live(form.values[field.path] ?? "")}
    @input=${(event) => form.onEdit(field.path, event.target.value)}
  ></textarea>`;
}

function selectView(field, form, options) {
  const value = form.values[field.path] ?? "";
  return html`<select
    id=${field.id}
    aria-required=${field.required}
    aria-invalid=${isWrong(field, form)}
    aria-describedby=${describedBy(field)}
    @change=${(event) => form.onEdit(field.path, event.target.value)}
  >
    <option value="" .selected=${live(value === "")}>${field.required ? "Choose…" : "Not set"}</option>
    ${options.map(
      ([option, label]) => html`<option value=${option} .selected=${live(value === option)}>${label}</option>`,
    )}
  </select>`;
}

function isWrong({ path }, { errors }) {
  return errors[path] ? "true" : "false";
}

function describedBy({ id }) {
  return `${id}-hint ${id}-error`;
}

function labelOf(choice) {
  return typeof choice === "string" ? choice : JSON.stringify(choice);
}
