import { getDefaults, Lexer, Tokenizer } from "../vendor/marked-18.2.1/marked.esm.js";

// What no person writes costs no more than what one does: each limit is where marked takes quadratic time, or recurses.
/** The longest text that is read as Markdown. */
export const MAX_LENGTH = 200_000;
const MAX_DEPTH = 16;
const MAX_INLINE_LENGTH = 20_000;
const MAX_LAZY_LINES = 500;
const MAX_CELLS = 10_000;
const MAX_MILLISECONDS = 500;
const LONG_RUN = /\S{5000}| {500}/;
const BULLET = /^ {0,3}(?:[*+-]|\d{1,9}[.)])(?:\s|$)/;
const DELIMITERS = /^[ \t|:-]+$/;
const INDENTED_OR_BULLET = /^(?:\s|[*+-]\s|\d{1,9}[.)]\s)/;

/**
 * Return the tokens of a Markdown text and its link definitions, null where that would take too long.
 * @param {string} text
 * @returns {{tokens: object[], links: object}|null}
 */
export function lex(text) {
  if (text.length > MAX_LENGTH) return null;
  const deadline = performance.now() + MAX_MILLISECONDS;
  const lexer = new Lexer({ ...getDefaults(), breaks: true, tokenizer: createTokenizer(deadline) });
  lexer.inlineTokens = (source, tokens = [], ...rest) =>
    isPlain(source) ? plainTokens(source, tokens) : Lexer.prototype.inlineTokens.call(lexer, source, tokens, ...rest);
  try {
    const tokens = lexer.lex(text);
    return { tokens, links: tokens.links };
  } catch (error) {
    if (!(error instanceof TookTooLong)) console.error(error);
    return null;
  }
}

/** Return a tokenizer without HTML, which is text here, and with bounds. */
function createTokenizer(deadline) {
  const tokenizer = new Tokenizer();
  let depth = 0;
  const original = Tokenizer.prototype;
  const nested = (name) => (...parameters) => {
    if (depth >= MAX_DEPTH) return undefined; // it remains text
    depth += 1;
    try {
      return original[name].apply(tokenizer, parameters);
    } finally {
      depth -= 1;
    }
  };
  // Of each block, and of each piece within one, these are tried first.
  const timed = (name) => (...parameters) => {
    if (performance.now() > deadline) throw new TookTooLong();
    return original[name].apply(tokenizer, parameters);
  };
  const list = nested("list");
  const table = original.table.bind(tokenizer);
  return Object.assign(tokenizer, {
    html: () => undefined,
    tag: () => undefined,
    space: timed("space"),
    escape: timed("escape"),
    blockquote: nested("blockquote"),
    emStrong: nested("emStrong"),
    del: nested("del"),
    link: nested("link"),
    reflink: nested("reflink"),
    list: (source) => (hasManyLazyLines(source) ? undefined : list(source)),
    table: (source) => (hasManyCells(source) ? undefined : table(source)),
  });
}

class TookTooLong extends Error {}

/** Return whether a list begins here whose first lines are followed by hundreds that are neither indented nor items. */
function hasManyLazyLines(source) {
  if (!BULLET.test(source)) return false;
  const end = source.indexOf("\n\n");
  const lines = (end < 0 ? source : source.slice(0, end)).split("\n");
  return lines.length > MAX_LAZY_LINES && lines.filter((line) => !INDENTED_OR_BULLET.test(line)).length > MAX_LAZY_LINES;
}

/** Return whether a table that begins here would have too many cells: each row gets as many as the first one has. */
function hasManyCells(source) {
  const [header, delimiters] = source.split("\n", 2);
  if (!delimiters || !DELIMITERS.test(delimiters)) return false;
  const end = source.indexOf("\n\n");
  const rows = (end < 0 ? source : source.slice(0, end)).split("\n");
  return rows.length * header.split("|").length > MAX_CELLS;
}

/** Return whether a paragraph is to be shown as it is written: a log, a blob. */
function isPlain(source) {
  return source.length > MAX_INLINE_LENGTH || LONG_RUN.test(source);
}

/** Add the tokens of a text that is shown as it is written, with its line breaks. */
function plainTokens(source, tokens) {
  source.split("\n").forEach((line, index) => {
    if (index) tokens.push({ type: "br", raw: "\n" });
    tokens.push({ type: "escape", raw: line, text: line });
  });
  return tokens;
}
