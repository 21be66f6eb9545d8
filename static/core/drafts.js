/**
 * What was typed and not yet sent, in the browser's storage, by user and place: it survives a reload, a lost
 * connection and an expired login. A draft has the Idempotency-Key that it will be sent with, so that sending it
 * again after a lost answer cannot ask twice.
 */

const PREFIX = "parley.draft.";
const memory = new Map(); // where the browser has no storage for us
let userId = "";

/** Use the drafts of this user. */
export function setDraftUser(id) {
  userId = id;
}

/** Keep nothing more of this user's in this tab, and store nothing of what still ends: they have logged out. */
export function leaveDrafts() {
  memory.clear();
  userId = "";
}

/**
 * Return the draft of a place (`"<session>"`, `"<session>.prompt"`, …), null if there is none, or if it lacks one of
 * these `texts`: what another version has left there, or anything else, must not break the page.
 */
export function loadDraft(place, ...texts) {
  const key = keyOf(place);
  const draft = readStored(key) ?? memory.get(key) ?? null;
  return texts.every((name) => typeof draft?.[name] === "string") ? draft : null;
}

function readStored(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

/** Store a draft, an object that can be JSON; null deletes it. */
export function saveDraft(place, draft) {
  if (!userId) {
    return;
  }
  const key = keyOf(place);
  try {
    if (draft === null) {
      memory.delete(key);
      localStorage.removeItem(key);
    } else {
      memory.set(key, draft);
      localStorage.setItem(key, JSON.stringify(draft));
    }
  } catch {
    // It is in memory: storage is full, or switched off.
  }
}

/** Delete all drafts of this user: they have logged out, perhaps on somebody else's computer. */
export function deleteDrafts() {
  for (const key of [...memory.keys(), ...storedKeys()]) {
    if (key.startsWith(keyOf(""))) {
      memory.delete(key);
      localStorage.removeItem(key);
    }
  }
}

/** Return whether this user has any draft. */
export function hasDrafts() {
  return [...memory.keys(), ...storedKeys()].some((key) => key.startsWith(keyOf("")));
}

function storedKeys() {
  try {
    return Object.keys(localStorage);
  } catch {
    return [];
  }
}

function keyOf(place) {
  return `${PREFIX}${userId}.${place}`;
}
