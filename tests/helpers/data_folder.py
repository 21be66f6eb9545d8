"""A data folder that server processes run on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import database
from app import create_app
from database import db
from tests.helpers import engine
from tests.helpers.client import add_user
from tests.helpers.process import ServerProcess


def create_users(path: Path, *names: str) -> list[str]:
    """Create users in a data folder, which a server may be using, and return a token of each."""
    own = {"PARLEY_DATA_DIR": str(path), "PARLEY_LOG_LEVEL": "ERROR"}
    app = create_app(own | engine.settings(path))
    with db.write_transaction():
        tokens = [str(add_user(app, name).token) for name in names]
    app.extensions["services"].close()
    db.close_cleanly()
    return tokens


class DataFolder:
    """A data folder with the user ``alice`` in it, and maybe more, and a token of each.

    Its secret is in it, as after a first start, if the engine does not require another one.
    """

    def __init__(self, path: Path, users: int = 1):
        self.path = path
        self.tokens = create_users(path, "alice", *(f"user {number}" for number in range(1, users)))

    @property
    def token(self) -> str:
        """The token of the first user."""
        return self.tokens[0]

    @property
    def secret(self) -> str:
        """What the tokens are signed with."""
        generated = self.path / "jwt_secret"
        return generated.read_text() if generated.exists() else engine.SECRET

    def copy(self, path: Path) -> DataFolder:
        """Copy the folder to ``path``: in a millisecond, where a new one takes 150."""
        copy = object.__new__(DataFolder)
        copy.path, copy.tokens = copy_data(self.path, path), self.tokens
        return copy

    def serve(self, **settings: Any) -> ServerProcess:
        """Start a server on this folder."""
        return ServerProcess(self.path, **settings)


def copy_data(source: Path, target: Path) -> Path:
    """Copy a data folder, and its database if that is on a server, and return the copy."""
    if source.exists():
        shutil.copytree(source, target)
    else:  # all of it is in the database
        target.mkdir(parents=True)
    engine.copy(source, target)
    return target


@contextmanager
def open_data(data: Path) -> Iterator[None]:
    """Open the database of a data folder in this process for the block; no app does."""
    database.open_database(engine.settings(data).get("PARLEY_DATABASE_URL") or database.default_url(data))
    yield
    db.close_cleanly()
