"""Parsing of Markdown within a bounded number of steps.

Markdown that costs quadratic time to parse is easily written. Each rule of the parser that is tried costs steps of a
budget, and a message that exceeds it is not parsed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from services.markdown.escaping import ADDRESS

MAX_STEPS = 32_000  # of parsing a message, each about a microsecond, including the rendering of what is found
MAX_DESTINATION_CHARACTERS = 100_000  # of all links, which one definition can multiply
BLOCK_STEPS = 8  # of a line that block rules are tried at
DEFINITION_STEPS = 20  # more, of a line that may define a link
CELL_STEPS = 5
INLINE_STEPS = {**dict.fromkeys("\n&\\`*_~", 7), "@": 12, "!": 20, "[": 14, "<": 20}  # of any other character, 1
ADDRESS_STEPS = 12
BRACKET_CHARACTERS = 60  # after a bracket that may be a definition's label, searched in a step

SCHEME = re.compile(r"(?:https?|mailto):", re.IGNORECASE)


class UnsafeMarkdownError(Exception):
    """A message is too costly to parse, or has no safe form in the subset."""


def parse(text: str) -> list[Token]:
    """Return the tokens of a message.

    Raises:
        UnsafeMarkdownError: if it costs too many steps, is nested too deeply or has too many characters of links.

    """
    parser = _parser()
    tokens = parser.parse(text, {"steps": MAX_STEPS - _encoding_steps(text)})
    deepest = parser.options["maxNesting"] - 1  # the parser leaves out what is deeper
    if any(token.nesting == 1 and token.level >= deepest for token in tokens):
        raise UnsafeMarkdownError
    links = (token.attrs.values() for block in tokens for token in (block.children or ()) if token.attrs)
    if sum(len(str(value)) for values in links for value in values) > MAX_DESTINATION_CHARACTERS:
        raise UnsafeMarkdownError
    return tokens


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        """Return whether a destination is allowed; a link to another one stays text."""
        return bool(SCHEME.match(url))

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802 - the library's name
        """Return the text of an autolink: as it was written."""
        return link


@cache
def _parser() -> MarkdownIt:
    parser = _Parser("commonmark", {"inline_definitions": True})
    parser.enable("strikethrough").disable(["html_block", "html_inline", "text_join"])
    parser.block.ruler.before("code", "steps", _charge_block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.block.ruler.at("table", _charge_table, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.enable("table")
    parser.inline.ruler.before("text", "steps", _charge_inline)
    return parser


def _encoding_steps(text: str) -> int:
    """Return the steps to render the addresses in a text: one that is not ASCII is encoded byte by byte."""
    if text.isascii() or "://" not in text:
        return 0
    return sum(len(found[0].encode()) - len(found[0]) for found in ADDRESS.finditer(text)) // 2


def _charge(env: Any, steps: int) -> None:
    env["steps"] -= steps
    if env["steps"] < 0:
        raise UnsafeMarkdownError


def _charge_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    may_define = state.src.startswith("[", state.bMarks[start] + state.tShift[start])
    _charge(state.env, BLOCK_STEPS + may_define * DEFINITION_STEPS)
    return False


def _charge_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Run the library's rule; a table costs its cells, including those that only fill a row up."""
    found = table(state, start, end, True)
    if silent or not found:
        return found
    rows = next((line for line in range(start, end) if state.isEmpty(line)), end) - start
    columns = state.src.count("|", state.bMarks[start + 1], state.eMarks[start + 1]) + 1
    _charge(state.env, rows * columns * CELL_STEPS)
    return table(state, start, end, False)


def _charge_inline(state: StateInline, silent: bool) -> bool:
    char = state.src[state.pos]
    steps = INLINE_STEPS.get(char, 1)
    if char == ":" and state.src.startswith("://", state.pos):
        steps = ADDRESS_STEPS
    elif char == "[" and "references" in state.env:
        steps += (state.posMax - state.pos) // BRACKET_CHARACTERS
    elif char in "*_~" and not silent:  # each character of a delimiter run is a token
        end = state.pos + 1
        while end < state.posMax and state.src[end] == char:
            end += 1
        steps *= end - state.pos
    _charge(state.env, steps)
    return False
