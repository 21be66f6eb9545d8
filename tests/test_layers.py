"""Layers: imports go down only, and what only one database engine understands stays in that engine's modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.process import ROOT

SQLITE_ONLY = re.compile(
    r"\bPRAGMA\b|\.pragma\(|\browid\b|without_rowid|\bAUTOINCREMENT\b|\bVACUUM\b|\bfts5\b|\bjson_object\("
    r"|\bgroup_concat\b|\bINSERT OR (?:IGNORE|REPLACE)"
    r"|\binstr\(|\bchar\(0\)|\bsqlite_master\b|\bsqlite_errorname\b|(?-i:\bSQLITE_[A-Z]+)"
    r"|^\s*(?:import|from) sqlite3|playhouse\.sqlite",
    re.IGNORECASE | re.MULTILINE,
)
MAY_SPEAK_SQLITE = {
    "database/sqlite.py",
    "search/sqlite.py",
    "services/docs_index.py",  # a private index in memory, whatever the database is
}
ENGINE_MODULES = re.compile(
    r"^\s*(?:from|import) (database|search)(?:\.(?:sqlite|postgresql)\b| import [^\n]*\b(?:sqlite|postgresql)\b)",
    re.MULTILINE,
)
MAY_IMPORT_ENGINES = {"database": "database/__init__.py", "search": "search/index.py"}
# From the top; each may import those after it. All other modules at the top of the repository are below.
LAYERS = (
    "app", "server", "cli", "openapi", "routes", "auth", "web", "services", "search", "store", "models", "database",
)  # fmt: skip
OTHER_PROGRAMS = {"tests", "migrations", "benchmarks", "examples"}


def sources() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of the app's modules."""
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT)
        if not name.parts[0].startswith((".", "venv")) and (
            name.parts[0] not in OTHER_PROGRAMS or name == Path("benchmarks/fill.py")
        ):
            yield name.as_posix(), path.read_text()


def locate(name: str, text: str, match: re.Match[str]) -> str:
    line = text.count("\n", 0, match.end()) + 1
    return f"{name}:{line}: {match[0].strip()}"


def test_only_the_engine_speaks_sqlite() -> None:
    found = [
        locate(name, text, match)
        for name, text in sources()
        if name not in MAY_SPEAK_SQLITE
        for match in SQLITE_ONLY.finditer(text)
    ]
    if found:
        pytest.fail("\n".join(("Move this into database/sqlite.py or search/sqlite.py:", *found)), pytrace=False)


def test_engines_are_imported_where_they_are_chosen() -> None:
    found = [
        locate(name, text, match)
        for name, text in sources()
        for match in ENGINE_MODULES.finditer(text)
        if name != MAY_IMPORT_ENGINES[match[1]]
    ]
    if found:
        pytest.fail("\n".join(("Use database.db or search.index.current_index():", *found)), pytrace=False)


def layer(module: str) -> int:
    """Return the layer of a module by its number; what is below them all has the last one."""
    name = module.partition(".")[0]
    return LAYERS.index(name) if name in LAYERS else len(LAYERS)


def imports(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the module of each import, also of those in functions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: use an absolute import"
            yield node.lineno, str(node.module)


def test_nothing_imports_from_a_layer_above() -> None:
    found = [
        f"{name}:{line}: imports {module}"
        for name, text in sources()
        if not name.startswith(("benchmarks/", "scripts/"))
        for line, module in imports(text)
        if layer(module) < layer(name.removesuffix(".py").replace("/", "."))
    ]
    if found:
        order = " → ".join((*LAYERS, "all others"))
        message = f"Imports go down only: {order}. Move the code down, or pass what it needs as an argument:"
        pytest.fail("\n".join((message, *found)), pytrace=False)


def test_imports_in_functions_are_recognized() -> None:
    text = "import store.sessions, os\ndef f():\n    from routes import chat\n"
    assert sorted(imports(text)) == [(1, "os"), (1, "store.sessions"), (3, "routes")]
    assert layer("routes") < layer("store.sessions") < layer("os")


@pytest.mark.parametrize(
    "line",
    ['db.execute_sql("PRAGMA user_version")', "import sqlite3", "SELECT rowid FROM t", 'if name == "SQLITE_BUSY":'],
)
def test_words_of_sqlite_are_recognized(line: str) -> None:
    assert SQLITE_ONLY.search(line)
    assert not SQLITE_ONLY.search('app.config["PARLEY_SQLITE_SYNCHRONOUS"]')
