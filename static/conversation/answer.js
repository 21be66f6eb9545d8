/** What messages say, as elements that are made once for each message, and grow while an answer is being written. */

import { element } from "../text/elements.js";
import { createStreamedMarkdown, renderMarkdown } from "../text/markdown.js";
import { renderVerbatim } from "./verbatim.js";

const bodies = new WeakMap();
const keys = new WeakMap();
let last = null; // the answer that has come last: its stored message takes over its place and its element

/** Create an answer that grows: `{key, element, text, append, finish}`. */
export function createAnswer() {
  const streamed = createStreamedMarkdown();
  const answer = {
    key: {},
    element: streamed.element,
    text: "",
    append(delta) {
      answer.text += delta;
      streamed.append(delta);
    },
    finish: streamed.finish,
  };
  last = answer;
  return answer;
}

/** Return the element with what a message says. */
export function bodyOf(message) {
  adopt(message);
  if (!bodies.has(message)) {
    bodies.set(message, render(message));
  }
  return bodies.get(message);
}

/** Return what tells a message from the others in the list, the same as while it was being written. */
export function keyOf(message) {
  adopt(message);
  return keys.get(message) ?? message.id;
}

function render({ role, content }) {
  if (role === "assistant") {
    return element("div", { class: "markdown" }, renderMarkdown(content));
  }
  return renderVerbatim(content);
}

function adopt(message) {
  if (last && message.role === "assistant" && message.content === last.text && !bodies.has(message)) {
    bodies.set(message, last.element);
    keys.set(message, last.key);
    last = null;
  }
}
