/** Text as the server counts it. */

/** Return how many characters a text has: code points, where JavaScript's `length` counts an emoji as two. */
export function countCharacters(text) {
  let count = text.length;
  for (let at = 0; at < text.length - 1; at += 1) {
    const isPair = (text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00;
    count -= isPair ? 1 : 0;
  }
  return count;
}

/** Return the first characters of a text, with "…" where there are more. */
export function excerpt(text, characters) {
  const start = [...text.slice(0, characters * 2)].slice(0, characters).join("");
  return start.length < text.length ? `${start.trimEnd()}…` : text;
}
