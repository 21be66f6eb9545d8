"""Parley processes that share a database of a throwaway PostgreSQL server."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from app import create_app
from database import db
from ids import new_id
from tests.helpers.client import add_user
from tests.helpers.engine import SECRET
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import ServerProcess


class Deployment:
    """A database of its own with users in it, a token of each, and processes that serve it."""

    def __init__(self, postgresql: PostgresqlServer, folder: Path, users: int = 1):
        self.postgresql, self.folder = postgresql, folder
        folder.mkdir()
        self.database = f"database {new_id()}"
        self.url = postgresql.create_database(self.database)
        self._numbers = count(1)
        self._settings = {"DATABASE_URL": self.url, "JWT_SECRET_KEY": SECRET}
        app = create_app(
            {"PARLEY_DATA_DIR": str(folder), "PARLEY_LOG_LEVEL": "ERROR"}
            | {f"PARLEY_{name}": value for name, value in self._settings.items()}
        )
        with db.write_transaction():
            self.tokens = [str(add_user(app, f"user {number}").token) for number in range(users)]
        app.extensions["services"].close()
        db.close_cleanly()

    @property
    def token(self) -> str:
        """The token of the first user."""
        return self.tokens[0]

    def serve(self, port: int | None = None, **settings: Any) -> ServerProcess:
        """Start a process; ``port`` is that of a proxy before the database."""
        if port:
            settings |= {"DATABASE_URL": self.postgresql.url(self.database, port)}
        return ServerProcess(self.folder / f"process {next(self._numbers)}", **self._settings | settings)

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement on the database and return its rows."""
        return self.postgresql.execute(statement, parameters, self.database)

    def terminate_connections(self) -> int:
        """End the processes of PostgreSQL that serve this database, and return how many there were."""
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        return len(self.postgresql.execute(statement, [self.database]))

    def count_connections(self) -> int:
        """Return how many connections to this database there are."""
        statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        return int(self.postgresql.execute(statement, [self.database])[0][0])
