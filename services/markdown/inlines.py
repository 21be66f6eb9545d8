"""The content of paragraphs, headings and cells, rendered from the parser's tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from markdown_it.token import Token

from services.markdown.escaping import escape, escape_and_link, format_link
from services.markdown.parser import UnsafeMarkdownError

MAX_BACKTICKS = 80  # that open a code span


@dataclass
class _Output:
    """Rendered pieces, and the text after them: it is escaped as a whole, since that depends on what is beside it."""

    pieces: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    link: Token | None = None
    link_start: int = 0
    """Where the pieces of the open link start."""

    def flush(self) -> None:
        if text := "".join(self.text):
            self.pieces.append(escape(text) if self.link else escape_and_link(text))
        self.text.clear()

    def write(self, piece: str) -> None:
        self.flush()
        self.pieces.append(piece)

    def open_link(self, token: Token) -> None:
        self.flush()
        self.link, self.link_start = token, len(self.pieces)

    def close_link(self, link: Token) -> None:
        self.flush()
        self.pieces[self.link_start :] = [format_link("".join(self.pieces[self.link_start :]), *_destination(link))]
        self.link, self.link_start = None, 0

    def last_piece(self) -> str:
        """Return what was rendered last, but nothing from before an open link."""
        self.flush()
        return "".join(self.pieces[self.link_start :][-1:])


def render_inline(token: Token, parent: Token) -> str:
    """Return the content of a paragraph, of a heading (in one line, without bold in it) or of a table's cell."""
    is_heading, is_cell = parent.type == "heading_open", parent.type in ("th_open", "td_open")
    output = _Output()
    for child in token.children or ():
        kind = child.type
        if kind == "text" or (kind == "text_special" and not child.content.isspace()):
            output.text.append(child.content)
        elif kind == "text_special":  # a space that was written as a character reference
            output.write("".join(f"&#{ord(char)};" for char in child.content))
        elif kind == "image" and output.link:
            output.text.append(_description(child))
        elif kind == "image":
            output.write(format_link(escape(_description(child)), *_destination(child)))
        elif kind == "link_open":
            output.open_link(child)
        elif kind == "link_close" and output.link:
            output.close_link(output.link)
        elif kind == "code_inline":
            output.write(_code_span(child.content, output.last_piece(), is_cell))
        elif kind in ("softbreak", "hardbreak"):
            output.write(" " if is_heading else "\n" if kind == "softbreak" else "\\\n")
        elif not (kind.startswith("strong") and is_heading):  # em, strong, s
            output.write(child.markup)
    output.flush()
    return "".join(output.pieces)


def _description(token: Token) -> str:
    """Return the text of an image's description."""
    breaks = {"softbreak": " ", "hardbreak": " "}
    return "".join(
        _description(child) if child.type == "image" else breaks.get(child.type, child.content)
        for child in token.children or ()
    )


def _destination(token: Token) -> tuple[str, str]:
    """Return the destination of a link or an image, and its title."""
    return str(token.attrs.get("href") or token.attrs.get("src", "")), str(token.attrs.get("title", ""))


def _code_span(code: str, before: str, is_cell: bool) -> str:
    """Return a code span, or escaped text where its backticks would be taken for others; ``before`` precedes it."""
    if before.endswith("`") or (is_cell and "|" in code and "\\" in code):
        return escape(code)
    runs = {len(run) for run in re.findall("`+", code)}
    length = next(length for length in range(1, len(runs) + 2) if length not in runs)
    if length > MAX_BACKTICKS:
        raise UnsafeMarkdownError
    if is_cell:
        code = code.replace("|", "\\|")
    is_padded = code.startswith("`") or code.endswith("`") or (code[0] == code[-1] == " " and not code.isspace())
    return f"{'`' * length}{f' {code} ' if is_padded else code}{'`' * length}"
