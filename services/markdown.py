"""A conversation as Markdown, to be read by a person: a heading per message, and nothing in it but text.

A message is parsed and written again from its tokens, in a small subset of Markdown with every text escaped: no HTML,
no headings, no definitions, no images, links to the web and to mail only. What costs too much to parse, or has no safe
form in the subset, becomes an indented code block, of which every line carries the mark: no content can end it.

The output is safe in CommonMark and in GFM. Limits of cmark (it forgets fences longer than 255 marks and code spans
with more than 80) bound what is written as such.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

import timestamps
from models import Message
from store import entries, messages

MAX_STEPS = 32_000  # of parsing a message, of about a microsecond each with what it takes to write what is found
MAX_DESTINATIONS = 100_000  # characters of links, which one definition can multiply
BLOCK_STEPS = 8  # of a line that is looked at
DEFINITION_STEPS = 20  # more, of a line that may define a link
CELL_STEPS = 5
INLINE_STEPS = {**dict.fromkeys("\n&\\`*_~", 7), "@": 12, "!": 20, "[": 14, "<": 20}  # of others that are looked at, 1
ADDRESS_STEPS = 12
BRACKET_SEARCH = 60  # characters behind a bracket that may be a definition's name, looked at in a step
MAX_FENCE = 250
MAX_CODE_SPAN = 80
CODE_INDENT = 4

SPECIAL = re.compile(
    r"[\\`*~$|{^\[\]<]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # not inside a word
    r"|&(?=#?\w+;)"
    r"|!\Z"  # before a link it would make an image of it
    r"|/(?=/)|(?<=[wW]{3})\."  # GFM makes links of addresses that begin so
)
ENTITIES = {"<": "&lt;", "&": "&amp;"}  # for renderers that know no backslash before these
LINE_START = re.compile(r"^(?:([0-9]{1,9})(?=[.)])|(?=\s*(?:[#>=:+|!-]|~~~|\*(?:\s|$))))", re.MULTILINE)
ADDRESS = re.compile(
    r"""
      (?P<web> (?<![A-Za-z0-9]) https?:// (?:\([^\s<>()|`\\]*\)|[^\s<>()|`\\])+ (?<![]?!.,:;*_~'"}]) )
    | (?P<mail> (?<![A-Za-z0-9_.+-]) [A-Za-z0-9_.+-]+@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
ENTITY = re.compile(r"&#?\w+;")
LANGUAGE = re.compile(r"[\w+#.-]{1,40}(?!\S)", re.ASCII)
SCHEME = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
CONTINUES_ITEM = re.compile(r"(?:[-*+]|1[.)]|>) \S|```|~~~")  # what may follow an item's text without a blank line
ALIGNMENT = {"": "---", "text-align:left": ":--", "text-align:right": "--:", "text-align:center": ":-:"}


def export(session: dict[str, Any]) -> Iterator[bytes]:
    """Return the pieces of the text of a session that was read in this transaction."""
    return write(session, messages.iter_texts(session["id"], entries.last_seq(Message, session["id"])))


def write(session: dict[str, Any], messages: Iterable[tuple[str, str, str]]) -> Iterator[bytes]:
    """Yield a session's text in pieces: its head, then each message, given as role, content and time."""
    title = heading(session["title"] or "") or "Conversation"
    yield f"# {title}\n\nBegun {readable(session['created_at'])}, exported {readable(timestamps.now())}.\n".encode()
    for role, content, moment in messages:
        blocks = (f"## {role.title()}, {readable(moment)}", sanitize(content))
        yield "".join(f"\n{block}\n" for block in blocks if block).encode()


def readable(moment: str) -> str:
    """Return a time as one reads it."""
    return f"{moment[:10]} {moment[11:19]} UTC"


def heading(text: str) -> str:
    """Return a text as the content of an ATX heading."""
    return re.sub(r"#+$", r"\\\g<0>", _escape_linked(" ".join(text.replace("\0", "\ufffd").split())))


def sanitize(content: str) -> str:
    """Return a message as Markdown that is safe in CommonMark and GFM, and leaves what follows it alone."""
    text = re.sub(r"\r\n?", "\n", content).replace("\0", "\ufffd")
    try:
        return _render(_parser().parse(text, {"steps": MAX_STEPS - _encoding_steps(text)}))
    except _NotPlainError:
        return _indent(text.strip("\n"), CODE_INDENT)


class _NotPlainError(Exception):
    """A message is too costly to parse or cannot be written in the subset."""


# Parsing: within a bounded number of steps


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        """Return whether a link may be one; what may not stays text."""
        return bool(SCHEME.match(url))

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802 - the library's name
        """Return the text of an autolink: as it was written."""
        return link


@cache
def _parser() -> MarkdownIt:
    parser = _Parser("commonmark", {"inline_definitions": True})
    parser.enable("strikethrough").disable(["html_block", "html_inline", "text_join"])
    parser.block.ruler.before("code", "steps", _count_block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.block.ruler.at("table", _count_table, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.enable("table")
    parser.inline.ruler.before("text", "steps", _count_inline)
    return parser


def _encoding_steps(text: str) -> int:
    """Return what it takes to write the addresses in a text, of which one that is not ASCII is encoded byte by byte."""
    if text.isascii() or "://" not in text:
        return 0
    return sum(len(found[0].encode()) - len(found[0]) for found in ADDRESS.finditer(text)) // 2


def _spend(env: Any, steps: int) -> None:
    env["steps"] -= steps
    if env["steps"] < 0:
        raise _NotPlainError


def _count_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    may_define = state.src.startswith("[", state.bMarks[start] + state.tShift[start])
    _spend(state.env, BLOCK_STEPS + may_define * DEFINITION_STEPS)
    return False


def _count_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Run the library's rule; a table costs its cells, those that are only filled up included."""
    found = table(state, start, end, True)
    if silent or not found:
        return found
    rows = next((line for line in range(start, end) if state.isEmpty(line)), end) - start
    columns = state.src.count("|", state.bMarks[start + 1], state.eMarks[start + 1]) + 1
    _spend(state.env, rows * columns * CELL_STEPS)
    return table(state, start, end, False)


def _count_inline(state: StateInline, silent: bool) -> bool:
    char = state.src[state.pos]
    steps = INLINE_STEPS.get(char, 1)
    if char == ":" and state.src.startswith("://", state.pos):
        steps = ADDRESS_STEPS
    elif char == "[" and "references" in state.env:
        steps += (state.posMax - state.pos) // BRACKET_SEARCH
    elif char in "*_~" and not silent:  # a run of marks is a token each
        end = state.pos + 1
        while end < state.posMax and state.src[end] == char:
            end += 1
        steps *= end - state.pos
    _spend(state.env, steps)
    return False


# Blocks


@dataclass
class _Open:
    """A block that has begun: its token, and what is in it so far, each with its own token."""

    token: Token
    blocks: list[tuple[Token, str]] = field(default_factory=list)
    loose: bool = False

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.blocks if text]


def _render(tokens: list[Token]) -> str:
    deepest = _parser().options["maxNesting"] - 1  # the parser leaves out what is deeper
    if any(token.nesting == 1 and token.level >= deepest for token in tokens):
        raise _NotPlainError
    links = (token.attrs.values() for block in tokens for token in (block.children or ()) if token.attrs)
    if sum(len(str(value)) for values in links for value in values) > MAX_DESTINATIONS:
        raise _NotPlainError
    opened = [_Open(Token("document_open", "", 1))]
    for token in tokens:
        if token.nesting == 1:
            opened[-1].loose |= token.type == "paragraph_open" and not token.hidden
            opened.append(_Open(token))
        elif token.nesting == -1:
            block = opened.pop()
            opened[-1].loose |= block.token.type == "list_item_open" and block.loose
            opened[-1].blocks.append((block.token, CONTAINERS[block.token.type](block)))
        else:
            opened[-1].blocks.append((token, LEAVES[token.type](token, opened[-1].token)))
    return _join(opened[0])


def _join(parent: _Open, tight: bool = False) -> str:
    """Join the blocks that are not empty; in an item of a tight list without blank lines if that is the same."""
    text, previous = "", ""
    for token, block in parent.blocks:
        if block:
            together = tight and previous in ("paragraph_open", "fence") and CONTINUES_ITEM.match(block)
            text += ("\n" if together else "\n\n") + block if text else block
            previous = token.type
    return text


def _indent(text: str, width: int) -> str:
    return re.sub(r"^(?=[^\n])", " " * width, text, flags=re.MULTILINE)


def _concatenate(block: _Open) -> str:
    return "".join(block.texts)


def _lines(block: _Open) -> str:
    return "\n".join(block.texts)


def _paragraph(block: _Open) -> str:
    return LINE_START.sub(lambda found: f"{found[1] or ''}\\", _concatenate(block))


def _bold(block: _Open) -> str:
    text = _concatenate(block)
    return text and f"**{text}**"


def _quote(block: _Open) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in _join(block).split("\n"))


def _item(block: _Open) -> str:
    marker = block.token.info + block.token.markup
    indented = _indent(_join(block, tight=not block.loose), len(marker) + 1)
    first = next((token.type for token, text in block.blocks if text), "")
    if first.endswith("list_open"):  # markers in one line could be a thematic break: * * *
        return f"{marker}\n{indented}"
    return marker + indented[len(marker) :]


def _list(block: _Open) -> str:
    return ("\n\n" if block.loose else "\n").join(block.texts)


def _row(block: _Open) -> str:
    """Return a table's row; behind its first, the one that makes it a table."""
    rows = [[text for _, text in block.blocks]]
    if block.blocks[0][0].type == "th_open":
        rows.append([ALIGNMENT[str(token.attrs.get("style", ""))] for token, _ in block.blocks])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _fence(token: Token, parent: Token) -> str:
    """Return code in a fence longer than any run of its mark in it."""
    language = LANGUAGE.match(token.info.strip()) if token.type == "fence" else None
    for mark in "`~":
        length = max((len(run) + 1 for run in re.findall(f"{mark}+", token.content)), default=3)
        if length <= MAX_FENCE:
            fence = mark * max(length, 3)
            code = token.content.removesuffix("\n")
            return "\n".join([f"{fence}{language[0] if language else ''}", *([code] if token.content else []), fence])
    raise _NotPlainError


def _break(token: Token, parent: Token) -> str:
    return "___"  # of no list's marks


def _definition(token: Token, parent: Token) -> str:
    """Return a link's definition as text: a real one would hold for other messages, too."""
    meta = token.meta
    return rf"\[{_escape(meta['label'])}\]: {_link('', meta['url'], meta['title'])}"


CONTAINERS: dict[str, Callable[[_Open], str]] = {
    "paragraph_open": _paragraph,
    "heading_open": _bold,
    "blockquote_open": _quote,
    "list_item_open": _item,
    "bullet_list_open": _list,
    "ordered_list_open": _list,
    "th_open": _concatenate,
    "td_open": _concatenate,
    "tr_open": _row,
    "thead_open": _lines,
    "tbody_open": _lines,
    "table_open": _lines,
}


# Inlines


def _inline(token: Token, parent: Token) -> str:
    """Return the content of a paragraph, of a heading (in one line, without bold in it) or of a table's cell."""
    is_heading, is_cell = parent.type == "heading_open", parent.type in ("th_open", "td_open")
    written: list[str] = []
    text: list[str] = []  # not escaped yet: what is special depends on what is beside it
    link: Token | None = None
    begun = 0

    def flush() -> None:
        if run := "".join(text):
            written.append(_escape(run) if link else _escape_linked(run))
        text.clear()

    for child in token.children or ():
        kind = child.type
        if kind == "text" or (kind == "text_special" and not child.content.isspace()):
            text.append(child.content)
        elif kind == "image" and link:
            text.append(_plain(child))
        elif kind.startswith("strong") and is_heading:
            continue
        elif kind == "link_open":
            flush()
            link, begun = child, len(written)
        elif kind == "link_close" and link:
            flush()
            written[begun:] = [_link("".join(written[begun:]), *_destination(link))]
            link, begun = None, 0
        else:
            flush()
            if kind == "text_special":  # a space that was written as an entity
                written += (f"&#{ord(char)};" for char in child.content)
            elif kind == "code_inline":
                written.append(_code(child.content, "".join(written[begun:][-1:]), is_cell))
            elif kind in ("softbreak", "hardbreak"):
                written.append(" " if is_heading else "\n" if kind == "softbreak" else "\\\n")
            elif kind == "image":
                written.append(_link(_escape(_plain(child)), *_destination(child)))
            else:  # em, strong, s
                written.append(child.markup)
    flush()
    return "".join(written)


def _plain(token: Token) -> str:
    """Return the text of an image's description."""
    breaks = {"softbreak": " ", "hardbreak": " "}
    return "".join(
        _plain(child) if child.type == "image" else breaks.get(child.type, child.content)
        for child in token.children or ()
    )


def _destination(token: Token) -> tuple[str, str]:
    return str(token.attrs.get("href") or token.attrs.get("src", "")), str(token.attrs.get("title", ""))


def _escape(text: str) -> str:
    """Escape all that means something within a paragraph."""
    text = re.sub(r"[\n\t]", " ", text)
    return SPECIAL.sub(lambda found: ENTITIES.get(found[0], f"\\{found[0]}"), text)


def _escape_linked(text: str) -> str:
    """Escape a text, its addresses made links as GFM does, but so that nothing else becomes part of them."""
    parts, end = [], 0
    for found in ADDRESS.finditer(text):
        address = found[0]
        destination = _parser().normalizeLink(f"mailto:{address}" if found["mail"] else address)
        parts += [_escape(text[end : found.start()]), _link(_escape(address), destination)]
        end = found.end()
    return "".join([*parts, _escape(text[end:])])


def _link(text: str, destination: str, title: str = "") -> str:
    """Return a link to an encoded destination; ``text`` is escaped already."""
    if not destination:  # like others that lead neither to the web nor to mail
        return rf"\[{text}\]()"
    plain = _escape(destination)
    if text in ("", plain) and not title and not ENTITY.search(destination):
        return f"<{destination}>"
    target = re.sub(r"[()]", r"\\\g<0>", ENTITY.sub(lambda found: f"&amp;{found[0][1:]}", destination))
    quoted = title and ' "{}"'.format(_escape(" ".join(title.split())).replace('"', '\\"'))
    return f"[{text or plain}]({target}{quoted})"


def _code(code: str, before: str, is_cell: bool) -> str:
    """Return a code span, or text where its marks would not be taken for what they are."""
    if before.endswith("`") or (is_cell and "|" in code and "\\" in code):
        return _escape(code)
    runs = {len(run) for run in re.findall("`+", code)}
    length = next(length for length in range(1, len(runs) + 2) if length not in runs)
    if length > MAX_CODE_SPAN:
        raise _NotPlainError
    if is_cell:
        code = code.replace("|", "\\|")
    is_padded = code.startswith("`") or code.endswith("`") or (code[0] == code[-1] == " " and not code.isspace())
    return f"{'`' * length}{f' {code} ' if is_padded else code}{'`' * length}"


LEAVES: dict[str, Callable[[Token, Token], str]] = {
    "inline": _inline,
    "fence": _fence,
    "code_block": _fence,
    "hr": _break,
    "definition": _definition,
}
