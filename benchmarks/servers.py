"""The servers that are measured: each a process on loopback, with tokens of two users."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent


@dataclass
class Server:
    """A server under test: its process, where it listens, tokens of two users, and the paths of what it was given."""

    name: str
    process: psutil.Process
    port: int
    tokens: tuple[str, str]
    paths: dict[str, str] = field(default_factory=dict)
    database: psutil.Process | None = None

    def send(self, method: str, path: str, body: bytes | None = None, user: int = 0) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        headers = {"Authorization": f"Bearer {self.tokens[user]}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status >= 300:
            raise SystemExit(f"{self.name}: {method} {path} answered {answer.status}: {content[:300]!r}")
        return answer.status, content

    @property
    def cpu(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    @property
    def database_cpu(self) -> float:
        """Of the database's server, with its children that have ended."""
        if self.database is None:
            return 0.0
        children = [child.cpu_times() for child in self.database.children()]
        return sum(self.database.cpu_times()[:4]) + sum(times.user + times.system for times in children)

    @property
    def memory(self) -> int:
        return int(self.process.memory_info().rss)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def started(command: list[str], port: int, **environment: str) -> Iterator[tuple[psutil.Process, str]]:
    """Start a server, await its first answer, yield it with the first line it printed; stop it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environ | environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        await_answer(port)
        yield psutil.Process(process.pid), first
    finally:
        process.terminate()
        process.wait()


def await_answer(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        finally:
            connection.close()


@contextmanager
def parley(folder: Path, name: str = "Parley", **settings: str) -> Iterator[Server]:
    port = free_port()
    environment = {"PARLEY_DATA_DIR": str(folder), "PARLEY_PORT": str(port), "PARLEY_LOG_LEVEL": "WARNING"} | settings

    def flask(*arguments: str) -> str:
        command = [sys.executable, "-m", "flask", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(done.returncode)
        return done.stdout.strip()

    tokens = []
    for user in ("one", "two"):
        flask("users", "add", user, "--password", "only for the benchmark")
        tokens.append(flask("users", "token", user))
    with started(["app.py"], port, **environment) as (process, _):
        yield Server(name, process, port, (tokens[0], tokens[1]))


@contextmanager
def fastapi(url: str, **environment: str) -> Iterator[Server]:
    """Start the peer on the database of a URL, in SQLAlchemy's form."""
    port = free_port()
    with started(["-m", "benchmarks.peers.fastapi_peer", str(port), url], port, **environment) as (process, first):
        one, two = first.split()
        yield Server("FastAPI", process, port, (one, two))
