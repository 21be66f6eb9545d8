"""docs/operations.md is true: its commands and its queries are run, in their order, on a real PostgreSQL."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.helpers.client import message
from tests.helpers.data_folder import DataFolder
from tests.helpers.documentation import page
from tests.helpers.engine import SECRET
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import ROOT, ServerProcess

GUIDE = page("docs/operations.md")
PASSWORD = "a-password-of-the-role"

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    with PostgresqlServer(tmp_path_factory.mktemp("postgresql") / "data", fsync="off") as server:
        yield server


class Shell:
    """A shell of an operator: on the machine of the database, with the password in the environment."""

    def __init__(self, server: PostgresqlServer, folder: Path, secret: str):
        self.server, self.folder = server, folder
        own = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "parley", "PGPASSWORD": PASSWORD}
        own |= {"PATH": f"{server._bin}:{os.environ['PATH']}", "PARLEY_DATA_DIR": str(folder / "data")}
        self.environ = os.environ | own | {"PARLEY_JWT_SECRET_KEY": secret}

    def paste(self, beginning: str) -> str:
        """Run the command of the guide with this beginning; only addresses and paths are the test's."""
        (line,) = [line for line in map(str.strip, GUIDE.text.splitlines()) if line.startswith(beginning)]
        line = line.replace("host=db.example.org", f"host=127.0.0.1 port={self.server.port}")
        line = line.replace("@db.example.org/", f"@127.0.0.1:{self.server.port}/")
        line = line.replace(".venv/bin/flask", f"{sys.executable} -m flask --app {ROOT / 'app.py'}")
        done = subprocess.run(["bash", "-c", line], cwd=self.folder, env=self.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_change_over_backup_and_restore_as_written(postgresql: PostgresqlServer, data_folder: DataFolder) -> None:
    secret = data_folder.secret
    with data_folder.serve(JWT_SECRET_KEY=secret) as server:
        _, session, _ = server.request("POST", "/api/sessions", {}, data_folder.token)
        path = f"/api/sessions/{session['id']}"
        assert server.request("POST", f"{path}/messages", message("kept"), data_folder.token)[0] == 201
        _, before, _ = server.request("GET", path, token=data_folder.token)
        assert server.stop() == 0
    shell = Shell(postgresql, data_folder.path.parent, secret)
    shell.paste("createdb ")
    assert "the same in both databases" in shell.paste(".venv/bin/flask copy-to postgresql:")
    check_served(postgresql.url("parley"), data_folder, path, before)
    shell.paste("pg_dump -Fc -d ")
    postgresql.drop_database("parley")
    shell.paste("createdb ")
    shell.paste("pg_restore ")
    check_served(postgresql.url("parley"), data_folder, path, before)
    shell.environ["PARLEY_DATABASE_URL"] = postgresql.url("parley")
    assert "the same in both databases" in shell.paste(".venv/bin/flask copy-to sqlite:")
    check_served(f"sqlite:///{shell.folder / 'parley-copy.db'}", data_folder, path, before)


def check_served(url: str, folder: DataFolder, path: str, expected: object) -> None:
    settings = {"DATABASE_URL": url, "JWT_SECRET_KEY": folder.secret}
    with ServerProcess(folder.path, **settings) as server:
        assert server.request("GET", path, token=folder.token)[:2] == (200, expected)
        assert server.stop() == 0


def test_queries_run(postgresql: PostgresqlServer, data_folder: DataFolder) -> None:
    url = postgresql.create_database("queried")
    with (
        ServerProcess(data_folder.path, DATABASE_URL=url, JWT_SECRET_KEY=SECRET) as server,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        assert server.request("GET", "/readyz")[0] == 200
        queries = [query for script in GUIDE.scripts("sql") for query in re.split(r";\n", script) if query]
        connections, transactions, sizes, statistics, vacuum = queries
        assert ("parley", "idle") in {(row[0], row[2]) for row in connection.execute(connections)}
        assert connection.execute(transactions).fetchall() == []
        assert {"sessions", "messages"} <= {row[0] for row in connection.execute(sizes)}
        assert connection.execute(statistics).fetchone()
        connection.execute(vacuum)
