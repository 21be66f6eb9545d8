/** Modal dialogs: the browser's own, which keep the focus inside and give it back. */

import { html, nothing, render } from "../core/html.js";

/**
 * Open a dialog and return what it was closed with, null if it was dismissed.
 * @param {string} title
 * @param {(close: (result: unknown) => void, update: () => void) => unknown} content returns a template; `update` renders it again
 * @param {{className?: string}} [options]
 */
export function openDialog(title, content, { className = "" } = {}) {
  return new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    let result = null;
    const close = (value = null) => {
      result = value;
      dialog.close();
    };
    const update = () =>
      render(
        html`<h2 id="dialog-title" tabindex="-1">${title}</h2>
          ${content(close, update)}`,
        dialog,
      );
    dialog.className = className;
    dialog.setAttribute("aria-labelledby", "dialog-title");
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    update();
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Ask for a confirmation and return whether it was given.
 * @param {{title: string, text: unknown, confirm: string, danger?: boolean, typed?: string}} question `typed` is a word
 *   that has to be typed before the button works
 */
export async function confirmDialog({ title, text, confirm, danger = false, typed = "" }) {
  let input = "";
  return Boolean(
    await openDialog(title, (close, update) => {
      const submit = (event) => {
        event.preventDefault();
        if (input === typed) {
          close(true);
        }
      };
      const change = (event) => {
        input = event.target.value;
        update();
      };
      return html`
        <form @submit=${submit}>
          <p>${text}</p>
          ${typed
            ? html`<label>Type <code>${typed}</code> to go on
                <input name="typed" autofocus autocomplete="off" autocapitalize="off" spellcheck="false" @input=${change} /></label>`
            : nothing}
          <div class="buttons">
            <button type="button" @click=${() => close()}>Cancel</button>
            <button type="submit" class=${danger ? "danger" : "primary"} ?disabled=${input !== typed}>${confirm}</button>
          </div>
        </form>
      `;
    }),
  );
}
