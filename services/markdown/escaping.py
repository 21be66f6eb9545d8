"""Text and links in a form that every renderer shows as they are."""

from __future__ import annotations

import re

from markdown_it.common.normalize_url import normalizeLink

ADDRESS = re.compile(
    r"""
      (?P<web> (?<![A-Za-z0-9]) https?:// (?:\([^\s<>()|`\\]*\)|[^\s<>()|`\\])+ (?<![]?!.,:;*_~'"}]) )
    | (?P<mail> (?<![A-Za-z0-9_.+-]) [A-Za-z0-9_.+-]+@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
SPECIAL = re.compile(
    r"[\\`*~$|{^\[\]<]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # not inside a word
    r"|&(?=#?\w+;)"
    r"|!\Z"  # before a link it would make an image of it
    r"|/(?=/)|(?<=[wW]{3})\."  # GFM makes links of addresses that start so
)
REFERENCES = {"<": "&lt;", "&": "&amp;"}  # for renderers that know no backslash before these
CHARACTER_REFERENCE = re.compile(r"&#?\w+;")
BLOCK_START = re.compile(r"^(?:([0-9]{1,9})(?=[.)])|(?=\s*(?:[#>=:+|!-]|~~~|\*(?:\s|$))))", re.MULTILINE)


def escape(text: str) -> str:
    """Escape all that has a meaning within a paragraph."""
    text = re.sub(r"[\n\t]", " ", text)
    return SPECIAL.sub(lambda found: REFERENCES.get(found[0], f"\\{found[0]}"), text)


def escape_block_starts(text: str) -> str:
    """Escape what would start another block at the start of a paragraph's line."""
    return BLOCK_START.sub(lambda found: f"{found[1] or ''}\\", text)


def escape_and_link(text: str) -> str:
    """Escape a text; make its addresses links as GFM does, but so that nothing else becomes part of them."""
    parts, end = [], 0
    for found in ADDRESS.finditer(text):
        address = found[0]
        destination = normalizeLink(f"mailto:{address}" if found["mail"] else address)
        parts += [escape(text[end : found.start()]), format_link(escape(address), destination)]
        end = found.end()
    return "".join([*parts, escape(text[end:])])


def format_link(text: str, destination: str, title: str = "") -> str:
    """Return a link to an encoded destination; ``text`` is escaped already."""
    if not destination:  # like others that lead neither to the web nor to mail
        return rf"\[{text}\]()"
    plain = escape(destination)
    if text in ("", plain) and not title and not CHARACTER_REFERENCE.search(destination):
        return f"<{destination}>"
    target = CHARACTER_REFERENCE.sub(lambda found: f"&amp;{found[0][1:]}", destination)
    target = re.sub(r"[()]", r"\\\g<0>", target)
    quoted = title and ' "{}"'.format(escape(" ".join(title.split())).replace('"', '\\"'))
    return f"[{text or plain}]({target}{quoted})"
