/** Dropping files anywhere on the page brings them to the import. */

import { html, nothing } from "../core/html.js";
import { navigate } from "../core/router.js";
import { createSlice } from "../core/store.js";
import { loginState } from "../login/model.js";
import { filesOfDrop } from "./files.js";
import { addFiles, isTransferring } from "./model.js";

const slice = createSlice("drop", { isOver: false });

/** Listen to drops, and ask before the page is left while files are on their way. */
export function watchDrops() {
  addEventListener("dragenter", (event) => show(event, true));
  addEventListener("dragover", (event) => show(event, true));
  addEventListener("dragleave", (event) => show(event, event.relatedTarget !== null));
  addEventListener("drop", drop);
  addEventListener("beforeunload", (event) => {
    if (isTransferring()) {
      event.preventDefault();
    }
  });
}

/** Render what shows that the files may be dropped. */
export function dropView() {
  return slice.state.isOver ? html`<div class="drop-curtain" aria-hidden="true">Drop to import</div>` : nothing;
}

function show(event, isOver) {
  if (!event.dataTransfer?.types.includes("Files")) {
    return; // a text or a link that is dragged is not for the import
  }
  event.preventDefault(); // the browser would open the file instead of the page
  if (slice.state.isOver !== (isOver && canImport())) {
    slice.update({ isOver: isOver && canImport() });
  }
}

async function drop(event) {
  show(event, false);
  if (event.dataTransfer?.types.includes("Files") && canImport()) {
    const files = await filesOfDrop(event.dataTransfer);
    navigate("#/transfer");
    await addFiles(files);
  }
}

function canImport() {
  return loginState().status === "in" && !document.querySelector("dialog[open]");
}
