/** Exporting everything: one document a line, as the import takes it back. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { createSlice } from "../core/store.js";
import { downloadBlob } from "../ui/download.js";
import { showToast } from "../ui/toast.js";

const PART_BYTES = 8_388_608;

const slice = createSlice("export", { running: false, received: 0 });
let controller = null;

/** Return the state of the export: `{running, received}`, in bytes. */
export function exportState() {
  return slice.state;
}

/** Download all sessions as one file. */
export async function exportEverything() {
  controller = new AbortController();
  slice.update({ running: true, received: 0 });
  try {
    const blob = await collect(api.requestBytes("export", { signal: controller.signal }));
    const name = `parley-${new Date().toISOString().slice(0, 10)}.ndjson`;
    downloadBlob(blob, name);
    showToast(`${name} is saved with your downloads.`);
  } catch (error) {
    if (error.name !== "AbortError") {
      showToast(describeError(error), { kind: "error" });
    }
  }
  slice.update({ running: false });
}

/** Stop the download. */
export function cancelExport() {
  controller?.abort();
}

/**
 * Collect bytes in Blobs, which the browser moves to the disk when there are many; so the page itself holds no more
 * than the last of them.
 */
async function collect(bytes) {
  const parts = [];
  let chunks = [];
  let size = 0;
  for await (const chunk of bytes) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > PART_BYTES) {
      parts.push(new Blob(chunks));
      chunks = [];
      size = 0;
    }
    slice.update({ received: slice.state.received + chunk.length });
  }
  return new Blob([...parts, ...chunks], { type: "application/x-ndjson" });
}
