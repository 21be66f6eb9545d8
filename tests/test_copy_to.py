"""``flask copy-to``: all rows, from SQLite to PostgreSQL and back, unchanged, or nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from psycopg.types.string import TextLoader

from app import create_app
from database import db
from ids import new_id
from models import TABLES
from tests.helpers.client import ApiClient, add_user, invoke, log_in, message
from tests.helpers.clock import wait_until
from tests.helpers.engine import SECRET
from tests.helpers.postgresql import PostgresqlServer
from tests.helpers.process import ROOT, ServerProcess, environment
from tests.helpers.tcp_proxy import TcpProxy

PASSWORD = "a-secret-of-the-database"
NAMES = [model._meta.table_name for model in TABLES]
REPEATED = json.dumps(message("kept once")).encode()
NOW = "2026-01-30T12:00:00.000Z"
METADATA = (
    '{"a":1.0,"b":-0.0,"c":1e400,"d":"\\u0000 \\ud83d\\ude00 \\ud800","e":123456789012345678901234567890}',
    '{"a":1,"a":2,"z":1E+2,"b":0.10,"🙂":"é"}',
    '{ "spaced" :\t[ 1 , {} ] }',
)
CONTENTS = ("🙂" * 50_000, "a\\b\tc\nd\r\n\\N \\. \x01 \x7f \u2028 \ufffe", "\ufeff'\"%s %% ? {} $1", "x")


class Databases:
    """Databases to copy from and to: names of PostgreSQL's, and data folders of SQLite's."""

    def __init__(self, server: PostgresqlServer, folder: Path):
        self.server, self.folder = server, folder
        self._count = 0

    def new(self, dialect: str) -> str:
        """Return the URL of a database that does not exist yet, or is empty."""
        self._count += 1
        name = f"{self.folder.name}_{self._count}".lower().replace("-", "_")
        if dialect == "sqlite":
            return f"sqlite:///{self.folder / name}.db"
        return self.server.create_database(name)

    def run(self, source: str, *command: str) -> Result:
        """Run a command on a database, and check that no password is printed, whatever happens."""
        settings = {"DATA_DIR": str(self.folder), "DATABASE_URL": source, "JWT_SECRET_KEY": SECRET}
        app = create_app({f"PARLEY_{name}": value for name, value in settings.items()})
        done = invoke(app, *command)
        db.close_cleanly()
        assert PASSWORD not in done.output
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    def copy(self, source: str, target: str) -> Result:
        """Copy one database to another one."""
        return self.run(source, "copy-to", target)

    def copy_completely(self, source: str, target: str) -> dict[str, list[Any]]:
        """Copy one database to another one; return the lines of its report by table."""
        done = self.copy(source, target)
        assert done.exit_code == 0, done.stderr
        assert "the same in both databases" in done.stdout
        rows = [line.split() for line in done.stdout.splitlines() if "SHA-256" in line]
        return {name: [int(count.replace(",", "")), digest] for name, count, _, _, digest in rows}

    @contextmanager
    def slowly(self, source: str, target: str) -> Iterator[subprocess.Popen[bytes]]:
        """Copy a database of PostgreSQL's, with 0.2 seconds for each round trip to it, beside the block."""
        with TcpProxy(self.server.port, latency=0.2) as proxy:
            slow = source.replace(f":{self.server.port}/", f":{proxy.port}/")
            environ = environment(self.folder, DATABASE_URL=slow, JWT_SECRET_KEY=SECRET)
            command = [sys.executable, "-m", "flask", "copy-to", target]
            with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) as copy:
                yield copy

    @property
    def environ(self) -> dict[str, str]:
        """What PostgreSQL's own programs need."""
        return os.environ | {"PATH": f"{self.server._bin}:{os.environ['PATH']}", "PGPASSWORD": PASSWORD}

    def serve(self, url: str) -> ServerProcess:
        data = self.folder / f"server of {url.rpartition('/')[2]}"
        data.mkdir()
        return ServerProcess(data, DATABASE_URL=url, JWT_SECRET_KEY=SECRET)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    folder = tmp_path_factory.mktemp("postgresql") / "data"
    with PostgresqlServer(folder, password=PASSWORD, fsync="off") as server:
        yield server


