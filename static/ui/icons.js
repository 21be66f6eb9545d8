/** The icons, drawn on a grid of 24 with lines of 2. They are decoration: buttons have labels. */

import { svg } from "../core/html.js";

const PATHS = {
  add: svg`<path d="M12 5v14M5 12h14" />`,
  actions: svg`<path d="M13 3 5 14h6l-1 7 8-11h-6z" />`,
  back: svg`<path d="m14 6-6 6 6 6" />`,
  check: svg`<path d="m5 13 4 4L19 7" />`,
  close: svg`<path d="m6 6 12 12M18 6 6 18" />`,
  copy: svg`<rect x="9" y="9" width="11" height="11" rx="2" /><path d="M5 15V6a2 2 0 0 1 2-2h8" />`,
  delete: svg`<path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13" />`,
  down: svg`<path d="M12 5v14m-6-6 6 6 6-6" />`,
  edit: svg`<path d="M4 20h4L19 9l-4-4L4 16z" />`,
  export: svg`<path d="M12 16V4m-5 5 5-5 5 5M5 20h14" />`,
  help: svg`<circle cx="12" cy="12" r="9" /><path d="M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .9-1 1.7M12 17h.01" />`,
  import: svg`<path d="M12 4v12m-5-5 5 5 5-5M5 20h14" />`,
  link: svg`<path d="M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1" />`,
  menu: svg`<path d="M4 7h16M4 12h16M4 17h16" />`,
  more: svg`<path d="M5 12h.01M12 12h.01M19 12h.01" />`,
  prompt: svg`<path d="M5 4h14v16H5zM9 9h6M9 13h6" />`,
  retry: svg`<path d="M5 12a7 7 0 1 1 2 5M5 12V7m0 5h5" />`,
  search: svg`<circle cx="11" cy="11" r="6" /><path d="m20 20-4.5-4.5" />`,
  send: svg`<path d="M12 20V5m-6 6 6-6 6 6" />`,
  stop: svg`<rect x="7" y="7" width="10" height="10" rx="1" />`,
  timeline: svg`<path d="M6 4v16M6 7h12M6 12h8M6 17h10" />`,
  user: svg`<circle cx="12" cy="8" r="4" /><path d="M4 20a8 8 0 0 1 16 0" />`,
  warning: svg`<path d="M12 4 3 20h18zM12 10v4M12 17h.01" />`,
};

/** Return an icon by its name. */
export function icon(name) {
  return svg`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">${PATHS[name]}</svg>`;
}
