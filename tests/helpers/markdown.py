"""What the renderers show of an exported conversation, message by message."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.markdown import render
from tests.helpers.renderers import HEADINGS, RENDERERS, AsWritten, Part, join_text, parse_html

CREATED_AT = "2026-01-31T09:30:00.000Z"
HEADING = "User, 2026-01-31 09:30:00 UTC"
ALLOWED = {
    **dict.fromkeys(
        ("h1", "h2", "p", "br", "hr", "strong", "em", "del", "s", "ul", "li", "blockquote", "pre"), re.compile(r"(?!)")
    ),
    **dict.fromkeys(("table", "thead", "tbody", "tr"), re.compile(r"(?!)")),
    "a": re.compile(r"href=(?:https?|mailto):.*|title=.*", re.IGNORECASE | re.DOTALL),
    "code": re.compile(r"class=language-[\w+#.-]+", re.ASCII),
    "ol": re.compile(r"start=\d+"),
    "th": re.compile(r"align=\w+|style=text-align: ?\w+"),
    "td": re.compile(r"align=\w+|style=text-align: ?\w+"),
}


def export(title: str, *contents: str) -> str:
    session = {"title": title, "created_at": CREATED_AT}
    return b"".join(render(session, (("user", content, CREATED_AT) for content in contents))).decode()


def rendered_messages(title: str, *contents: str) -> Iterator[list[list[Part]]]:
    """Check the document around the messages with each renderer, and yield what it shows of each message."""
    text = export(title, *contents)
    for renderer, render_html in RENDERERS.items():
        found: list[list[Part]] = []
        headings: list[list[Part]] = []
        for part in parse_html(render_html(text)):
            tag = part.tag.removeprefix("/")
            assert not tag or tag in ALLOWED, (renderer, part, text)
            assert all(ALLOWED[tag].fullmatch("=".join(attr)) for attr in part.attrs), (renderer, part, text)
            if part.tag in HEADINGS:
                headings.append([part])
                found.append([])
            elif headings and headings[-1][-1].tag != "/" + headings[-1][0].tag:
                headings[-1].append(part)
            else:
                found[-1].append(part)
        shown = [(heading[0].tag, join_text(heading)) for heading in headings]
        expected_title = " ".join(title.replace("\0", "\ufffd").split()) or "Conversation"
        assert shown == [("h1", expected_title), *[("h2", HEADING)] * len(contents)], text
        yield found[1:]


def words(text: str) -> str:
    """Return what every rendering of a text has to show."""
    return "".join(filter(str.isalnum, text))


class WithoutHtml(AsWritten):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return bool(re.match("(?:https?|mailto):", url, re.IGNORECASE))


def expected_words(content: str) -> str:
    """Return the words that a text shows as Markdown without HTML."""
    parser = WithoutHtml("commonmark", {"html": False}).enable(["table", "strikethrough"])
    rendered = re.sub(r'<img src="[^"]*" alt="([^"]*)"[^>]*>', r"\1", parser.render(content))
    return words(join_text(parse_html(rendered)))


def shows_all(parts: list[Part], content: str) -> bool:
    """Return whether a rendering has all words of a message, or its text as it is; it may show addresses besides."""
    shown = words(join_text(parts))
    rest = iter(shown)
    return shown == words(content) or all(char in rest for char in expected_words(content))
