"""The time that a message takes is bounded, whatever is in it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from services.markdown import sanitize


def repeated(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda length: before + unit * ((length - len(before) - len(after)) // len(unit)) + after


def growing(mark: str, between: str) -> Callable[[int], str]:
    return lambda length: between.join(mark * run for run in range(1, int((2 * length) ** 0.5)))


def nested(opening: str, closing: str, before: str = "") -> Callable[[int], str]:
    depth = len(opening) + len(closing)
    return lambda length: before + opening * (length // depth) + "a" + closing * (length // depth)


COSTLY: list[Callable[[int], str]] = [
    *map(repeated, "[]!#*_~`<>&|\\${:-=+.@a1\n\r\t\x00\u2028\x0c\ufeff🚀"),
    *map(repeated, ["![", "![[", "[a](", "[a](<", "[a][", "[[]", '[a](b "', "[a](http://b) ", "![a](http://b) ", "[]"]),
    *map(
        repeated, ["#\n", "# a\n", "> ", ">\n", "> a\n\n", "- ", "-\n", "- a\n", "- a\n+ a\n", "1. ", "+ - * ", "> - "]
    ),
    *map(
        repeated,
        ["*a ", "a* ", "*a_ ", "**a *", "a**b", "*a**a", "~~a ", "*a* ", "`x", "``\n", "```\n", "- ```\n", "a\n=\n"],
    ),
    *map(
        repeated,
        ["<a ", "<!--", "<?", "<http://a> ", "http://a.b ", "http://a(b", "a@b.cd ", "a@", "a.", "www.a ", "://"],
    ),
    *map(
        repeated,
        ["[a]: b\n", "[a]: http://b\n", "[a]: http://b 'c\n", "[a\n", "[^1]: x\n", "&amp;", "&#x0;", "a\\\n", "a\n\n"],
    ),
    *map(
        repeated, ["a|b\n", "a|b\n-|-\n", "a|b\n-|-\nx|y\n\n", "|a\n|-:\n", "*[`<&|~_!>#-", "*[`<&|~_!>#-\n", "    a\n"]
    ),
    *(repeated(unit, "a|b\n-|-\n") for unit in ["x|y\n", "`|\n", "`a`|*b*\n", "\\|", "[|[\n"]),
    *(growing(mark, between) for mark in "`~*_[" for between in (" ", "a", "\n")),
    *(
        nested(*pair)
        for pair in [("[", "]"), ("[", "](http://b)"), ("![", "](http://b)"), ("*a ", " a*"), ("~~a ", " a~~")]
    ),
    nested("[", "]", "[a]: http://b\n\n"),
    *(repeated(unit, "http://") for unit in ["漢", "🚀", "é.", "🚀" * 500 + " http://b/"]),
    lambda length: "[a]: http://b\n\n" + "[" * 1_000 + "a" * (length - 2_000) + "]" * 1_000,
    lambda length: "[a]: http://b/" + "x" * (length // 2) + "\n\n" + "[a]" * (length // 6),
    lambda length: "a|" * (length // 8) + "\n" + "-|" * (length // 8) + "\n" + "x\n" * (length // 4),
    lambda length: "a|" * 150 + "\n" + "-|" * 150 + "\n" + "x\n" * (length // 2),
    lambda length: ">" * (length // 2) + "a\n" + "b\n" * (length // 4),
    lambda length: ">" * 19 + "a\n" + "b\n" * (length // 2),
    lambda length: "\n".join("  " * depth + "- a" for depth in range(int(length**0.5))),
    lambda length: "- " * 9 + "```\n" + "\n" * length + "x",
]


@pytest.mark.parametrize("length", [50_000, pytest.param(400_000, marks=pytest.mark.slow)])
def test_costly_messages_are_sanitized_in_bounded_time(length: int) -> None:
    """Each takes at most about 45 ms, however long it is; quadratic time would be minutes."""
    for number, generate in enumerate(COSTLY):
        content = generate(length)
        start = time.process_time()
        text = sanitize(content)
        assert time.process_time() - start < 2 * length / 50_000, number  # quadratic ones take minutes
        assert len(text) < 4 * len(content) + 300_000, number


def test_message_over_the_budget_becomes_a_code_block() -> None:
    content = "[" * 50_000 + "\n# x\n```\n"
    assert sanitize(content) == "    " + content.strip().replace("\n", "\n    ")
