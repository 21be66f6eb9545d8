/**
 * The fields of a form, made from a JSON Schema: text, numbers, choices, yes and no, lists of those, and objects of
 * those, one level deep. A property that is anything else is one field of JSON. The server checks again.
 */

const NOTES = [
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
  "$comment",
  "format",
];
const KEYWORDS = {
  string: ["enum", "const", "pattern", "minLength", "maxLength"],
  integer: ["enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  number: ["enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  boolean: ["const"],
  array: ["items", "minItems", "maxItems", "uniqueItems"],
  object: ["properties", "required", "additionalProperties"],
};
const ROOT_KEYWORDS = ["$schema", "$id", "$defs", "definitions"];
const SHORT_TEXT = 100; // one with a lower maxLength is a single line

/**
 * @typedef {object} Field
 * @property {string} id of its element
 * @property {string} path as in the server's errors: `input.service`
 * @property {string} name
 * @property {"text" | "number" | "integer" | "choice" | "boolean" | "list" | "choices" | "group" | "json"} kind
 * @property {object} schema
 * @property {boolean} required
 * @property {unknown[]} [choices]
 * @property {Field} [item] of a list
 * @property {Field[]} [fields] of a group
 */

/** Return the fields of an action's parameters, null if they cannot be a form: then all of it is JSON. */
export function fieldsOf(schema) {
  const fields = propertiesOf(schema, "input", "field", ROOT_KEYWORDS, 1);
  const paths = fields?.flatMap((field) => [field, ...(field.fields ?? [])]).map(({ path }) => path);
  return paths && new Set(paths).size === paths.length ? fields : null;
}

/** Return fields and, in place of groups, what is in them. */
export function leavesOf(fields) {
  return fields.flatMap((field) => field.fields ?? [field]);
}

/** Return whether a text is a single line: it has a pattern, or cannot be long. */
export function isSingleLine({ pattern, format, maxLength = Infinity }) {
  return Boolean(pattern || format) || maxLength <= SHORT_TEXT;
}

function propertiesOf(schema, path, id, more, depth) {
  const { properties = {}, required = [] } = schema;
  const isKnown = hasOnly(schema, "object", more) && required.every((name) => Object.hasOwn(properties, name));
  if (!isKnown) {
    return null;
  }
  return Object.entries(properties).map(([name, property], index) => {
    const place = {
      id: `${id}-${index}`,
      path: `${path}.${name}`,
      name,
      schema: property,
      required: required.includes(name),
    };
    return { ...place, ...describe(property, place, depth) };
  });
}

function describe(schema, place, depth) {
  const json = { kind: "json", schema: isObject(schema) ? schema : {} };
  if (!isObject(schema)) {
    return json;
  }
  const scalar = describeScalar(schema);
  if (scalar) {
    return scalar;
  }
  if (schema.type === "array" && hasOnly(schema, "array") && isObject(schema.items)) {
    return describeList(schema) ?? json;
  }
  const fields =
    schema.type === "object" && depth > 0 && schema.properties
      ? propertiesOf(schema, place.path, place.id, [], depth - 1)
      : null;
  return fields ? { kind: "group", fields } : json;
}

function describeScalar(schema) {
  const choices = "const" in schema ? [schema.const] : schema.enum;
  const type = schema.type ?? (choices?.every((choice) => typeof choice === "string") ? "string" : undefined);
  if (!["string", "integer", "number", "boolean"].includes(type) || !hasOnly(schema, type)) {
    return null;
  }
  if (choices) {
    return { kind: "choice", choices };
  }
  return { kind: type === "string" ? "text" : type };
}

function describeList(schema) {
  const item = describeScalar(schema.items);
  if (!item || item.kind === "boolean") {
    return null;
  }
  if (item.kind === "choice" && schema.uniqueItems) {
    return { kind: "choices", choices: item.choices };
  }
  return { kind: "list", item: { ...item, schema: schema.items, required: true } };
}

function hasOnly(schema, type, more = []) {
  const known = ["type", ...NOTES, ...KEYWORDS[type], ...more];
  return (schema.type ?? type) === type && Object.keys(schema).every((key) => known.includes(key));
}

/** Return whether a value of JSON is an object. */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
