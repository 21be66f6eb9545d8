import hljs from "../vendor/highlightjs-cdn-assets-11.12.0/core.min.js";
import bash from "../vendor/highlightjs-cdn-assets-11.12.0/languages/bash.min.js";
import diff from "../vendor/highlightjs-cdn-assets-11.12.0/languages/diff.min.js";
import dockerfile from "../vendor/highlightjs-cdn-assets-11.12.0/languages/dockerfile.min.js";
import go from "../vendor/highlightjs-cdn-assets-11.12.0/languages/go.min.js";
import http from "../vendor/highlightjs-cdn-assets-11.12.0/languages/http.min.js";
import ini from "../vendor/highlightjs-cdn-assets-11.12.0/languages/ini.min.js";
import java from "../vendor/highlightjs-cdn-assets-11.12.0/languages/java.min.js";
import javascript from "../vendor/highlightjs-cdn-assets-11.12.0/languages/javascript.min.js";
import json from "../vendor/highlightjs-cdn-assets-11.12.0/languages/json.min.js";
import nginx from "../vendor/highlightjs-cdn-assets-11.12.0/languages/nginx.min.js";
import python from "../vendor/highlightjs-cdn-assets-11.12.0/languages/python.min.js";
import sql from "../vendor/highlightjs-cdn-assets-11.12.0/languages/sql.min.js";
import xml from "../vendor/highlightjs-cdn-assets-11.12.0/languages/xml.min.js";
import yaml from "../vendor/highlightjs-cdn-assets-11.12.0/languages/yaml.min.js";
import { element } from "./elements.js";

const LANGUAGES = {
  bash, diff, dockerfile, go, http, ini, java, javascript, json, nginx, python, sql, xml, yaml,
};
// Languages that are close enough to one of those.
const ALIASES = { bash: ["console", "shell"], javascript: ["ts", "tsx", "typescript"], ini: ["properties"] };
const MAX_LENGTH = 20_000;
const MAX_DEPTH = 16;

for (const [name, language] of Object.entries(LANGUAGES)) hljs.registerLanguage(name, language);
for (const [languageName, names] of Object.entries(ALIASES)) hljs.registerAliases(names, { languageName });
hljs.configure({ __emitter: createEmitter });

/**
 * Return code as highlighted nodes, null if its language is unknown or it is too long.
 * @param {string} code
 * @param {string} language
 * @returns {DocumentFragment|null}
 */
export function highlight(code, language) {
  if (code.length > MAX_LENGTH || !hljs.getLanguage(language)) return null;
  const { root } = hljs.highlight(code, { language, ignoreIllegals: true })._emitter;
  return root.textContent === code ? root : null; // what is copied is what was written, whatever a grammar does
}

/** Return what highlight.js tells about code: here it becomes nodes, where its own emitter writes HTML. */
function createEmitter() {
  const root = document.createDocumentFragment();
  const open = [root];
  const emitter = {
    root,
    addText: (text) => text && open.at(-1).append(text),
    openNode: (scope) => {
      const isDeep = open.length > MAX_DEPTH;
      const node = isDeep ? open.at(-1) : element("span", { class: className(scope) });
      if (!isDeep) open.at(-1).append(node);
      open.push(node);
    },
    closeNode: () => open.length > 1 && open.pop(),
    __addSublanguage: (inner) => open.at(-1).append(inner.root),
    finalize: () => undefined,
    toHTML: () => "",
  };
  return Object.assign(emitter, { startScope: emitter.openNode, endScope: emitter.closeNode });
}

/** Return the classes of a scope, as highlight.js's themes name them: `title.function` is `hljs-title function_`. */
function className(scope) {
  const [first, ...rest] = scope.split(".");
  return [`hljs-${first}`, ...rest.map((part, index) => part + "_".repeat(index + 1))].join(" ");
}
