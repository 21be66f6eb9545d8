"""Calls of the page's Markdown module, in the page, under its policy."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

# A node as text: <p dir=auto>one <em>two</em></p>. No string becomes markup on the way.
DESCRIBE = """
const describe = (node) => {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  const inner = [...node.childNodes].map(describe).join("");
  if (node.nodeType !== Node.ELEMENT_NODE) return inner;
  const attributes = [...node.attributes].map(({ name, value }) => ` ${name}=${value}`).join("");
  return `<${node.localName}${attributes}>${inner}</${node.localName}>`;
};
const markdown = await import("/static/text/markdown.js");
"""


def run(page: Page, script: str, argument: Any = None) -> Any:
    """Run the body of a function of ``argument`` that has ``markdown`` and ``describe``, and return its result."""
    return page.evaluate(f"async (argument) => {{ {DESCRIBE} {script} }}", argument)


def rendered(page: Page, text: str) -> str:
    """Return what a text becomes, as DESCRIBE writes it."""
    described: str = run(page, "return describe(markdown.renderMarkdown(argument))", text)
    return described
