/** The files that somebody has chosen or dropped: found in folders, and looked at before they are sent. */

import { formatBytes } from "../core/words.js";

const IMPORTABLE = /\.(json|ndjson|jsonl)$/i;
const CONVERSATIONS = /^conversations.*\.json$/i; // of the folders that ChatGPT and Claude export
const ZIP_SIGNATURE = [0x50, 0x4b, 0x03, 0x04];

/** Return the files of a drop, those in its folders included. Call it in the event's handler: later, they are gone. */
export async function filesOfDrop({ items, files }) {
  const entries = Array.from(items, (item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some(({ isDirectory }) => isDirectory)) {
    return Array.from(files);
  }
  const plain = Array.from(files).filter((_, index) => !entries[index]?.isDirectory);
  const inFolders = (await Promise.all(entries.filter(({ isDirectory }) => isDirectory).map(readEntry))).flat();
  return [...plain, ...filesOfFolder(inFolders)];
}

/** Return those files of a folder that can be imported: if some are named as exports are, no others. */
export function filesOfFolder(files) {
  const named = files.filter(({ name }) => CONVERSATIONS.test(name));
  const chosen = named.length ? named : files.filter(({ name }) => IMPORTABLE.test(name));
  return chosen.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

/** Return why a file cannot be sent, "" if it can. */
export async function findProblem(file, maxBytes) {
  if (await isZip(file)) {
    return "This is an archive. Unpack it first (Windows: right-click, Extract all; Mac: double-click; Linux: unzip), then choose the JSON files in it.";
  }
  if (file.size === 0) {
    return "This file is empty.";
  }
  if (file.size > maxBytes) {
    return `This file has ${formatBytes(file.size)}, and Parley takes ${formatBytes(maxBytes)} at once. Whoever runs Parley can raise PARLEY_MAX_IMPORT_BYTES, or use “flask import” there, which has no limit.`;
  }
  return "";
}

async function isZip(file) {
  try {
    const start = new Uint8Array(await file.slice(0, ZIP_SIGNATURE.length).arrayBuffer());
    return start.length === ZIP_SIGNATURE.length && ZIP_SIGNATURE.every((byte, index) => start[index] === byte);
  } catch {
    return false; // it cannot be read: sending it will say so
  }
}

async function readEntry(entry) {
  if (entry.isFile) {
    return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  }
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100
    if (!entries.length) {
      return files;
    }
    files.push(...(await Promise.all(entries.map(readEntry))).flat());
  }
}
