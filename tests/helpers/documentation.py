"""The project's Markdown files, taken apart: code blocks, tables, headings and links."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tests.helpers.process import ROOT


class Block(NamedTuple):
    """A fenced code block: its language and its lines."""

    language: str
    text: str


class Page:
    """One Markdown file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text()

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def blocks(self) -> list[Block]:
        return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)]

    @cached_property
    def prose(self) -> str:
        """The text without its code blocks."""
        return re.sub(r"^```.*?^```$", "", self.text, flags=re.DOTALL | re.MULTILINE)

    def scripts(self, language: str = "sh") -> list[str]:
        """Return the code blocks in a language."""
        return [block.text for block in self.blocks if block.language == language]

    def table(self, *header: str) -> list[list[str]]:
        """Return the rows of all tables with this header."""
        rows: list[list[str]] = []
        for found in re.findall(rf"^\| {re.escape(' | '.join(header))} \|\n\|[- |]+\|\n((?:\|.*\n)+)", self.text, re.M):
            rows += [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found.splitlines()]
        assert rows, f"{self.name} has no table {header}"
        return rows

    @cached_property
    def headings(self) -> list[tuple[int, str]]:
        """The headings with their levels."""
        return [(len(marks), text) for marks, text in re.findall(r"^(#+) (.+)$", self.prose, re.MULTILINE)]

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub makes them."""
        return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for _, text in self.headings}

    @cached_property
    def links(self) -> list[str]:
        """The targets of all links."""
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)


def page(name: str) -> Page:
    """Return one of the project's pages."""
    return Page(ROOT / name)


PAGES = [
    Page(path)
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "examples/docs/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]
"""All Markdown files of the project."""
