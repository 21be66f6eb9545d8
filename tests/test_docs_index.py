"""The index of the docs: sections of Markdown, their ranking, and files that come and go."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from config import StartupError
from services import docs_index
from services.docs_index import DocsIndex, Section, split_sections


class TestSections:
    def test_markdown_is_split_at_its_headings(self) -> None:
        text = "before\r\n# A\r\none\r\n\r\n## B *em*\n```\n# no heading\n```\n### C\n\n"
        text += "## D\nfour\n\nE\n=\nfive\u2028six\n- # not E"
        assert list(split_sections("f.md", text)) == [
            Section("f.md", "", "before"),
            Section("f.md", "A", "one"),
            Section("f.md", "A > B *em*", "```\n# no heading\n```"),
            Section("f.md", "A > D", "four"),
            Section("f.md", "E", "five\u2028six\n- # not E"),
        ]


class TestSearch:
    @pytest.fixture
    def docs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DocsIndex:
        monkeypatch.setattr(docs_index, "SCAN_INTERVAL", 0)
        folder = tmp_path / "docs"
        (folder / "sub").mkdir(parents=True)
        (folder / "a.md").write_text(
            "# Queue\nword word word\n# Other\nthe queue, once\n# Lion\nroars\n# Owl\nsleeps\n"
        )
        (folder / "sub" / "b.md").write_text("# Latency\nrestarting helps\n")
        return DocsIndex(folder)

    def headings(self, docs: DocsIndex, query: str) -> list[str]:
        return [section.heading for section in docs.search(query)]

    def test_ranks_matches_in_headings_higher(self, docs: DocsIndex) -> None:
        assert self.headings(docs, "QUEUE, why?")[:2] == ["Queue", "Other"]
        assert self.headings(docs, "restart") == ["Latency"]  # has the same stem
        assert self.headings(docs, "zebra") == []

    @pytest.mark.parametrize(
        "query", ['"', "queue AND NOT (", "heading:queue", "queue*", "-queue", "NEAR(a b)", "_", "^"]
    )
    def test_query_syntax_is_escaped(self, docs: DocsIndex, query: str) -> None:
        assert set(self.headings(docs, query)) <= {"Queue", "Other"}

    def test_indexes_changed_new_and_deleted_files(self, docs: DocsIndex, tmp_path: Path) -> None:
        assert self.headings(docs, "zebra") == []
        path = tmp_path / "docs" / "sub" / "b.md"
        path.write_text("# Animals\nzebra\n")
        assert self.headings(docs, "zebra") == ["Animals"]
        assert self.headings(docs, "latency") == []
        (tmp_path / "docs" / "c.markdown").write_text("# More\nzebra zebra\n")
        assert set(self.headings(docs, "zebra")) == {"Animals", "More"}
        path.unlink()
        assert self.headings(docs, "zebra") == ["More"]

    def test_skips_other_and_unreadable_files(self, docs: DocsIndex, tmp_path: Path) -> None:
        folder = tmp_path / "docs"
        (folder / ".hidden").mkdir()
        for name in (".hidden/a.md", ".a.md", "a.txt"):
            (folder / name).write_text("# X\nzebra\n")
        (folder / "large.md").write_bytes(b"zebra " * 200_000)
        (folder / "gone.md").symlink_to(folder / "nowhere")
        (folder / "odd.md").write_bytes(b"# X\ntiger \xff\0 tiger\n")
        os.mkfifo(folder / "fifo.md")
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.md")).write_text("# Y\nlynx\n")
        assert self.headings(docs, "zebra") == []
        assert docs.search("tiger")[0].text == "tiger \ufffd\ufffd tiger"
        assert docs.search("lynx") == [Section("\ufffd.md", "Y", "lynx")]  # the file's name is not UTF-8

    def test_concurrent_searches(self, tmp_path: Path) -> None:
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "a.md").write_text("# Queue\nfull\n")
        docs = DocsIndex(tmp_path / "docs")
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: docs.search("queue"), range(100)))
        assert results == [[Section("a.md", "Queue", "full")]] * 100

    def test_rejects_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StartupError, match="PARLEY_DOCS_DIR"):
            DocsIndex(tmp_path / "nothing")
