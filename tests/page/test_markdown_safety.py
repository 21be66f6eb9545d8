"""Markdown in the page: what it never becomes, whoever has written it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page

from tests.page.markdown import rendered, run

SOURCES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "xss_vectors.json").read_text())
CONSTRUCTS = (
    "{}",
    "a {} b",
    "# {}",
    "> {}",
    "- {}\n- [x] {}",
    "**{}** _{}_ ~~{}~~",
    "|{}|b|\n|-|-|\n|{}|{}|",
    "[{}](https://x.example)",
    "[a]({})",
    "[a](<{}>)",
    '[a](https://x.example "{}")',
    "![{}](https://x.example/{})",
    "![a]({})",
    "<{}>",
    "[a]: {}\n\n[a] ![a]",
    "`{}`",
    "```html\n{}\n```",
    "```{}\nx\n```",
    "    {}",
    "&lt;{}&gt;",
)
# What may be there, and nothing else.
ALLOWED = {
    "a": {"href", "title", "target", "rel", "class", "dir"},
    "bdi": set(),
    "blockquote": {"dir"},
    "br": set(),
    "button": {"type", "class"},
    "code": set(),
    "del": set(),
    "div": {"class", "role", "aria-label", "tabindex", "dir"},
    "em": set(),
    "figcaption": set(),
    "figure": {"class", "dir"},
    **{f"h{level}": {"dir"} for level in (3, 4, 5, 6)},
    "hr": set(),
    "li": {"class"},
    "ol": {"start", "dir"},
    "p": {"dir"},
    "pre": {"tabindex", "class", "dir"},
    "span": {"class", "role", "aria-label"},
    "strong": set(),
    "table": set(),
    "tbody": set(),
    "td": {"dir", "class"},
    "th": {"scope", "dir", "class"},
    "thead": set(),
    "tr": set(),
    "ul": {"dir"},
}
FIND_FOREIGN = """
const found = [];
for (const text of argument.texts) {
  const nodes = markdown.renderMarkdown(text);
  for (const node of nodes.querySelectorAll("*")) {
    const allowed = argument.allowed[node.localName];
    if (!allowed || node.namespaceURI !== "http://www.w3.org/1999/xhtml") found.push([text, node.localName]);
    for (const { name, value } of node.attributes) {
      if (!allowed?.includes(name)) found.push([text, node.localName, name]);
      const leads = name === "href" && !/^(https?:\\/\\/|mailto:|#\\/s\\/)/i.test(value);
      if (leads || (name === "class" && !/^[\\w -]*$/.test(value))) found.push([text, name, value]);
    }
    const { protocol } = node;
    if (node.localName === "a" && !["http:", "https:", "mailto:"].includes(protocol)) found.push([text, node.href]);
  }
  document.querySelector("main").replaceChildren(nodes);
  for (const node of document.querySelectorAll("main *")) node.dispatchEvent(new Event("error"));
}
return found;
"""


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source["source"].partition(",")[0])
def test_no_vector_becomes_more_than_text(blank: Page, source: dict[str, Any]) -> None:
    happened: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        happened.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    run(blank, "")  # loads the modules
    blank.on("dialog", dismiss)
    blank.on("request", lambda request: happened.append(f"request: {request.url}"))
    vectors = source["vectors"]
    assert len(vectors) > 100
    allowed = {name: sorted(attributes) for name, attributes in ALLOWED.items()}
    for construct in CONSTRUCTS:
        texts = [construct.replace("{}", vector) for vector in vectors]
        assert run(blank, FIND_FOREIGN, {"texts": texts, "allowed": allowed}) == []
    blank.wait_for_timeout(300)
    assert happened == []


def test_the_search_for_foreign_elements_finds_them(blank: Page) -> None:
    texts = ["[a](https://x.example)", "`a`"]
    found = run(blank, FIND_FOREIGN, {"texts": texts, "allowed": {"p": ["dir"], "a": ["href", "target"]}})
    assert found == [[texts[0], "a", "rel"], [texts[1], "code"]]


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[http://bank.example](http://evil.example)", "evil.example"),
        ("[www.bank.example/login](https://evil.example)", "evil.example"),
        ("[**https://bank.example**](http://evil.example:81)", "evil.example:81"),
        ("[\u202eelpmaxe.knab](http://evil.example)", "evil.example"),
        ("<http://bank.example@evil.example>", "evil.example"),
        ("![http://bank.example](http://evil.example)", "evil.example"),
        ("[http://bank.example/a](http://bank.example/b)", None),
        ("[the bank](http://evil.example)", None),
        ("<http://bank.example>", None),
    ],
)
def test_link_says_where_it_leads_if_its_text_says_otherwise(blank: Page, text: str, host: str | None) -> None:
    shown = rendered(blank, text)
    assert ("<bdi> (evil" in shown) == (host is not None)
    assert host is None or f"</a><bdi> ({host})</bdi>" in shown
