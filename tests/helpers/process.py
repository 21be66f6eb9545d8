"""A real Parley process on loopback, for what only a real server shows."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ROOT = Path(__file__).parent.parent.parent


def environment(data: Path, **settings: Any) -> dict[str, str]:
    """The machine's environment without its own PARLEY_ settings, and with the test's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    given = {f"PARLEY_{name}": str(value) for name, value in settings.items()}
    return inherited | {"PARLEY_DATA_DIR": str(data), "PARLEY_PORT": "0", "PYTHONUNBUFFERED": "1"} | given


def flask(data: Path, *arguments: str, stdin: str | None = None, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of the service."""
    return subprocess.run(
        [sys.executable, "-m", "flask", *arguments],
        cwd=ROOT,
        env=environment(data, **settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


class ServerProcess:
    """``python app.py``, started, awaited, and stopped at the end of the block."""

    def __init__(self, data: Path, **settings: Any):
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=environment(data, **settings), stdout=log, stderr=log
            )
        self.url = self._await_address()
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        self.address = (host, int(port))

    def _await_address(self) -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if found := re.search(r"Parley listens on ([^,]+),", self.log.read_text()):  # in a line, or in one of JSON
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the server did not start:\n{self.log.read_text()}")

    def request(
        self, method: str, path: str, body: Any = None, token: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Send a request and return its status, its body (parsed where it is JSON) and its headers."""
        sent = {"Content-Type": "application/json"} | (headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with urlopen(Request(self.url + path, data, sent, method=method), timeout=30) as answer:
                return answer.status, _parsed(answer.read()), dict(answer.headers)
        except HTTPError as error:
            with error:
                return error.code, _parsed(error.read()), dict(error.headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=25)

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class FakeLlm:
    """The stand-in for a model's API, as a process; see fake_llm.py."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.helpers.fake_llm"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._address = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.url = f"{self._address}/v1"

    def calls(self) -> list[dict[str, Any]]:
        """Return the requests so far, and when each client disconnected, if it did."""
        with urlopen(f"{self._address}/calls", timeout=10) as response:
            calls: list[dict[str, Any]] = json.load(response)
        return calls

    def __enter__(self) -> FakeLlm:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)  # closes its input, on which it exits


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


def make_user(data: Path, name: str = "alice", password: str = "correct horse") -> str:
    """Make a user from the command line and return a token of theirs."""
    made = flask(data, "users", "add", name, "--password", password)
    assert made.returncode == 0, made.stderr
    token = flask(data, "users", "token", name, "--days", "1")
    assert token.returncode == 0, token.stderr
    return token.stdout.strip()