@pytest.fixture
def databases(server: PostgresqlServer, tmp_path: Path) -> Databases:
    return Databases(server, tmp_path)


class Filled:
    """A database of SQLite's with rows in all tables, and what its users know of it."""

    def __init__(self, folder: Path):
        self.path = folder / "parley.db"
        self.url = f"sqlite:///{self.path}"
        app = create_app(
            {"PARLEY_DATA_DIR": str(folder), "PARLEY_DATABASE_URL": self.url, "PARLEY_JWT_SECRET_KEY": SECRET}
        )
        anonymous = ApiClient(app.test_client(), None)
        owner, other, removed = (add_user(app, name) for name in ("owner", "Ünïçode 🙂", "removed"))
        self.token = str(owner.token)
        first = owner.session("Deploy of the 🙂 service")
        owner.session()
        assert (
            owner.patch(f"/api/sessions/{first['id']}/system-prompt", {"system_prompt": "é" * 8_000}).status_code == 200
        )
        other.imported(message("imported"), message("answer", "assistant"), title="x" * 120)
        removed.session("of a removed user")
        self.session_id = first["id"]
        self.key = {"Idempotency-Key": "once"}
        headers = self.key | {"Content-Type": "application/json"}
        self.answer = owner.post(self.messages, data=REPEATED, headers=headers).get_json()
        assert log_in(anonymous, password="wrong").status_code == 401
        log_in(anonymous)
        owner.delete(f"/api/sessions/{owner.session('deleted')['id']}")
        invoke(app, "users", "remove", "removed", "--yes")
        with db.write_transaction():
            for content, metadata in zip(CONTENTS, [*METADATA, "{}"], strict=True):
                self._add_message(content, metadata)
            db.execute_sql("DELETE FROM messages WHERE content = 'x'")  # leaves a gap
            self._add_odd_rows(str(owner.user_id))
        app.extensions["services"].close()
        db.close_cleanly()

    @property
    def messages(self) -> str:
        """The path of the messages."""
        return f"/api/sessions/{self.session_id}/messages"

    def _add_message(self, content: str, metadata: str) -> None:
        db.execute_sql(
            "INSERT INTO messages (id, session_id, role, content, metadata, created_at) VALUES (?, ?, 'user', ?, ?, ?)",
            (new_id(), self.session_id, content, metadata, NOW),
        )

    def _add_odd_rows(self, user_id: str) -> None:
        """Add what no request leaves behind, but a crash does, and rows that are being deleted."""
        orphan, deleted = new_id(), new_id()
        insert_session = (
            "INSERT INTO sessions (id, user_id, title, created_at, updated_at, origin, generation) "
            "VALUES (?, ?, 'half', ?, ?, ?, ?)"
        )
        db.execute_sql(insert_session, (orphan, None, NOW, NOW, "elsewhere", 0))
        db.execute_sql(insert_session, (deleted, user_id, NOW, NOW, None, -1))
        db.execute_sql(
            "INSERT INTO users (id, username, name_key, password_hash, created_at, generation) "
            "VALUES ('u', 'being removed', 'removed u', '', ?, NULL)",
            (NOW,),
        )
        db.execute_sql("UPDATE sessions SET updated_at = ? WHERE id = ?", (NOW, self.session_id))  # a move
        for status, body in (("running", None), ("succeeded", "🙂" * 1_000)):
            db.execute_sql(
                "INSERT INTO webhook_runs (id, session_id, action, status, request, response_body, started_at) "
                "VALUES (?, ?, 'restart', ?, ?, ?, ?)",
                (new_id(), self.session_id, status, METADATA[0], body, NOW),
            )
        db.execute_sql(
            "INSERT INTO drafts (session_id, content, model, question_id, saved_at) VALUES (?, 'so far', NULL, 'q', ?)",
            (self.session_id, NOW),
        )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return Filled(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def source(filled: Filled, tmp_path: Path) -> str:
    """The URL of a copy of the filled database."""
    shutil.copy(filled.path, tmp_path / "source.db")
    return f"sqlite:///{tmp_path / 'source.db'}"


def read(url: str) -> dict[str, list[Any]]:
    """Return the rows of each table, read with the drivers alone."""
    connection: Any
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    else:
        connection = psycopg.connect(url)
        connection.adapters.register_loader("json", TextLoader)
    with closing(connection):
        return {name: sorted(map(repr, rows(connection, name))) for name in NAMES}


def rows(connection: Any, table: str) -> Iterator[list[Any]]:
    cursor = connection.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield sorted(zip(names, row, strict=True))


def is_empty(url: str) -> bool:
    return not any(read(url).values())


# What is copied --------------------------------------------------------------------------------


def test_round_trip_changes_nothing(databases: Databases, source: str) -> None:
    """From SQLite to PostgreSQL, from there to another one, and from that back."""
    urls = [source, databases.new("postgresql"), databases.new("postgresql"), databases.new("sqlite")]
    reports = [databases.copy_completely(*pair) for pair in pairwise(urls)]
    rows = read(source)
    for url, report in zip(urls[1:], reports, strict=True):
        assert read(url) == rows
        assert {name: count for name, (count, _) in report.items()} == {name: len(rows[name]) for name in NAMES}
    assert reports[0] == reports[1] == reports[2], "the digests are not the same"


def test_odd_data_is_among_what_is_copied(filled: Filled) -> None:
    rows = read(filled.url)
    assert all(rows.values()), "a table is empty"
    for text in (*METADATA, *CONTENTS[:3]):
        assert any(repr(text) in row for row in rows["messages"])


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_copy_serves_as_if_nothing_had_happened(
    databases: Databases, filled: Filled, source: str, dialect: str
) -> None:
    target = databases.new(dialect)
    databases.copy_completely(source, target)
    before, after = (exchange(databases, filled, url) for url in (source, target))
    assert [message["content"] for message in before] == [message["content"] for message in after]
    assert [message["content"] for message in after[-2:]] == ["so far", "after the copy"]


def exchange(databases: Databases, filled: Filled, url: str) -> list[dict[str, Any]]:
    """Use a database with a token from before, repeat a request from before, append, and return all messages."""
    with databases.serve(url) as server:
        repeated = server.request("POST", filled.messages, REPEATED, filled.token, filled.key)
        assert repeated[:2] == (201, filled.answer)
        assert server.request("POST", filled.messages, message("after the copy"), filled.token)[0] == 201
        _, session, _ = server.request("GET", f"/api/sessions/{filled.session_id}", token=filled.token)
        titles = [each["title"] for each in server.request("GET", "/api/sessions", token=filled.token)[1]["items"]]
        assert titles == ["Deploy of the 🙂 service", None]
        assert server.stop() == 0
    messages: list[dict[str, Any]] = session["messages"]
    return messages


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_copy_can_be_searched(databases: Databases, filled: Filled, source: str, dialect: str) -> None:
    if not (ROOT / f"search/{dialect}.py").exists():
        pytest.skip("there is no such index")
    target = databases.new(dialect)
    databases.copy_completely(source, target)
    with databases.serve(target) as server:
        for word in ("deploy", "kept"):
            _, found, _ = server.request("GET", f"/api/sessions?q={word}", token=filled.token)
            assert [each["id"] for each in found["items"]] == [filled.session_id]


# What is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_target_with_rows_is_refused_and_named(databases: Databases, filled: Filled, source: str, dialect: str) -> None:
    target = databases.new(dialect)
    databases.copy_completely(source, target)
    rows = read(target)
    done = databases.copy(source, target)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"is not empty. It has rows in: users ({len(rows['users'])}), " in done.stderr
    assert read(target) == rows


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_target_with_tables_but_without_rows_is_empty(databases: Databases, source: str, dialect: str) -> None:
    target, empty = databases.new(dialect), databases.new("sqlite")
    databases.copy_completely(empty, target)  # creates the tables of both
    assert is_empty(target)
    databases.copy_completely(source, target)


def test_sqlite_database_is_not_copied_to_itself(databases: Databases, source: str, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("source.db")
    for target in (source, f"sqlite:///{tmp_path / 'link.db'}"):
        done = databases.copy(source, target)
        assert (done.exit_code, "is the database that is to be copied" in done.stderr) == (1, True)


def test_postgresql_database_is_not_copied_to_itself(databases: Databases) -> None:
    target = databases.new("postgresql")
    other_name = target.replace("127.0.0.1", "localhost")
    done = databases.copy(target, other_name)
    assert (done.exit_code, "is the database that is to be copied" in done.stderr) == (1, True)


def test_file_that_is_no_database_is_refused(databases: Databases, source: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but something longer than its header " * 10)
    done = databases.copy(source, f"sqlite:///{tmp_path / 'notes.txt'}")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "notes.txt" in done.stderr
    assert "file is not a database" in done.stderr
    assert (tmp_path / "notes.txt").read_text().startswith("not a database")


def test_sqlite_source_must_not_be_served(databases: Databases, source: str) -> None:
    target = databases.new("postgresql")
    with databases.serve(source) as server:
        done = databases.copy(source, target)
        assert (done.exit_code, done.stdout) == (1, "")
        assert f"process {server.process.pid} on " in done.stderr
        assert is_empty(target)
        assert server.request("GET", "/readyz")[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize("served", ["source", "target"])
def test_postgresql_must_not_be_served(databases: Databases, source: str, served: str) -> None:
    first, second = databases.new("postgresql"), databases.new("postgresql")
    databases.copy_completely(source, first)
    with databases.serve(first if served == "source" else second) as server:
        assert server.request("GET", "/readyz")[0] == 200
        done = databases.copy(first, second)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "parley on 127.0.0.1" in done.stderr
        assert "Stop the servers first." in done.stderr
        assert is_empty(second)
        server.stop()
    databases.copy_completely(first, second)


@pytest.mark.slow
def test_nobody_writes_to_postgresql_while_it_is_copied(databases: Databases, source: str) -> None:
    """Not even who connects once the copy has begun; by another name, since others would be refused."""
    databases.server.execute(f"CREATE ROLE late SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
    url, target = databases.new("postgresql"), databases.new("sqlite")
    databases.copy_completely(source, url)
    with databases.slowly(url, target) as copy:
        with closing(psycopg.connect(url.replace("//parley:", "//late:"), autocommit=True)) as late:
            locks = "SELECT 1 FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' AND granted"
            wait_until(lambda: late.execute(locks).fetchone(), "the tables are locked")
            late.execute("SET lock_timeout = '1ms'")
            assert late.execute("SELECT count(*) FROM users").fetchone() is not None
            for name in NAMES:
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    late.execute(f"DELETE FROM {name}")
        assert copy.wait(timeout=60) == 0
    assert read(url) == read(target) == read(source)


# What fails ------------------------------------------------------------------------------------

FAILING_TRIGGERS = {
    "sqlite": "CREATE TRIGGER fails BEFORE INSERT ON retries BEGIN SELECT RAISE(ABORT, 'no room'); END",
    "postgresql": """
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room'; END $$;
        CREATE TRIGGER fails BEFORE INSERT ON retries FOR EACH ROW EXECUTE FUNCTION fail()
    """,
}
ALTERING_TRIGGERS = {
    "sqlite": """
        CREATE TRIGGER alters AFTER INSERT ON messages BEGIN
            UPDATE messages SET metadata = '{"a":1,"b":-0.0}' WHERE seq = new.seq AND metadata LIKE '{"a":1.0%';
        END
    """,
    "postgresql": """
        CREATE FUNCTION alter_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            new.metadata := replace(new.metadata::text, '1.0', '1')::json; RETURN new; END $$;
        CREATE TRIGGER alters BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION alter_row()
    """,
}


def prepared_target(databases: Databases, dialect: str, trigger: str) -> str:
    """Return the URL of an empty database with the tables and a trigger."""
    target = databases.new(dialect)
    databases.copy_completely(databases.new("sqlite"), target)
    connection: Any = (
        sqlite3.connect(target.removeprefix("sqlite:///")) if dialect == "sqlite" else psycopg.connect(target)
    )
    with closing(connection):
        connection.execute(trigger)
        connection.commit()
    return target


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_failure_leaves_the_target_empty(databases: Databases, source: str, dialect: str) -> None:
    target = prepared_target(databases, dialect, FAILING_TRIGGERS[dialect])
    done = databases.copy(source, target)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "retries cannot be copied: no room" in done.stderr
    assert is_empty(target)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_rows_that_differ_are_noticed(databases: Databases, source: str, dialect: str) -> None:
    target = prepared_target(databases, dialect, ALTERING_TRIGGERS[dialect])
    done = databases.copy(source, target)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "The rows of messages are not the same in both databases." in done.stderr
    assert is_empty(target)


def test_text_that_postgresql_cannot_hold_is_an_error(databases: Databases, source: str) -> None:
    """No request has left such text since 1.0; a database may have been edited by hand."""
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE webhook_runs SET response_body = char(97, 0)")
        connection.commit()
    target = databases.new("postgresql")
    done = databases.copy(source, target)
    assert (done.exit_code, "webhook_runs" in done.stderr) == (1, True)
    assert is_empty(target)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_killed_copy_leaves_the_target_empty(databases: Databases, source: str, dialect: str) -> None:
    """Killed when it has written all tables but the last."""
    first, target = databases.new("postgresql"), databases.new(dialect)
    databases.copy_completely(databases.new("sqlite"), target)
    databases.copy_completely(source, first)
    with databases.slowly(first, target) as copy:
        reading = """SELECT 1 FROM pg_stat_activity WHERE query LIKE '%FROM "retries"%' AND pid <> pg_backend_pid()"""
        wait_until(lambda: databases.server.execute(reading), "it reads the last table")
        copy.kill()
        copy.wait()
    assert is_empty(target)
    databases.copy_completely(source, target)


# What is printed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://parley:{PASSWORD}x@127.0.0.1:PORT/postgres",
        f"postgresql://parley:{PASSWORD}@127.0.0.1:PORT/missing",
        f"postgresql://parley:{PASSWORD}@127.0.0.1:1/parley",
        f"postgresql://parley:{PASSWORD}@127.0.0.1:not-a-port/parley",
        f"postgresql://parley:{PASSWORD}@[127.0.0.1/parley",
        f"postgresql://parley:{PASSWORD}@ho℀st/parley",
        f"postgresql://parley@127.0.0.1:PORT/parley?password={PASSWORD}&no_such_parameter=1",
        f"mysql://parley:{PASSWORD}@127.0.0.1/parley",
        PASSWORD,
    ],
)
def test_wrong_url_is_an_error_that_does_not_print_it(databases: Databases, source: str, url: str) -> None:
    done = databases.copy(source, url.replace("PORT", str(databases.server.port)))  # checks what is printed
    assert (done.exit_code, done.stdout, done.stderr.startswith("Error: ")) == (1, "", True)
    assert "PARLEY_DATABASE_URL" not in done.stderr


def test_password_may_come_from_the_environment(
    databases: Databases, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    databases.copy_completely(source, databases.new("postgresql").replace(f":{PASSWORD}@", "@"))


def test_backup_of_postgresql_names_the_program_for_it(databases: Databases, source: str) -> None:
    """And that program, given the password, makes one that can be restored."""
    url, restored = databases.new("postgresql"), databases.new("postgresql")
    databases.copy_completely(source, url)
    file = databases.folder / "backup"
    done = databases.run(url, "backup", str(file))
    assert (done.exit_code, done.stdout, file.exists()) == (1, "", False)
    found = re.search(r"(pg_dump -Fc -d .*) > FILE$", done.stderr)
    assert found
    dump = subprocess.run(["bash", "-c", f"{found[1]} > {file}"], env=databases.environ, capture_output=True, text=True)
    assert dump.returncode == 0, dump.stderr
    subprocess.run(["pg_restore", "-d", restored, str(file)], env=databases.environ, check=True)
    assert read(restored) == read(source)
