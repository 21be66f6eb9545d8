/** Taking a conversation elsewhere: onto the clipboard, or into a file. */

import * as api from "../core/api.js";
import { describeError } from "../core/errors.js";
import { downloadBlob } from "../ui/download.js";
import { copyAndTell, showToast } from "../ui/toast.js";

const FORMATS = {
  json: { query: {}, extension: "json" },
  markdown: { query: { format: "markdown" }, extension: "md" },
};

/** Copy a conversation as Markdown. */
export async function copyConversation(session) {
  await orTell(async () => {
    const blob = await getExport(session, "markdown");
    await copyAndTell(await blob.text(), "Conversation");
  });
}

/** Download a conversation as a file. */
export async function downloadConversation(session, format) {
  await orTell(async () => {
    downloadBlob(await getExport(session, format), `${nameOf(session)}.${FORMATS[format].extension}`);
  });
}

function getExport({ id }, format) {
  return api.requestBlob(`sessions/${encodeURIComponent(id)}/export`, { query: FORMATS[format].query });
}

/** Return a session's title as the name of a file. */
function nameOf({ title }) {
  return (title ?? "session").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "session";
}

async function orTell(work) {
  try {
    await work();
  } catch (error) {
    showToast(describeError(error), { kind: "error" });
  }
}
