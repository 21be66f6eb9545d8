"""Markdown in the page: no text takes long, or nests deep."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.helpers.waits import ROUNDS
from tests.page.markdown import run

N = 50_000  # as long as a message may be
HOSTILE = {
    "quotes": ">" * 20_000,
    "quotes with spaces": "> " * (N // 2),
    "nested lists": "- " * (N // 2),
    "nested by lines": "\n".join("  " * depth + "- a" for depth in range(300)),
    "numbers": "1. " * (N // 3),
    "quotes and lists": "> - " * (N // 4),
    "stars": "*" * N,
    "open emphasis": "*a **b " * (N // 7),
    "nested emphasis": "*a **b " * (N // 14) + "c** d*" * (N // 14),
    "underscores": "__a_" * (N // 4),
    "tildes": "~~a ~b " * (N // 7),
    "brackets": "[" * N,
    "closed brackets": "[" * (N // 2) + "]" * (N // 2),
    "nested links": "[a" * 5_000 + "](http://x)" * 4_000,
    "images": "![" * (N // 2),
    "open links": "[a](" * (N // 4),
    "open titles": '[a](b "' * (N // 7),
    "definitions": "".join(f"[{number}]: http://x\n" for number in range(2_500)),
    "backticks": "`" * N,
    "runs of backticks": " ".join("`" * length + "a" for length in range(300)),
    "backslashes": "\\" * N,
    "less than": "<" * N,
    "open tags": "<a " * (N // 3),
    "open comments": "<!--" * (N // 4),
    "ampersands": "&" * N,
    "addresses": "a." * (N // 2) + "@",
    "at signs": "a@" * (N // 2),
    "a URL with brackets": "http://a.b/" + ")" * N,
    "a URL with brackets and dots": "http://a.b/" + ")." * (N // 2),
    "spaces": "a" + " " * N + "b",
    "line breaks": "\n" * N,
    "spaces at ends": "a  \n" * (N // 4),
    "tabs": "\t" * N,
    "hashes": "# a" + " #" * (N // 2) + "b",
    "dashes": "a\n-\n" * (N // 4),
    "a line of dashes": "a\n" + "-" * N + "b",
    "short lines": "a\n" * (N // 2),
    "lines after an item": "- a\n" + "b\n" * (N // 2),
    "items": "- a\n" * (N // 4),
    "items with spaces": "- a\n\n" * (N // 5),
    "changing items": "1. a\n- b\n" * (N // 9),
    "fences": "```a`\n" * (N // 6),
    "tables": ("|a" * 100 + "\n" + "|-" * 100 + "\n") * (N // 400),
    "a table of 1,000 columns": "|a" * 1_000 + "|\n" + "|-" * 1_000 + "|\n" + ("|b" * 1_000 + "|\n") * 20,
    "a table of 10,000 rows": "|a|\n|-|\n" + "|b|\n" * 10_000,
    "a table of 5,000,000 cells": "|a" * 500 + "|\n" + "|-" * 500 + "|\n" + "|b|\n" * 10_000,
    "bars": "|" * N,
    "HTML": "<div>\n" * (N // 6),
    "emoji": "😀" * (N // 2),
    "joiners": "a\u200d\u0301" * (N // 3),
    "a mixture": "*[`~<!&\\_|" * (N // 10),
    "nested brackets in code": "```javascript\n" + "({[`${" * 3_000 + "\n```",
    "quotes in code": "```python\n" + "f'{" * 6_000 + "\n```",
    "tags in code": "```xml\n" + "<a b='" * 3_000 + "\n```",
    "dollars in code": "```bash\n" + "$(`" * 6_000 + "\n```",
    "spaces in code": "```yaml\n" + "a: " + " " * 19_000 + "\n```",
}


def test_hostile_text_neither_hangs_nor_overflows(blank: Page) -> None:
    measure = """
    const times = {};
    for (const [name, text] of Object.entries(argument)) {
      const start = performance.now();
      const nodes = markdown.renderMarkdown(text);
      document.querySelector("main").replaceChildren(nodes);
      document.body.offsetHeight;
      times[name] = Math.round(performance.now() - start);
    }
    return times;
    """
    slow = HOSTILE
    for _ in range(ROUNDS):  # what was slow because the machine was busy is not so each time
        times: dict[str, float] = run(blank, measure, slow)
        slow = {name: HOSTILE[name] for name, time in times.items() if time > 5_000}
    assert not slow, f"milliseconds: {times}"


def test_nesting_is_bounded(blank: Page) -> None:
    depth = """
    let deepest = 0;
    const walk = (node, depth) => {
      deepest = Math.max(deepest, depth);
      for (const child of node.childNodes) walk(child, depth + 1);
    };
    walk(markdown.renderMarkdown(argument), 0);
    return deepest;
    """
    for name in ("quotes", "nested lists", "quotes and lists", "nested emphasis", "nested brackets in code"):
        assert run(blank, depth, HOSTILE[name]) < 60, name


@pytest.mark.parametrize("text", ["a\n\n*b* " * 30_000, "x" * 300_000], ids=["Markdown", "one word"])
def test_text_of_more_than_200_000_characters_is_plain(blank: Page, text: str) -> None:
    script = "const node = markdown.renderMarkdown(argument).firstChild; return [node.localName, node.textContent]"
    assert run(blank, script, text) == ["pre", text]


def test_a_log_of_one_paragraph_keeps_its_lines(blank: Page) -> None:
    log = "\n".join(f"12:00:{second:02} *x* GET /a_b_c 200" for second in range(1_000))
    script = "return markdown.renderMarkdown(argument).querySelectorAll('br').length"
    assert run(blank, script, log) == 999
    assert "*x*" in run(blank, "return markdown.renderMarkdown(argument).textContent", log)
