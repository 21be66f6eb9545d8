/** The `match` of a search, which is HTML: everything but `<mark>` is escaped. It is read without parsing HTML. */

const CHARACTERS = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'" };

/**
 * Return the parts of a match.
 * @param {string} match
 * @returns {{text: string, isMarked: boolean}[]}
 */
export function parseMatch(match) {
  return match
    .split(/(<mark>[^<]*<\/mark>)/)
    .filter(Boolean)
    .map((part) => ({ text: unescape(part.replace(/^<mark>|<\/mark>$/g, "")), isMarked: part.startsWith("<mark>") }));
}

/** Each character is read once, so that what a message says literally, `&lt;`, stays that. */
function unescape(text) {
  return text.replace(/&(?:amp|lt|gt|quot|#x27);/g, (entity) => CHARACTERS[entity]);
}
