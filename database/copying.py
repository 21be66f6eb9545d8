"""Copies all rows of a database into another one, whatever their engines, and compares the two."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, NamedTuple

import orjson
import peewee

from database.engine import Engine

# Rows that are in memory at once, and that one statement inserts.
BATCH_SIZE = 500


class CopyError(Exception):
    """The copy cannot be made, or is not the same; in words for the operator."""


class Content(NamedTuple):
    """The number of a table's rows, and the SHA-256 of all of them in the order of their key."""

    rows: int
    sha256: str


class Table(NamedTuple):
    """A table: the columns that are copied, and those that order it."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @classmethod
    def of(cls, model: type[peewee.Model]) -> Table:
        """Return the table of a model."""
        meta: Any = model._meta
        columns = tuple(field.column_name for field in meta.sorted_fields)
        return cls(meta.table_name, columns, tuple(field.column_name for field in meta.get_primary_keys()))

    @property
    def sql(self) -> str:
        """The query of all rows in order."""
        return f"SELECT {_quote(self.columns)} FROM {_quote([self.name])} ORDER BY {_quote(self.key)}"  # noqa: S608  # our own names


def copy_database(
    source: Engine,
    target: Engine,
    models: Sequence[type[peewee.Model]],
    progress_bar: Callable[[int, str], AbstractContextManager[Any]],
) -> dict[str, Content]:
    """Copy the tables of models, of which each comes after those that it refers to, and compare the two databases.

    All is read from one snapshot and written in one transaction, of which nothing remains if it fails. Triggers
    and indexes of the target see to what follows from the rows. ``progress_bar`` is Click's, of a length and a label.

    Raises:
        CopyError: the target is not empty, cannot store a row, or has others than the source in the end.
        StartupError: a server is running on one of the databases.

    """
    tables = [Table.of(model) for model in models]
    names = [table.name for table in tables]
    with target.write_transaction(), target.exclude_servers(names):
        check_empty(target, names)
        with source.read_transaction(), source.exclude_servers(names):
            total = sum(_count_rows(source, name) for name in names)
            with progress_bar(total, "Copied rows") as bar:
                copied = {table.name: _read(source, table, bar.update, target) for table in tables}
        target.finish_bulk_load(names)
        with progress_bar(total, "Compared rows") as bar:
            for table in tables:
                if _read(target, table, bar.update) != copied[table.name]:
                    raise CopyError(f"The rows of {table.name} are not the same in both databases.")
    return copied


def check_empty(engine: Engine, tables: Iterable[str]) -> None:
    """Check that tables have no rows.

    Raises:
        CopyError: one has; the message names all that have.

    """
    counts = {table: _count_rows(engine, table) for table in tables}
    found = ", ".join(f"{table} ({count:,})" for table, count in counts.items() if count)
    if found:
        raise CopyError(f"The database {engine.location} is not empty. It has rows in: {found}.")


def _count_rows(engine: Engine, table: str) -> int:
    (count,) = engine.execute_sql(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608  # our own names
    return int(count)


def _read(engine: Engine, table: Table, advance: Callable[[int], None], target: Engine | None = None) -> Content:
    """Read a table, and insert its rows into the one of the target, if there is a target."""
    count, digest = 0, hashlib.sha256()
    driver_errors = engine.errors + (target.errors if target else ())
    try:
        for rows in _batches(engine.stream(table.sql)):
            if target:
                target.bulk_insert(table.name, table.columns, rows)
            count += len(rows)
            digest.update(b"\n".join(map(orjson.dumps, rows)) + b"\n")
            advance(len(rows))
    except driver_errors as error:
        reason = str(error).partition("\n")[0]  # PostgreSQL's further lines quote the row
        raise CopyError(f"{table.name} cannot be copied: {reason}") from None
    return Content(count, digest.hexdigest())


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while batch := list(islice(rows, BATCH_SIZE)):
        yield batch


def _quote(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
