"""Queries whose SQL is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import peewee

from database.proxy import db

# Their values come from the driver as they are used; others have converters (a boolean is a number to SQLite).
_UNCONVERTED = (peewee.TextField, peewee.IntegerField, peewee.ForeignKeyField)


class Param(NamedTuple):
    """A value that a statement is given at each execution, by name."""

    name: str


def param(name: str) -> peewee.Value:
    """Return a placeholder in a query for the value that ``execute`` is given under this name."""
    return peewee.Value(Param(name), converter=False, unpack=False)


class Statement:
    """A Peewee query whose SQL is made once.

    Peewee builds the text again at every execution, which takes about 200 µs; running the text
    takes 5. What a query returns bypasses Peewee's model objects too; ``get`` and ``dicts`` apply
    the converters of its fields.
    """

    def __init__(self, query: peewee.BaseQuery | Callable[[], peewee.BaseQuery]):
        """Take a query, or what builds one if that asks the engine, which is not known at import."""
        self._query = query
        self._sql: str | None = None
        self._params: list[Any] = []
        self._names: tuple[str, ...] = ()
        self._converters: dict[str, Callable[[Any], Any]] = {}
        self._writes = False

    @property
    def sql(self) -> str:
        """The text of the query, with the driver's placeholders."""
        if self._sql is None:
            query = self._query if isinstance(self._query, peewee.BaseQuery) else self._query()
            self._writes = isinstance(query, peewee._WriteQuery)
            fields = [field for field in getattr(query, "_returning", None) or () if isinstance(field, peewee.Field)]
            self._names = tuple(field.column_name for field in fields)
            self._converters = {
                field.column_name: field.python_value for field in fields if not isinstance(field, _UNCONVERTED)
            }
            sql, self._params = query.sql()
            self._sql = sql
        return self._sql

    def execute(self, **values: Any) -> Any:
        """Run the query with its values, by name, and return the driver's cursor.

        Raises:
            RuntimeError: the query writes, and no transaction is open.

        """
        sql = self.sql
        if self._writes and not db.in_transaction():
            raise RuntimeError(f"outside a transaction: {sql}")
        return db.execute_sql(sql, [values[p.name] if type(p) is Param else p for p in self._params])

    def get(self, **values: Any) -> dict[str, Any] | None:
        """Run the query and return its first row by column names, None if there is none."""
        row = self.execute(**values).fetchone()
        return None if row is None else self.to_dict(row)

    def dicts(self, **values: Any) -> Iterator[dict[str, Any]]:
        """Run the query and yield its rows by column names."""
        return map(self.to_dict, self.execute(**values))

    def to_dict(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """Return a row that this query has returned by column names."""
        named = dict(zip(self._names, row, strict=False))
        for name, convert in self._converters.items():
            named[name] = convert(named[name])
        return named

    def execute_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert many rows; the values of each are in the order of the query's own."""
        db.bulk_insert(self.sql, rows)
