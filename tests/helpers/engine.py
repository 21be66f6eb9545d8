"""The database that the tests run on: a SQLite file in each data folder, or a database on a server for each.

The server is the one that ``--database-url`` names, to which the tests have all rights. Each process of
pytest has databases of its own there, whose names begin with ``parley_test``; it drops them at its end.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECRET = "a secret for tests only, long enough for each of the algorithms."
EMPTY = "empty"
SHARED = Path("shared by the tests of this process")
"""The data folder of the fixture ``app``, as a server knows it: there, its tests use one database after the other."""


class Server:
    """A PostgreSQL server, and the databases on it that stand for data folders."""

    def __init__(self, url: str):
        self.url = url
        self._prefix = f"parley_test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{os.getpid()}"
        self._created: set[str] = set()

    def execute(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql)

    def url_of(self, name: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def create(self, key: str, template: str | None = EMPTY) -> str:
        """Return the URL of the database with this key, which is created if it is not there."""
        name = self._name(key)
        if name not in self._created:
            source = f"TEMPLATE {self._name(template)}" if template else "TEMPLATE template0 ENCODING 'UTF8'"
            self.execute(f"CREATE DATABASE {name} {source}")
            self._created.add(name)
        return self.url_of(name)

    def empty(self, data: Path, tables: Sequence[str]) -> None:
        """Delete the rows of a data folder's database."""
        import psycopg

        with psycopg.connect(self.create(str(data)), autocommit=True) as connection:
            connection.execute(";".join(f"DELETE FROM {table}" for table in tables))

    def drop_all(self) -> None:
        for name in self._created:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._created.clear()

    def _name(self, key: str) -> str:
        return f"{self._prefix}_{hashlib.sha256(key.encode()).hexdigest()[:12]}"


server: Server | None = None
"""None if the tests run on SQLite."""


def use_server(url: str | None) -> None:
    """Run the tests on a server from now on, if there is a URL of one."""
    global server
    server = Server(url) if url else None


def settings(data: Path) -> dict[str, str]:
    """Return the settings, by their names, with which an app uses the database of a data folder."""
    if server is None:
        return {}
    return {"PARLEY_DATABASE_URL": server.create(str(data)), "PARLEY_JWT_SECRET_KEY": SECRET}


def copy(source: Path, target: Path) -> None:
    """Copy the database of a data folder, which nobody uses, if it is not in the folder."""
    if server:
        server.create(str(target), template=str(source))


def location(data: Path) -> str:
    """Return the database of a data folder as its operator is told it."""
    from database import create_engine, default_url

    return create_engine(server.create(str(data)) if server else default_url(data)).location


def connect(data: Path) -> Any:
    """Return a connection to the database of a data folder, beside the server or after it."""
    import sqlite3

    if server is None:
        return sqlite3.connect(data / "parley.db", timeout=30)
    import psycopg

    return psycopg.connect(server.create(str(data)), autocommit=True)


def translate(sql: str) -> str:
    """Return a statement with SQLite's placeholders as the engine has them."""
    return sql if server is None else sql.replace("%", "%%").replace("?", "%s")
