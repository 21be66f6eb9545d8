"""A data folder that server processes run on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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

    Its secret is in it, as after a first start.
    """

    def __init__(self, path: Path, users: int = 1):
        self.path = path
        self.tokens = create_users(path, "alice", *(f"user {number}" for number in range(1, users)))

    @property
    def token(self) -> str:
        """The token of the first user."""
        return self.tokens[0]

    def copy(self, path: Path) -> DataFolder:
        """Copy the folder to ``path``: in a millisecond, where a new one takes 150."""
        copy = object.__new__(DataFolder)
        if self.path.exists():
            shutil.copytree(self.path, path)
        else:  # all of it is in the database
            path.mkdir(parents=True)
        engine.copy(self.path, path)
        copy.path, copy.tokens = path, self.tokens
        return copy

    def serve(self, **settings: Any) -> ServerProcess:
        """Start a server on this folder."""
        return ServerProcess(self.path, **settings)
