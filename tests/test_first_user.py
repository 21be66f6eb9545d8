"""The offer to create the first user: on a terminal alone, and only while there is none."""

from __future__ import annotations

import codecs
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.helpers import engine
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.process import PASSWORD, ROOT, environment

OFFER, PASSWORD_PROMPT, READY = "Username: ", "Password: ", "Parley listens on"


# A child that has its standard streams as its controlling terminal.
IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A terminal with a command in its foreground, ``python app.py`` by default, and somebody who types."""

    def __init__(self, data: Path, *command: str):
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a character
        self._terminal, stream = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *(command or (sys.executable, "app.py"))],
            cwd=ROOT,
            env=environment(data),
            stdin=stream,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        os.close(stream)

    def expect(self, text: str) -> str:
        """Wait until the terminal shows a text, and return all that it has shown since the last one."""
        deadline = time.monotonic() + 30
        while text not in self.shown:
            ready = select.select([self._terminal], (), (), max(deadline - time.monotonic(), 0))[0]
            assert ready, f"waited in vain for {text!r}; shown: {self.shown!r}"
            try:
                self._read()
            except OSError:  # it has ended
                assert text in self.shown, f"ended without {text!r}; shown: {self.shown!r}"
        shown, _, self.shown = self.shown.partition(text)
        return shown + text

    def _read(self) -> None:
        self.shown += self._decoder.decode(os.read(self._terminal, 65_536))

    def is_read(self) -> bool:
        """Return whether the command waits for what is typed."""
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def exit_code(self) -> int:
        """Wait for the end of the process, reading what it still shows."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if select.select([self._terminal], (), (), 0.05)[0]:
                with suppress(OSError):  # it has ended
                    self._read()
            code = self._process.poll()
            if code is not None:
                return code
        raise AssertionError("it does not end")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def terminal(data: Path) -> Iterator[Terminal]:
    terminal = Terminal(data)
    yield terminal
    terminal.close()


def usernames(data: Path) -> list[str]:
    with closing(engine.connect(data)) as connection:
        return [name for (name,) in connection.execute("SELECT username FROM users")]


def test_creates_a_user_who_can_log_in(terminal: Terminal, data: Path) -> None:
    assert "no user yet" in terminal.expect(OFFER)
    terminal.type("zoë\n")
    terminal.expect(PASSWORD_PROMPT)
    terminal.type(f"{PASSWORD}\n")
    assert PASSWORD not in terminal.expect("Repeat for confirmation: ")
    terminal.type(f"{PASSWORD}\n")
    shown = terminal.expect("\n" + READY) + terminal.expect("database ")
    assert "Created the user zoë." in shown
    assert PASSWORD not in shown
    assert "open it in a browser" in shown
    assert usernames(data) == ["zoë"]
    terminal.type("\x03")
    assert terminal.exit_code() == 0
    assert "users add" not in terminal.shown


def test_asks_again_after_a_mistake(terminal: Terminal, data: Path) -> None:
    terminal.expect(OFFER)
    terminal.type("a\u200bb\n")
    assert "Error: username" in terminal.expect(OFFER)
    terminal.type("alice\n")
    terminal.expect(PASSWORD_PROMPT)
    terminal.type("short\n")
    terminal.expect(": ")
    terminal.type("short\n")
    assert "Error: password" in terminal.expect(OFFER)
    terminal.type("alice\n")
    terminal.expect(PASSWORD_PROMPT)
    terminal.type(f"{PASSWORD}\n")
    terminal.expect(": ")
    terminal.type("another one\n")
    assert "do not match" in terminal.expect(PASSWORD_PROMPT)
    terminal.type(f"{PASSWORD}\n")
    terminal.expect("Repeat for confirmation: ")
    terminal.type(f"{PASSWORD}\n")
    terminal.expect(READY)
    assert usernames(data) == ["alice"]


@pytest.mark.parametrize("typed", ["\n", "  \n", "\x04"], ids=["Enter", "spaces", "Ctrl-D"])
def test_goes_on_without_a_user(terminal: Terminal, data: Path, typed: str) -> None:
    terminal.expect(OFFER)
    terminal.type(typed)
    terminal.expect(READY)
    terminal.expect("users add NAME")
    assert usernames(data) == []


@pytest.mark.parametrize("at_password", [False, True])
def test_ctrl_c_ends_it(terminal: Terminal, data: Path, at_password: bool) -> None:
    terminal.expect(OFFER)
    if at_password:
        terminal.type("alice\n")
        terminal.expect(PASSWORD_PROMPT)
        wait_until(terminal.is_read, "the password is read")  # a signal right before that is noticed with the next one
    terminal.type("\x03")
    assert terminal.exit_code() == 130
    assert READY not in terminal.shown
    assert "Traceback" not in terminal.shown
    assert usernames(data) == []


def test_does_not_ask_if_there_is_a_user(data_folder: DataFolder) -> None:
    terminal = Terminal(data_folder.path)
    assert OFFER not in terminal.expect(READY)
    terminal.close()


@pytest.mark.parametrize(
    "command", ["true | python app.py", "python app.py | cat", "python app.py & read line; kill $!"]
)
def test_does_not_ask_where_nobody_can_answer(data: Path, command: str) -> None:
    """Without a terminal as input or as output, and in the background, where a question would stop the process."""
    terminal = Terminal(data, "/bin/sh", "-mc", command.replace("python", sys.executable))
    assert OFFER not in terminal.expect(READY)
    terminal.type("\n" if "&" in command else "\x03")
    terminal.exit_code()
    terminal.close()
