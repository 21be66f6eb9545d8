/**
 * Return a new element with these attributes and children; an attribute that is null or false is left out.
 * @param {string} name
 * @param {Object<string, string|number|boolean|null>} attributes
 * @param {...(Node|string)} children
 */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(attribute, value);
  }
  node.append(...children);
  return node;
}

/** Return a fragment of these nodes. */
export function fragment(...children) {
  const node = document.createDocumentFragment();
  node.append(...children);
  return node;
}
