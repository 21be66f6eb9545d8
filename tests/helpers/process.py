"""Processes on loopback: a Parley server, its commands, and the stand-in for a model."""

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

from tests.helpers import engine

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "correct horse battery"  # of the users that tests create


def environment(data: Path, **settings: Any) -> dict[str, str]:
    """Return this process's environment with the test's settings instead of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    own = {f"PARLEY_{name}": str(value) for name, value in settings.items()}
    usual = {"PARLEY_DATA_DIR": str(data), "PARLEY_PORT": "0", "PYTHONUNBUFFERED": "1"}
    usual |= engine.settings(data) if "DATABASE_URL" not in settings else {}
    if "JWT_SECRET_KEY_FILE" in settings:
        usual.pop("PARLEY_JWT_SECRET_KEY", None)
    return inherited | usual | own


def run_flask(
    data: Path, *arguments: str, stdin: str | None = None, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command of ``flask``."""
    return subprocess.run(
        [sys.executable, "-m", "flask", *arguments],
        cwd=ROOT,
        env=environment(data, **settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
    )


def failed_start(data: Path, **settings: Any) -> str:
    """Start a server that cannot start, and return its error message."""
    process = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment(data, **settings),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 1
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    return process.stderr


class ServerProcess:
    """``python app.py`` or another program: it listens once constructed, and is killed at the end of the block."""

    program: tuple[str, ...] = ("app.py",)

    def __init__(self, data: Path, **settings: Any):
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program], cwd=ROOT, env=environment(data, **settings), stdout=log, stderr=log
            )
        self.url = self._await_address()
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        self.address = (host, int(port))

    def _await_address(self) -> str:
        deadline = time.monotonic() + 60  # on a machine that is busy
        while time.monotonic() < deadline:
            if found := re.search(r"Parley listens on ([^,]+),", self.log.read_text()):  # as text, or as JSON
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the server did not start ({self.process.poll()}):\n{self.log.read_text()}")

    def request(
        self, method: str, path: str, body: Any = None, token: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Send a request and return the status, the body (parsed if it is JSON) and the headers of its response."""
        fields = {"Content-Type": "application/json"} | (headers or {})
        if token:
            fields["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with urlopen(Request(self.url + path, data, fields, method=method), timeout=300) as response:
                return response.status, _parse(response.read()), dict(response.headers)
        except HTTPError as error:
            with error:
                return error.code, _parse(error.read()), dict(error.headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=300)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=300)

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class FakeLlm:
    """The stand-in for a model's API, as a process: see fake_llm.py."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.helpers.fake_llm"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._address = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.url = f"{self._address}/v1"

    def calls(self) -> list[dict[str, Any]]:
        """Return the requests so far, and when each client disconnected, if it did."""
        with urlopen(f"{self._address}/calls", timeout=300) as response:
            calls: list[dict[str, Any]] = json.load(response)
        return calls

    def release(self) -> None:
        """End the pause of one ``hold``."""
        with urlopen(f"{self._address}/release", timeout=300):
            pass

    def __enter__(self) -> FakeLlm:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=300)  # closes its input, on which it exits


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


def create_user(data: Path, name: str = "alice") -> str:
    """Create a user beside the server or before it, in this process, and return a token of theirs."""
    from tests.helpers.data_folder import create_users  # which starts servers, and so imports this module

    (token,) = create_users(data, name)
    return token
