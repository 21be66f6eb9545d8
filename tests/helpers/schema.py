"""The schema of a SQLite database as lines that can be sorted, compared and read."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

# The search index, for which there are no models, and the tables of SQLite and of the migrations.
UNMODELLED = re.compile("search|titles|sqlite_|schema_migration")


def describe(connection: sqlite3.Connection) -> list[str]:
    """Return a line for each column, primary key, index, foreign key and check, as SQLite reports them."""
    tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    return sorted(
        line
        for table, sql in tables
        if not UNMODELLED.match(table)
        for lines in (_columns(connection, table), _indexes(connection, table), _foreign_keys(connection, table))
        for line in (*lines, *(f"{table}: CHECK {check}" for check in _checks(sql)))
    )


def _columns(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    for _, name, kind, is_not_null, default, key_position, hidden in connection.execute(f"PRAGMA table_xinfo({table})"):
        parts = [f"{table}: column {name} {kind}", "NOT NULL" if is_not_null else "NULL"]
        parts += [f"DEFAULT {default}"] if default is not None else []
        parts += [f"PRIMARY KEY ({key_position})"] if key_position else []
        parts += ["GENERATED"] if hidden else []
        yield " ".join(parts)


def _indexes(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    for _, name, is_unique, origin, is_partial in connection.execute(f"PRAGMA index_list({table})").fetchall():
        columns = [
            f"{column or 'an expression'}{' DESC' if descends else ''}"
            for _, _, column, descends, _, is_key in connection.execute(f"PRAGMA index_xinfo({name})")
            if is_key
        ]
        label = {"c": f"index {name}", "u": "unique", "pk": "primary key"}[origin]
        flags = f"{' UNIQUE' if is_unique and origin == 'c' else ''}{' PARTIAL' if is_partial else ''}"
        yield f"{table}: {label}{flags} ({', '.join(columns)})"


def _foreign_keys(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    for _, _, target, column, key, on_update, on_delete, _ in connection.execute(f"PRAGMA foreign_key_list({table})"):
        yield f"{table}: foreign key {column} -> {target}.{key} ON UPDATE {on_update} ON DELETE {on_delete}"


def _checks(sql: str) -> Iterator[str]:
    """Yield the checks in the text of a table, from parenthesis to parenthesis; nothing else reports them."""
    for start in (match.end() - 1 for match in re.finditer(r"\bCHECK\s*\(", sql)):
        depth = 0
        for end in range(start, len(sql)):  # none of our texts holds a parenthesis
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            if not depth:
                yield " ".join(sql[start : end + 1].split())
                break
