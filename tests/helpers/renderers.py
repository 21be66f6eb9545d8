"""Renderers of Markdown, each with raw HTML enabled, and their HTML in parts that can be compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import NamedTuple

from cmarkgfm.cmark import Options, markdown_to_html, markdown_to_html_with_extensions
from markdown_it import MarkdownIt


class AsWritten(MarkdownIt):
    """Shows an address as it was written, as cmark does."""

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802 - the library's name
        return link


COMMONMARK = AsWritten("commonmark")
GFM = AsWritten("gfm-like", {"html": True})
EXTENSIONS = ["table", "strikethrough", "autolink", "tasklist"]
RENDERERS: dict[str, Callable[[str], str]] = {
    "markdown-it": COMMONMARK.render,
    "markdown-it, GFM": GFM.render,
    "cmark": lambda text: markdown_to_html(text, Options.CMARK_OPT_UNSAFE),
    "cmark-gfm": lambda text: markdown_to_html_with_extensions(
        text, Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_FOOTNOTES, EXTENSIONS
    ),
}
VOID = {"br", "hr", "img", "input"}
HEADINGS = {f"h{level}" for level in range(1, 7)}


class Part(NamedTuple):
    """A tag (``p``, ``/p``), or text, its tag then empty."""

    tag: str
    attrs: tuple[tuple[str, str], ...] = ()
    text: str = ""


class PartsParser(HTMLParser):
    """Splits HTML into parts; what is neither a tag nor text becomes a tag that nothing allows."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[Part] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append(Part(tag, tuple((name, value or "") for name, value in attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self.parts.append(Part(f"/{tag}"))

    def handle_data(self, data: str) -> None:
        self.parts.append(Part("", text=data))

    def handle_comment(self, data: str) -> None:
        self.parts.append(Part("!--", text=data))

    def handle_decl(self, decl: str) -> None:
        self.parts.append(Part("!", text=decl))

    def unknown_decl(self, data: str) -> None:
        self.parts.append(Part("![", text=data))

    def handle_pi(self, data: str) -> None:
        self.parts.append(Part("?", text=data))


def parse_html(html: str) -> list[Part]:
    parser = PartsParser()
    parser.feed(html)
    parser.close()
    return parser.parts


def join_text(parts: list[Part]) -> str:
    return "".join(part.text for part in parts)


def normalize(html: str) -> list[Part]:
    """Return the parts of a rendering without what the export changes on purpose.

    A heading counts as a bold paragraph, an image as a link, and an address is the same whether it is a
    link or not. White space counts within code alone.
    """
    found: list[Part] = []
    in_heading = in_code = False
    for part in parse_html(html):
        tag = part.tag.removeprefix("/")
        if tag in HEADINGS:
            in_heading = not in_heading
            found += [Part("p"), Part("strong")] if in_heading else [Part("/strong"), Part("/p")]
        elif tag == "img":
            attrs = dict(part.attrs)
            found += [Part("a", (("href", attrs["src"]),)), Part("", text=attrs["alt"]), Part("/a")]
        elif not (tag == "strong" and in_heading):
            in_code = part.tag == "pre" or (in_code and part.tag != "/pre")
            text = part.text if in_code else re.sub(r"\s+", " ", part.text)
            merged = not tag and found and not found[-1].tag
            found[-1:] = [Part("", text=found[-1].text + text)] if merged else [*found[-1:], part._replace(text=text)]
    return strip_whitespace(unlink_addresses(found))


def unlink_addresses(parts: list[Part]) -> list[Part]:
    """Replace links that show their own address by the address."""
    found: list[Part] = []
    at = 0
    while at < len(parts):
        link = parts[at : at + 3]
        if [part.tag for part in link] == ["a", "", "/a"] and dict(link[0].attrs)["href"].removeprefix("mailto:") in (
            link[1].text,
            f"http://{link[1].text}",
        ):
            link, at = [link[1]], at + 2
        for part in link[:1]:
            merged = not part.tag and found and not found[-1].tag
            found[-1:] = [Part("", text=found[-1].text + part.text)] if merged else [*found[-1:], part]
        at += 1
    return found


def strip_whitespace(parts: list[Part]) -> list[Part]:
    """Remove white space between blocks."""
    inline = {"a", "code", "em", "strong", "del", "s", "br"}
    found: list[Part] = []
    in_code = False
    for before, part, after in zip([Part("p"), *parts], parts, [*parts[1:], Part("/p")], strict=False):
        in_code = part.tag == "pre" or (in_code and part.tag != "/pre")
        text = part.text
        if not in_code:
            text = text if before.tag.removeprefix("/") in inline - {"br"} else text.lstrip()
            text = text if after.tag.removeprefix("/") in inline - {"br"} else text.rstrip()
        if part.tag or text:
            found.append(part._replace(text=text))
    return found
