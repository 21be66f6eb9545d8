"""Queries whose SQL is built once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import peewee

from database.proxy import db

# The driver returns their values as they are used; other fields have converters (SQLite's booleans are numbers).
_UNCONVERTED = (peewee.TextField, peewee.IntegerField, peewee.ForeignKeyField)


class Param(NamedTuple):
    """A parameter of a statement: its value is passed at each execution, by name."""

    name: str


def param(name: str) -> peewee.Value:
    """Return the placeholder in a query for the value passed to ``execute`` under this name."""
    return peewee.Value(Param(name), converter=False, unpack=False)


class Statement:
    """A Peewee query whose SQL is built once, when it is first used.

    Peewee builds the SQL again at every execution, which takes about 200 µs; running it takes 5.
    The rows bypass Peewee's model objects too; ``get`` and ``dicts`` apply the fields' converters.
    """

    def __init__(self, query: peewee.BaseQuery | Callable[[], peewee.BaseQuery]):
        """Accept a query, or a function that builds one from parts of the engine, which is not known at import."""
        self._query = query
        self._engine: type | None = None  # of which the SQL is
        self._sql = ""
        self._params: list[Any] = []
        self._names: tuple[str, ...] = ()
        self._converters: dict[str, Callable[[Any], Any]] = {}
        self._writes = False

    @property
    def sql(self) -> str:
        """The text of the query, with the driver's placeholders."""
        if self._engine is not type(db.obj):
            query = self._query if isinstance(self._query, peewee.BaseQuery) else self._query()
            self._writes = isinstance(query, peewee._WriteQuery)
            fields = [field for field in getattr(query, "_returning", None) or () if isinstance(field, peewee.Field)]
            self._names = tuple(map(_name, fields))
            self._converters = {
                _name(field): field.python_value for field in fields if not isinstance(field, _UNCONVERTED)
            }
            self._sql, self._params = query.sql()
            self._engine = type(db.obj)
        return self._sql

    def execute(self, **values: Any) -> Any:
        """Run the query with the values of its parameters and return the driver's cursor.

        Raises:
            RuntimeError: the query writes, and no transaction is open.

        """
        sql = self.sql
        if self._writes and not db.may_write():
            raise RuntimeError(f"outside a transaction: {sql}")
        return db.execute_sql(sql, self._bind(values))

    def require(self, error: Exception, **values: Any) -> None:
        """Raise an error if the query returns no row, now or with the next query; see ``Engine.require``."""
        db.require(self.sql, self._bind(values), error)

    def _bind(self, values: dict[str, Any]) -> list[Any]:
        return [values[p.name] if type(p) is Param else p for p in self._params]

    def get(self, **values: Any) -> dict[str, Any] | None:
        """Run the query and return its first row by field names, None if there is none."""
        row = self.execute(**values).fetchone()
        return None if row is None else self.to_dict(row)

    def dicts(self, **values: Any) -> Iterator[dict[str, Any]]:
        """Run the query and yield its rows by field names."""
        return map(self.to_dict, self.execute(**values))

    def to_dict(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """Return a row by this query's field names; further columns are left out."""
        if self._engine is None:  # it is the row of another statement, and this one has not been executed yet
            _ = self.sql
        named = dict(zip(self._names, row, strict=False))
        for name, convert in self._converters.items():
            named[name] = convert(named[name])
        return named

    def execute_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert many rows with a query that inserts parameters alone; each row holds their values in their order.

        Other fields get their defaults.
        """
        if not isinstance(self._query, peewee.ModelInsert):
            raise TypeError("not the insertion of one row")
        query: Any = self._query
        defaults = {field: value for field, value in query.model._meta.defaults.items() if field not in query._insert}
        if defaults:
            constants = tuple(field.db_value(value) for field, value in defaults.items())
            rows = [row + constants for row in rows]
        columns = [field.column_name for field in (*query._insert, *defaults)]
        db.bulk_insert(query.model._meta.table_name, columns, rows)


class UpdateThenInsert:
    """An update of one row and, if it is there, the insertion of another: in one statement, if the engine can.

    The insertion has parameters by the names of the fields that the update returns, and is given their values.
    """

    def __init__(self, update: Callable[[], peewee.Update], insert: peewee.ModelInsert):
        """Accept a function that builds the update from parts of the engine, and the insertion of parameters."""
        self._build_update, self._insert_query = update, insert
        self._update, self._insert = Statement(update), Statement(insert)
        self._engine: type | None = None  # for which they are combined, if it can
        self._combined: Statement | None = None

    def _combine(self) -> Statement | None:
        if self._engine is not type(db.obj):
            query = db.combine_writes(self._build_update(), self._insert_query)
            self._combined = None if query is None else Statement(query)
            self._engine = type(db.obj)
        return self._combined

    def execute(self, **values: Any) -> tuple[Any, ...] | None:
        """Update and insert with the values of both queries' parameters; return what the update returns, if anything.

        Raises:
            RuntimeError: no transaction is open.

        """
        statement = self._combine() or self._update
        row: tuple[Any, ...] | None = statement.execute(**values).fetchone()
        if row is not None and statement is self._update:
            self._insert.execute(**values, **self._update.to_dict(row))
        return row


def _name(field: peewee.Field) -> str:
    """Return the name of a field, of a foreign key that of its id: ``session_id``."""
    return str(field.object_id_name if isinstance(field, peewee.ForeignKeyField) else field.name)
