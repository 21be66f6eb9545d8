import { renderCode } from "./code_block.js";
import { element, fragment } from "./elements.js";
import { decodeEntities } from "./entities.js";
import { linkAttributes, unexpectedHost } from "./links.js";

/**
 * Return the node of a block, null if it shows nothing. Its direction is that of its own text.
 * @param {object} token a block of marked's lexer
 * @returns {Node|null}
 */
export function renderBlock(token) {
  const node = block(token);
  if (node?.hasChildNodes() && !node.dir) node.setAttribute("dir", "auto");
  return node;
}

/** Return the element for a text that is shown as it is written. */
export function renderPlain(text) {
  return element("pre", { class: "plain", dir: "auto" }, text);
}

// What makes the node of each kind of block. A message is below headings of the page: its own begin with the third.
const BLOCKS = {
  blockquote: (token) => element("blockquote", {}, blocks(token.tokens)),
  checkbox: renderCheckbox,
  code: renderCode,
  heading: (token) => element(`h${Math.min(token.depth + 2, 6)}`, {}, inlines(token.tokens)),
  hr: () => element("hr"),
  list: renderList,
  paragraph: (token) => element("p", {}, inlines(token.tokens)),
  table: renderTable,
  text: (token) => (token.tokens ? inlines(token.tokens) : document.createTextNode(decodeEntities(token.text))),
};

// And within a block. `isLink` is whether it is in a link, which has none in it.
const INLINES = {
  br: () => element("br"),
  checkbox: renderCheckbox,
  codespan: (token) => element("code", {}, token.text),
  del: (token, isLink) => element("del", {}, inlines(token.tokens, isLink)),
  em: (token, isLink) => element("em", {}, inlines(token.tokens, isLink)),
  escape: (token) => document.createTextNode(token.text),
  image: renderImage,
  link: renderLink,
  strong: (token, isLink) => element("strong", {}, inlines(token.tokens, isLink)),
  text: (token) => document.createTextNode(decodeEntities(token.text)),
};

function block(token) {
  if (token.type === "space" || token.type === "def") return null;
  return Object.hasOwn(BLOCKS, token.type) ? BLOCKS[token.type](token) : document.createTextNode(token.raw);
}

function blocks(tokens) {
  const nodes = tokens.map(block).filter(Boolean);
  return fragment(...nodes);
}

function inlines(tokens, isLink = false) {
  const node = (token) =>
    Object.hasOwn(INLINES, token.type) ? INLINES[token.type](token, isLink) : document.createTextNode(token.raw);
  return fragment(...tokens.map(node));
}

function renderList(token) {
  const items = token.items.map((item) => element("li", { class: item.task && "task" }, blocks(item.tokens)));
  const start = token.ordered && token.start !== 1 && token.start;
  return element(token.ordered ? "ol" : "ul", { start }, ...items);
}

function renderCheckbox(token) {
  const label = token.checked ? "Done:" : "To do:";
  const mark = token.checked ? "☑" : "☐";
  return fragment(element("span", { class: "checkbox", role: "img", "aria-label": label }, mark), " ");
}

/** Return a table that scrolls on its own where it is wider than the page, also by the keyboard. */
function renderTable(token) {
  const cell = (name) => (each) => {
    const attributes = { scope: name === "th" && "col", dir: "auto", class: each.align && `align-${each.align}` };
    return element(name, attributes, inlines(each.tokens));
  };
  const head = element("thead", {}, element("tr", {}, ...token.header.map(cell("th"))));
  const rows = token.rows.map((row) => element("tr", {}, ...row.map(cell("td"))));
  const table = element("table", {}, head, element("tbody", {}, ...rows));
  return element("div", { class: "table", role: "group", "aria-label": "Table", tabindex: 0 }, table);
}

/** Return a link; where it may not lead, what was written. */
function renderLink(token, isLink) {
  const decode = token.autolink ? (text) => text : decodeEntities;
  const attributes = linkAttributes(decode(token.href), token.title ? decodeEntities(token.title) : null);
  if (isLink || !attributes) return document.createTextNode(token.raw);
  const text = token.autolink ? token.text : inlines(token.tokens, true);
  return withHost(element("a", attributes, text));
}

/** Return a link to an image, which is not loaded: its host would learn who reads this, and when. */
function renderImage(token, isLink) {
  const attributes = linkAttributes(decodeEntities(token.href), token.title ? decodeEntities(token.title) : null);
  const text = decodeEntities(token.text) || "image";
  if (isLink) return document.createTextNode(text);
  return attributes ? withHost(element("a", { ...attributes, class: "image" }, text)) : document.createTextNode(token.raw);
}

/** Return a link, and beside it where it leads, if its text says something else. */
function withHost(link) {
  const host = unexpectedHost(link.getAttribute("href"), link.textContent);
  if (!host) return link;
  link.setAttribute("dir", "auto"); // the direction of its text ends with it
  return fragment(link, element("bdi", {}, ` (${host})`));
}
