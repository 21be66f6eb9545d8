// Where a link may lead: to another place by http, https or mail, or to a session or a message of this page.
const EXTERNAL = /^(?:https?:\/\/|mailto:)/i;
const PERMALINK = /^#\/s\/[\w-]+(?:\/m\/[\w-]+)?$/;

/**
 * Return the attributes of a link to an address, null where none may lead to it.
 * @param {string} href
 * @param {string|null} title
 */
export function linkAttributes(href, title = null) {
  if (PERMALINK.test(href)) return { href, title };
  if (!EXTERNAL.test(href) || !URL.canParse(href)) return null;
  return { href, title, target: "_blank", rel: "noopener noreferrer nofollow" };
}

const ADDRESS = /^\s*(?:https?:\/\/|www\.)/i;
const DIRECTION = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

/**
 * Return the host that a link leads to, to be said beside its text, if that names another one, or can be read as one:
 * "http://bank.example" that leads elsewhere, text whose direction is turned, a host that is only a user's name.
 * @param {string} href of a link elsewhere
 * @param {string} text
 * @returns {string|null}
 */
export function unexpectedHost(href, text) {
  if (!/^https?:/i.test(href)) return null;
  const { host, username } = new URL(href);
  const shown = text.trim();
  const address = /^www\./i.test(shown) ? `http://${shown}` : shown;
  const isSame = URL.canParse(address) && new URL(address).host === host;
  return username || DIRECTION.test(text) || (ADDRESS.test(text) && !isSame) ? host : null;
}
