"""The docs context: the sections of a folder of Markdown that fit a question best, by BM25."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from config import StartupError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

MOST_SECTIONS = 4
MOST_WORDS = 64  # of a question
LARGEST_FILE = 1_048_576
LOOK_SECONDS = 1.0  # how often the folder is looked through, at most

# A word in a heading counts as four in the text; the file's name is only kept.
TABLE = "CREATE VIRTUAL TABLE sections USING fts5 (file UNINDEXED, heading, text, tokenize='porter')"
BEST = "SELECT file, heading, text FROM sections WHERE sections MATCH ? ORDER BY bm25(sections, 0, 4, 1) LIMIT ?"

log = logging.getLogger("parley")


class Section(NamedTuple):
    """A part of a file: ``heading`` has the headings above it too, ``A > B``."""

    file: str
    heading: str
    text: str


class DocsIndex:
    """The sections of a folder, indexed in memory. A file that has changed is indexed anew."""

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise StartupError(f"PARLEY_DOCS_DIR: {folder} is not a folder.")
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[int, int]] = {}
        self._next_look = 0.0
        self._index = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._index.execute(TABLE)

    def search(self, question: str) -> list[Section]:
        """Return the few sections that fit the question best."""
        words = dict.fromkeys(re.findall(r"\w+", question.lower()))
        match = " OR ".join(f'"{word}"' for word in list(words)[:MOST_WORDS])
        if not match:
            return []
        self.refresh()
        with self._lock:
            found = self._index.execute(BEST, (match, MOST_SECTIONS)).fetchall()
        return [Section(*row) for row in found]

    def refresh(self) -> None:
        """Index what has changed since the last look, if that was not just now."""
        with self._lock:
            if time.monotonic() < self._next_look:
                return
            present = dict(self._files())
            for name in self._seen.keys() - present.keys():
                self._remove(name)
            for name, state in present.items():
                if self._seen.get(name) != state:
                    self._index_file(name)
            self._seen = present
            self._next_look = time.monotonic() + LOOK_SECONDS

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield each file's name and what changes when it does; hidden ones are not looked at."""
        for folder, folders, files in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = Path(folder, name)
                if name.startswith(".") or path.suffix.lower() not in (".md", ".markdown"):
                    continue
                try:
                    found = path.stat()
                except OSError:  # gone meanwhile
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield path.relative_to(self._folder).as_posix(), (found.st_mtime_ns, found.st_size)

    def _remove(self, name: str) -> None:
        self._index.execute("DELETE FROM sections WHERE file = ?", (_shown(name),))

    def _index_file(self, name: str) -> None:
        self._remove(name)
        try:
            with (self._folder / name).open("rb") as file:
                raw = file.read(LARGEST_FILE + 1)
        except OSError as error:
            log.warning("%s is not indexed: %s", _shown(name), error.strerror)
            return
        if len(raw) > LARGEST_FILE:
            log.warning("%s is not indexed: it is larger than %d bytes", _shown(name), LARGEST_FILE)
            return
        text = raw.decode("utf-8-sig", errors="replace").replace("\0", "\ufffd")
        self._index.executemany("INSERT INTO sections VALUES (?, ?, ?)", sections(_shown(name), text))


def _shown(name: str) -> str:
    """Return a file's name as text, which what a file system has need not be."""
    return os.fsencode(name).decode(errors="replace")


def sections(name: str, text: str) -> Iterator[Section]:
    """Split Markdown at its headings; what is before the first has none."""
    text = re.sub(r"\r\n?", "\n", text)
    lines = text.split("\n")
    above: list[tuple[int, str]] = []
    start, heading = 0, ""
    for level, title, first, behind in [*_headings(text), (0, "", len(lines), len(lines))]:
        if body := "\n".join(lines[start:first]).strip():
            yield Section(name, heading, body)
        above = [*(pair for pair in above if pair[0] < level), (level, title)]
        start, heading = behind, " > ".join(title for _, title in above)


def _headings(text: str) -> Iterator[tuple[int, str, int, int]]:
    """Yield level, title, first line and the line behind it of each heading at the outermost level."""
    tokens = _parser().parse(text)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            first, behind = token.map
            yield int(token.tag[1:]), " ".join(inline.content.split()), first, behind


@cache
def _parser() -> MarkdownIt:
    """Return the one parser, of blocks only: what is in a paragraph does not matter here."""
    from markdown_it import MarkdownIt  # for those who have docs

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
