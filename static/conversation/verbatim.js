/** What a person wrote, as they wrote it: a pasted log keeps its lines and stars. Only fences and links are more. */

import { element } from "../text/elements.js";
import { linkAttributes } from "../text/links.js";
import { renderMarkdown } from "../text/markdown.js";

const FENCE = /^ {0,3}(```+|~~~+)/;
const LINK = /\bhttps?:\/\/[^\s<>"'`]+[^\s<>"'`.,;:!?)\]}]/g;

/** Return an element with a text as it was typed. */
export function renderVerbatim(content) {
  const parts = splitFences(content).map(({ text, isFenced }, index) =>
    isFenced ? renderMarkdown(text) : renderLines(index ? text.replace(/^\n/, "") : text), // a fence has a margin
  );
  return element("div", { class: "verbatim markdown" }, ...parts);
}

/** Split a text into fenced blocks and what lies between them; a fence that nobody has closed goes to the end. */
function splitFences(content) {
  const parts = [];
  let fence = null;
  let lines = [];
  const add = (isFenced) => {
    if (lines.length) {
      parts.push({ text: lines.join("\n"), isFenced });
    }
    lines = [];
  };
  for (const line of content.split("\n")) {
    const mark = FENCE.exec(line)?.[1];
    if (!fence && mark) {
      add(false);
      fence = mark;
      lines.push(line);
    } else if (fence && mark?.startsWith(fence) && line.trim() === mark) {
      lines.push(line);
      add(true);
      fence = null;
    } else {
      lines.push(line);
    }
  }
  add(fence !== null);
  return parts;
}

function renderLines(text) {
  const lines = element("p", { dir: "auto" });
  let end = 0;
  for (const { 0: url, index } of text.matchAll(LINK)) {
    const attributes = linkAttributes(url);
    lines.append(text.slice(end, index), attributes ? element("a", attributes, url) : url);
    end = index + url.length;
  }
  lines.append(text.slice(end));
  return lines;
}
