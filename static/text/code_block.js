import { copyText } from "../ui/clipboard.js";
import { element } from "./elements.js";
import { highlight } from "./highlight.js";

const SHOWN_MILLISECONDS = 2_000;
const MAX_LABEL_LENGTH = 30;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;

/** Return whether a token is a block of code that is longer than another one, but still without its end. */
export function continuesCode(before, after) {
  return Boolean(before) && isOpenCode(before) && isOpenCode(after) && before.lang === after.lang;
}

/** Return whether a token is a block of code whose end is still to come. */
function isOpenCode(token) {
  const fence = token.type === "code" && token.codeBlockStyle !== "indented" && FENCE.exec(token.raw)?.[1];
  if (!fence) return false;
  const closing = new RegExp(`\\n {0,3}\\${fence[0]}{${fence.length},}[ \\t]*\\n*$`);
  return !closing.test(token.raw);
}

/** Return the element for a block of code: its language, a button that copies it, and the code, highlighted if whole. */
export function renderCode(token) {
  const language = (token.lang ?? "").split(/[\s,{]/, 1)[0].toLowerCase();
  const code = element("code", {}, (!isOpenCode(token) && highlight(token.text, language)) || token.text);
  const button = element("button", { type: "button", class: "copy-code" }, "Copy");
  button.addEventListener("click", () => copy(code.textContent, button));
  const label = element("span", { class: "language" }, language.slice(0, MAX_LABEL_LENGTH) || "text");
  const caption = element("figcaption", {}, label, button);
  return element("figure", { class: "code", dir: "ltr" }, caption, element("pre", { tabindex: 0 }, code));
}

/** Show in a block of code what its text has become. */
export function updateCode(figure, token) {
  figure.querySelector("code").textContent = token.text;
}

async function copy(text, button) {
  button.textContent = (await copyText(text)) ? "Copied" : "Not copied";
  setTimeout(() => (button.textContent = "Copy"), SHOWN_MILLISECONDS);
}
