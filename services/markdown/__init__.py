"""Export of a session as Markdown, to be read by a person: a heading per message, and nothing in it but text.

A message is parsed, and rendered again from its tokens in a small subset of Markdown with every text escaped: no
HTML, no headings, no definitions, no images, links to the web and to mail only. What costs too much to parse, or has
no safe form in the subset, becomes an indented code block: each of its lines is indented, so no content can end it.

The output is safe in CommonMark (https://spec.commonmark.org) and in GFM (https://github.github.com/gfm). Limits of
cmark (it forgets fences longer than 255 characters and code spans with more than 80) bound what is rendered as such.

``document`` has the session, ``sanitizer`` a message; ``parser`` bounds the cost of parsing, ``blocks`` and
``inlines`` render the tokens, and ``escaping`` text and links.
"""

from services.markdown.document import export, render
from services.markdown.sanitizer import sanitize

__all__ = ["export", "render", "sanitize"]
