"""A conversation as Markdown, to be read by a person: a heading a message, and nothing in it but text.

Of a message, code stays as it is. Elsewhere ``<`` becomes ``&lt;``, so that there is no HTML;
headings go below the message's own; a fence that is left open is closed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import zip_longest
from typing import Any

from markdown_it import MarkdownIt

from database import db
from models import Look, Message, Session, anything
from values import now

OWN_LEVEL = 2  # of a message's heading
DEEPEST = 6
PLAIN = re.compile(r"(?:(?!^ {0,3}(?:[=-]+ *$|\[))[^<#`~\r])*", re.MULTILINE)  # text that needs no looking at
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


def export(user_id: str, session_id: str, look: Look = anything) -> Iterator[bytes]:
    """Return the pieces of a session's text, or raise Missing; ``look`` gets to see the session first."""
    with db.reading():
        session = Session.one(user_id, session_id, look)
        return _pieces(session, Message.last(session_id))


def _pieces(session: dict[str, Any], last: int) -> Iterator[bytes]:
    title = contained(" ".join((session["title"] or "").split())).strip().lstrip("# ") or "Conversation"
    yield f"# {title}\n\nBegun {readable(session['created_at'])}, exported {readable(now())}.\n".encode()
    for role, content, moment in Message.texts(session["id"], last):
        yield f"\n{'#' * OWN_LEVEL} {role.title()}, {readable(moment)}\n\n{contained(content)}\n".encode()


def readable(moment: str) -> str:
    """Return a time as one reads it."""
    return f"{moment[:10]} {moment[11:19]} UTC"


def contained(content: str) -> str:
    """Return a message's text as Markdown that has no HTML and leaves what follows it alone.

    What is left as it stands is checked with a parser: ever less, until there is no HTML.
    """
    if PLAIN.fullmatch(content):
        return content.strip("\n")
    lines = re.sub(r"\r\n?", "\n", content).strip("\n").split("\n")
    attempts = (_rewritten(lines, _without_html_but_in_spans), _rewritten(lines, _without_html))
    return next((text for text in attempts if not _has_html(text)), _without_html("\n".join(lines)))


def _rewritten(lines: list[str], rewrite: Callable[[str], str]) -> str:
    """Rewrite what is not in fences; put headings below the message's own; close the last fence."""
    lines = list(lines)
    open_fence = ""
    behind_last = 0
    tokens = _parser(html=False).parse("\n".join(lines))
    for token, following in zip_longest(tokens, tokens[1:]):
        if token.map is None or token.type not in ("fence", "code_block", "inline", "heading_open"):
            continue
        first, behind = token.map
        lines[behind_last:first] = [_between(line) for line in lines[behind_last:first]]
        behind_last = max(behind, behind_last)
        if token.type == "fence":
            mark, last = token.markup, lines[behind - 1].rstrip()
            closed = behind - first > 1 and len(last) - len(last.rstrip(mark[0])) >= len(mark)
            open_fence = mark if token.level == 0 and not closed else ""
        elif token.type == "inline":
            lines[first:behind] = rewrite("\n".join(lines[first:behind])).split("\n")
        elif token.type == "heading_open" and token.level == 0 and following is not None:
            level = min(DEEPEST, OWN_LEVEL + int(token.tag[1:]))
            text = " ".join(following.content.split())
            lines[first:behind] = [f"{'#' * level} {text}", *[""] * (behind - first - 1)]
    lines[behind_last:] = [_between(line) for line in lines[behind_last:]]
    return "\n".join([*lines, open_fence] if open_fence else lines)


def _between(line: str) -> str:
    """Return a line that is in no paragraph: never code, and no definition that other messages' links could have."""
    return re.sub(r"^( {0,3})\[", r"\1\\[", _without_html(line))


def _without_html(text: str) -> str:
    return text.replace("<", "&lt;")


def _without_html_but_in_spans(text: str) -> str:
    parts, end = [], 0
    for span in CODE_SPAN.finditer(text):
        parts += [_without_html(text[end : span.start()]), span[0]]
        end = span.end()
    return "".join([*parts, _without_html(text[end:])])


def _has_html(text: str) -> bool:
    tokens = _parser(html=True).parse(text)
    return any(each.type.startswith("html") for token in tokens for each in (token, *(token.children or ())))


@cache
def _parser(html: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark")
    if not html:  # what its text will be parsed as when it has none
        parser.disable(["html_block", "html_inline"])
    return parser
