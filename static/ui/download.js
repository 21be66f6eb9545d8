/** Saving a file. A link alone cannot: it sends no token. */

const REVOKE_AFTER_MS = 60_000;

/** Have the browser save a Blob under a name. */
export function downloadBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), REVOKE_AFTER_MS); // it has to be there until it is saved
}
