/** From what is typed into a form to an action's input, and back. */

import { countCharacters } from "../core/text.js";
import { countOf, formatNumber } from "../core/words.js";
import { isObject, leavesOf } from "./fields.js";

/** Return what a new form has in its fields, by path: the schema's defaults. */
export function defaultsOf(fields) {
  const preset = ({ schema, required }) => schema.default ?? (required ? schema.const : undefined);
  return Object.assign({}, ...leavesOf(fields).map((field) => valuesOfField(field, preset(field)) ?? {}));
}

/** Return what the fields have to contain for an input, by path; null if the form cannot show all of it. */
export function valuesOf(fields, input) {
  if (!isObject(input)) {
    return null;
  }
  const values = {};
  for (const [name, value] of Object.entries(input)) {
    const field = fields.find((candidate) => candidate.name === name);
    const found = field && (field.fields ? valuesOf(field.fields, value) : valuesOfField(field, value));
    if (!found) {
      return null;
    }
    Object.assign(values, found);
  }
  return values;
}

/**
 * Read a form.
 * @param {Field[]} fields
 * @param {Record<string, unknown>} values by path
 * @returns {{input: object, errors: Record<string, string>}} errors by path
 */
export function readForm(fields, values) {
  const errors = {};
  const entries = [];
  for (const field of fields) {
    const { value, error } = field.fields ? readGroup(field, values, errors) : readField(field, values[field.path]);
    if (error) {
      errors[field.path] = error;
    } else if (value !== undefined) {
      entries.push([field.name, value]);
    }
  }
  return { input: Object.fromEntries(entries), errors };
}

/** Return what a field and nothing else contains for a value; null if it cannot show it. */
function valuesOfField({ path, kind, item, choices }, value) {
  const show = {
    text: () => (typeof value === "string" ? value : null),
    number: () => (typeof value === "number" ? String(value) : null),
    integer: () => (Number.isInteger(value) ? String(value) : null),
    boolean: () => (typeof value === "boolean" ? String(value) : null),
    choice: () => indexIn(choices, value),
    choices: () => allOrNull(value, (part) => indexIn(choices, part)),
    list: () => allOrNull(value, (part) => lineOf(item, part))?.join("\n") ?? null,
    json: () => (value === undefined ? null : JSON.stringify(value, null, 2)),
  };
  const shown = show[kind]();
  return shown === null ? null : { [path]: shown };
}

function lineOf(item, part) {
  const [line] = Object.values(valuesOfField({ ...item, path: "line" }, part) ?? {});
  const text = line !== undefined && item.kind === "choice" ? String(part) : line;
  return text === undefined || text.trim() === "" || text.includes("\n") ? null : text;
}

function indexIn(choices, value) {
  const index = choices.findIndex((choice) => JSON.stringify(choice) === JSON.stringify(value));
  return index < 0 ? null : String(index);
}

function allOrNull(values, show) {
  const shown = Array.isArray(values) ? values.map(show) : [null];
  return shown.includes(null) ? null : shown;
}

function readGroup(group, values, errors) {
  const isEmpty = group.fields.every(({ path }) => values[path] === undefined || values[path].length === 0);
  if (isEmpty && !group.required) {
    return {};
  }
  const read = readForm(group.fields, values);
  Object.assign(errors, read.errors);
  return { value: read.input };
}

function readField(field, shown = "") {
  if (shown.length === 0) {
    const isEmptyList = field.kind === "list" || field.kind === "choices";
    if (!field.required) {
      return {};
    }
    return isEmptyList && !field.schema.minItems
      ? { value: [] }
      : { error: field.choices || field.kind === "boolean" ? "Choose one." : "Fill this in." };
  }
  try {
    const value = parseField(field, shown);
    return { value, error: firstError(field, value) };
  } catch (error) {
    return { error: error.message };
  }
}

function parseField({ kind, item, choices }, shown) {
  switch (kind) {
    case "number":
    case "integer":
      return parseNumber(kind, shown.trim());
    case "boolean":
      return shown === "true";
    case "choice":
      return choices[Number(shown)];
    case "choices":
      return [...shown].sort((a, b) => a - b).map((index) => choices[Number(index)]);
    case "list":
      return shown
        .split("\n")
        .filter((line) => line.trim())
        .map((line) => parseLine(item, line));
    case "json":
      return parseJson(shown);
    default:
      return shown;
  }
}

function parseLine(item, line) {
  const index = item.choices?.findIndex((choice) => String(choice) === line.trim());
  if (index === -1) {
    throw new Error(`“${line}” is none of: ${item.choices.join(", ")}.`);
  }
  const value = item.choices ? item.choices[index] : parseField(item, line);
  const error = firstError(item, value);
  if (error) {
    throw new Error(`“${line}”: ${error}`);
  }
  return value;
}

function parseNumber(kind, text) {
  const isNumber = kind === "integer" ? /^[+-]?\d+$/ : /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
  const number = Number(text);
  if (!isNumber.test(text) || !Number.isFinite(number)) {
    throw new Error(kind === "integer" ? "Not a whole number." : "Not a number; write 1.5, for example.");
  }
  if (Number.isInteger(number) && !Number.isSafeInteger(number)) {
    throw new Error("Too large for this form.");
  }
  return number;
}

/** Parse what somebody has typed as JSON. */
export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Not JSON: ${error.message}`, { cause: error });
  }
}

function firstError({ schema, kind }, value) {
  const check = CHECKS[kind] ?? [];
  return check.map((one) => one(schema, value)).find(Boolean);
}

const numberChecks = [
  ({ minimum }, value) => value < minimum && `At least ${minimum}.`,
  ({ maximum }, value) => value > maximum && `At most ${maximum}.`,
  ({ exclusiveMinimum }, value) => value <= exclusiveMinimum && `More than ${exclusiveMinimum}.`,
  ({ exclusiveMaximum }, value) => value >= exclusiveMaximum && `Less than ${exclusiveMaximum}.`,
];
const itemChecks = [
  ({ minItems }, { length }) => length < minItems && `At least ${minItems}; there are ${length}.`,
  ({ maxItems }, { length }) => length > maxItems && `At most ${maxItems}; there are ${length}.`,
];
const CHECKS = {
  text: [
    ({ minLength }, value) =>
      countCharacters(value) < minLength &&
      `At least ${countOf(minLength, "character")}; it has ${formatNumber(countCharacters(value))}.`,
    ({ maxLength }, value) =>
      countCharacters(value) > maxLength &&
      `At most ${countOf(maxLength, "character")}; it has ${formatNumber(countCharacters(value))}.`,
    ({ pattern }, value) => pattern && !matches(pattern, value) && `Does not match the pattern ${pattern}`,
  ],
  number: numberChecks,
  integer: numberChecks,
  choices: itemChecks,
  list: [
    ...itemChecks,
    ({ uniqueItems }, value) => uniqueItems && new Set(value).size < value.length && "The same line is there twice.",
  ],
};

function matches(pattern, value) {
  try {
    return new RegExp(pattern, "u").test(value);
  } catch {
    return true; // not a pattern of JavaScript's: the server knows it
  }
}
