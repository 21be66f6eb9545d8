/** lit-html, as the rest of the page imports it: the only module that knows its version. */

export { html, svg, render, nothing } from "../vendor/lit-html-3.3.3/lit-html.js";
export { guard } from "../vendor/lit-html-3.3.3/directives/guard.js";
export { keyed } from "../vendor/lit-html-3.3.3/directives/keyed.js";
export { live } from "../vendor/lit-html-3.3.3/directives/live.js";
export { ref } from "../vendor/lit-html-3.3.3/directives/ref.js";
export { repeat } from "../vendor/lit-html-3.3.3/directives/repeat.js";
export { AsyncDirective, Directive, directive } from "../vendor/lit-html-3.3.3/async-directive.js";
