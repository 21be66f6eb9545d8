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
