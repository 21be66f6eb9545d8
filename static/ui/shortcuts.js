/** The list of shortcuts, which `?` opens. */

import { html } from "../core/html.js";
import { enableSingleKeys, listShortcuts, singleKeysEnabled } from "../core/keyboard.js";
import { openDialog } from "./dialog.js";

/** Show the shortcuts. */
export function showShortcuts() {
  return openDialog("Keyboard", (close) => html`
    <dl class="shortcuts">
      ${listShortcuts().map(({ keys, label }) => html`<div><dt><kbd>${keys}</kbd></dt><dd>${label}</dd></div>`)}
    </dl>
    <label class="check"><input type="checkbox" ?checked=${singleKeysEnabled()} @change=${(event) => enableSingleKeys(event.target.checked)} />
      Single keys work</label>
    <div class="buttons"><button type="button" class="primary" @click=${() => close()}>Close</button></div>
  `);
}
