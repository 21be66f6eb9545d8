"""The docs context: a search index of a folder of Markdown, whose sections are ranked by BM25.

The index is SQLite's FTS5 (https://sqlite.org/fts5.html) in memory, whichever database has the sessions.
"""

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

MAX_SECTIONS = 4  # in a prompt
MAX_QUERY_WORDS = 64
MAX_FILE_BYTES = 1_048_576
SCAN_INTERVAL = 1.0  # seconds between two scans of the folder, at least

# A word in a heading counts as four in the text; the file's name is not searched.
CREATE_TABLE = "CREATE VIRTUAL TABLE sections USING fts5 (file UNINDEXED, heading, text, tokenize='porter')"
SEARCH = "SELECT file, heading, text FROM sections WHERE sections MATCH ? ORDER BY bm25(sections, 0, 4, 1) LIMIT ?"

log = logging.getLogger("parley")


class Section(NamedTuple):
    """A section of a file; ``heading`` has those of the sections around it too: ``A > B``."""

    file: str
    heading: str
    text: str


class DocsIndex:
    """The index of a folder. Before a search, files that have changed are indexed again.

    Raises:
        StartupError: the folder does not exist.

    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise StartupError(f"PARLEY_DOCS_DIR: {folder} is not a folder.")
        self._folder = folder
        self._lock = threading.Lock()
        self._indexed: dict[str, tuple[int, int]] = {}
        self._next_scan = 0.0
        self._index = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._index.execute(CREATE_TABLE)

    def search(self, query: str, limit: int = MAX_SECTIONS) -> list[Section]:
        """Return the sections that have any word of the query, ``limit`` at most, the best matches first."""
        words = dict.fromkeys(re.findall(r"\w+", query.lower()))
        match = " OR ".join(f'"{word}"' for word in list(words)[:MAX_QUERY_WORDS])
        if not match:
            return []
        self.refresh()
        with self._lock:
            rows = self._index.execute(SEARCH, (match, limit)).fetchall()
        return [Section(*row) for row in rows]

    def refresh(self) -> None:
        """Index the files that have changed, unless the last scan was less than ``SCAN_INTERVAL`` ago."""
        with self._lock:
            if time.monotonic() < self._next_scan:
                return
            files = dict(self._files())
            for name in self._indexed.keys() - files.keys():
                self._remove(name)
            for name, version in files.items():
                if self._indexed.get(name) != version:
                    self._index_file(name)
            self._indexed = files
            self._next_scan = time.monotonic() + SCAN_INTERVAL

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield the name and the version (time and size) of each Markdown file that is not hidden."""
        for folder, folders, files in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = Path(folder, name)
                if name.startswith(".") or path.suffix.lower() not in (".md", ".markdown"):
                    continue
                try:
                    status = path.stat()
                except OSError:  # deleted since
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield path.relative_to(self._folder).as_posix(), (status.st_mtime_ns, status.st_size)

    def _remove(self, name: str) -> None:
        self._index.execute("DELETE FROM sections WHERE file = ?", (_displayed(name),))

    def _index_file(self, name: str) -> None:
        self._remove(name)
        try:
            with (self._folder / name).open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            log.warning("%s is not indexed: %s", _displayed(name), error.strerror)
            return
        if len(raw) > MAX_FILE_BYTES:
            log.warning("%s is not indexed: it is larger than %d bytes", _displayed(name), MAX_FILE_BYTES)
            return
        text = raw.decode("utf-8-sig", errors="replace").replace("\0", "\ufffd")
        self._index.executemany("INSERT INTO sections VALUES (?, ?, ?)", split_sections(_displayed(name), text))


def _displayed(name: str) -> str:
    """Return a file's name as valid text, which a name in a file system need not be."""
    return os.fsencode(name).decode(errors="replace")


def split_sections(name: str, text: str) -> Iterator[Section]:
    """Split Markdown at its headings; the text before the first is a section with an empty heading."""
    text = re.sub(r"\r\n?", "\n", text)
    lines = text.split("\n")
    ancestors: list[tuple[int, str]] = []
    start, heading = 0, ""
    for level, title, first, end in [*_headings(text), (0, "", len(lines), len(lines))]:
        if body := "\n".join(lines[start:first]).strip():
            yield Section(name, heading, body)
        ancestors = [*(pair for pair in ancestors if pair[0] < level), (level, title)]
        start, heading = end, " > ".join(title for _, title in ancestors)


def _headings(text: str) -> Iterator[tuple[int, str, int, int]]:
    """Yield level, title, first line and the line after the last of each heading that is not nested in a block."""
    tokens = _parser().parse(text)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            first, end = token.map
            yield int(token.tag[1:]), " ".join(inline.content.split()), first, end


@cache
def _parser() -> MarkdownIt:
    """Return the parser, which parses blocks only, not the text in them."""
    from markdown_it import MarkdownIt  # only if there are docs

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
