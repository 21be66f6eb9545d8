"""The content of paragraphs, headings and cells, rendered from the parser's tokens."""

from __future__ import annotations

import re

from markdown_it.token import Token

from services.markdown.escaping import escape, escape_and_link, format_link
from services.markdown.parser import UnsafeMarkdownError

MAX_BACKTICKS = 80  # that open a code span


def render_inline(token: Token, parent: Token) -> str:
    """Return the content of a paragraph, of a heading (in one line, without bold in it) or of a table's cell."""
    is_heading, is_cell = parent.type == "heading_open", parent.type in ("th_open", "td_open")
    rendered: list[str] = []
    text: list[str] = []  # not escaped yet: what is special depends on what is beside it
    link: Token | None = None
    link_start = 0

    def flush() -> None:
        if run := "".join(text):
            rendered.append(escape(run) if link else escape_and_link(run))
        text.clear()

    for child in token.children or ():
        kind = child.type
        if kind == "text" or (kind == "text_special" and not child.content.isspace()):
            text.append(child.content)
        elif kind == "image" and link:
            text.append(_description(child))
        elif kind.startswith("strong") and is_heading:
            continue
        elif kind == "link_open":
            flush()
            link, link_start = child, len(rendered)
        elif kind == "link_close" and link:
            flush()
            rendered[link_start:] = [format_link("".join(rendered[link_start:]), *_destination(link))]
            link, link_start = None, 0
        else:
            flush()
            if kind == "text_special":  # a space that was written as a character reference
                rendered += (f"&#{ord(char)};" for char in child.content)
            elif kind == "code_inline":
                rendered.append(_code_span(child.content, "".join(rendered[link_start:][-1:]), is_cell))
            elif kind in ("softbreak", "hardbreak"):
                rendered.append(" " if is_heading else "\n" if kind == "softbreak" else "\\\n")
            elif kind == "image":
                rendered.append(format_link(escape(_description(child)), *_destination(child)))
            else:  # em, strong, s
                rendered.append(child.markup)
    flush()
    return "".join(rendered)


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
