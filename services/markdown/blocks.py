"""The blocks of a message, rendered from the parser's tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from markdown_it.token import Token

from services.markdown.escaping import escape, escape_block_starts, format_link
from services.markdown.inlines import render_inline
from services.markdown.parser import UnsafeMarkdownError

MAX_FENCE = 250
LANGUAGE = re.compile(r"[\w+#.-]{1,40}(?!\S)", re.ASCII)
CONTINUES_ITEM = re.compile(r"(?:[-*+]|1[.)]|>) \S|```|~~~")  # what may follow an item's text without a blank line
ALIGNMENT = {"": "---", "text-align:left": ":--", "text-align:right": "--:", "text-align:center": ":-:"}


@dataclass
class _OpenBlock:
    """A block whose end is not reached: its token, and the blocks rendered so far, each with its own token."""

    token: Token
    blocks: list[tuple[Token, str]] = field(default_factory=list)
    is_loose: bool = False

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.blocks if text]


def render_blocks(tokens: list[Token]) -> str:
    """Return the Markdown of a message's tokens.

    Raises:
        UnsafeMarkdownError: if something in it has no safe form.

    """
    open_blocks = [_OpenBlock(Token("document_open", "", 1))]
    for token in tokens:
        if token.nesting == 1:
            open_blocks[-1].is_loose |= token.type == "paragraph_open" and not token.hidden
            open_blocks.append(_OpenBlock(token))
        elif token.nesting == -1:
            block = open_blocks.pop()
            open_blocks[-1].is_loose |= block.token.type == "list_item_open" and block.is_loose
            open_blocks[-1].blocks.append((block.token, CONTAINER_RENDERERS[block.token.type](block)))
        else:
            open_blocks[-1].blocks.append((token, LEAF_RENDERERS[token.type](token, open_blocks[-1].token)))
    return _join(open_blocks[0])


def indent(text: str, width: int) -> str:
    """Indent each line that is not empty."""
    return re.sub(r"^(?=[^\n])", " " * width, text, flags=re.MULTILINE)


def _join(parent: _OpenBlock, is_tight: bool = False) -> str:
    """Join the blocks that are not empty; in an item of a tight list without blank lines if that is the same."""
    text, previous = "", ""
    for token, block in parent.blocks:
        if block:
            continues = is_tight and previous in ("paragraph_open", "fence") and CONTINUES_ITEM.match(block)
            text += ("\n" if continues else "\n\n") + block if text else block
            previous = token.type
    return text


def _concatenate(block: _OpenBlock) -> str:
    return "".join(block.texts)


def _lines(block: _OpenBlock) -> str:
    return "\n".join(block.texts)


def _paragraph(block: _OpenBlock) -> str:
    return escape_block_starts(_concatenate(block))


def _bold(block: _OpenBlock) -> str:
    text = _concatenate(block)
    return text and f"**{text}**"


def _quote(block: _OpenBlock) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in _join(block).split("\n"))


def _list_item(block: _OpenBlock) -> str:
    marker = block.token.info + block.token.markup
    indented = indent(_join(block, is_tight=not block.is_loose), len(marker) + 1)
    first = next((token.type for token, text in block.blocks if text), "")
    if first.endswith("list_open"):  # markers in one line could be a thematic break: * * *
        return f"{marker}\n{indented}"
    return marker + indented[len(marker) :]


def _list(block: _OpenBlock) -> str:
    return ("\n\n" if block.is_loose else "\n").join(block.texts)


def _table_row(block: _OpenBlock) -> str:
    """Return a table's row; after the header row, the delimiter row too."""
    rows = [[text for _, text in block.blocks]]
    if block.blocks[0][0].type == "th_open":
        rows.append([ALIGNMENT[str(token.attrs.get("style", ""))] for token, _ in block.blocks])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _fenced_code(token: Token, parent: Token) -> str:
    """Return code in a fence longer than any run of its character in the code."""
    language = LANGUAGE.match(token.info.strip()) if token.type == "fence" else None
    for char in "`~":
        length = max((len(run) + 1 for run in re.findall(f"{char}+", token.content)), default=3)
        if length <= MAX_FENCE:
            fence = char * max(length, 3)
            code = token.content.removesuffix("\n")
            return "\n".join([f"{fence}{language[0] if language else ''}", *([code] if token.content else []), fence])
    raise UnsafeMarkdownError


def _thematic_break(token: Token, parent: Token) -> str:
    return "___"  # no list has this marker


def _definition(token: Token, parent: Token) -> str:
    """Return a link's definition as text: a real one would apply to other messages, too."""
    meta = token.meta
    return rf"\[{escape(meta['label'])}\]: {format_link('', meta['url'], meta['title'])}"


CONTAINER_RENDERERS: dict[str, Callable[[_OpenBlock], str]] = {
    "paragraph_open": _paragraph,
    "heading_open": _bold,
    "blockquote_open": _quote,
    "list_item_open": _list_item,
    "bullet_list_open": _list,
    "ordered_list_open": _list,
    "th_open": _concatenate,
    "td_open": _concatenate,
    "tr_open": _table_row,
    "thead_open": _lines,
    "tbody_open": _lines,
    "table_open": _lines,
}

LEAF_RENDERERS: dict[str, Callable[[Token, Token], str]] = {
    "inline": render_inline,
    "fence": _fenced_code,
    "code_block": _fenced_code,
    "hr": _thematic_break,
    "definition": _definition,
}
