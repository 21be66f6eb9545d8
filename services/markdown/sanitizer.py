"""A message as safe Markdown."""

from __future__ import annotations

import re

from services.markdown.blocks import indent, render_blocks
from services.markdown.parser import UnsafeMarkdownError, parse

CODE_INDENT = 4


def sanitize(content: str) -> str:
    """Return a message as Markdown that is safe in CommonMark and GFM, and does not change what follows it."""
    text = re.sub(r"\r\n?", "\n", content).replace("\0", "\ufffd")
    try:
        return render_blocks(parse(text))
    except UnsafeMarkdownError:
        return indent(text.strip("\n"), CODE_INDENT)
