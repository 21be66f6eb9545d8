"""The file ``.env``: the server and the commands read the same one, and the environment wins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.image import copy_image_files
from tests.helpers.process import environment

KEY = "a key that is long enough for those who sign with it"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the code, with room for a ``.env`` beside ``app.py``."""
    return copy_image_files(tmp_path / "parley")


PRINT_CONFIG = "import flask; c = flask.current_app.config; print(c['PARLEY_DATA_DIR'], c['JWT_SECRET_KEY'])"
SERVE = (
    "import sys, app, server; sys.argv = ['app.py']; server.serve = lambda app: app.app_context().push(); "
    f"app.main(); {PRINT_CONFIG}"
)


def run_both(folder: Path, **variables: str) -> tuple[str, str]:
    """Return data folder and secret as ``python app.py`` and ``flask`` read them; or the output of one that fails."""
    others = ("PARLEY_DATA_DIR", "PARLEY_JWT_SECRET_KEY", "FLASK_SKIP_DOTENV")
    environ = {name: value for name, value in environment(folder).items() if name not in others}
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environ | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for arguments in (["-c", SERVE], ["-m", "flask", "shell"])
    ]
    server, command = (_config_line(process.communicate(PRINT_CONFIG, timeout=60)[0]) for process in processes)
    return server, command


def _config_line(output: str) -> str:
    return next((line.removeprefix(">>> ") for line in output.splitlines() if line.endswith(KEY)), output)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    return path


def test_server_and_commands_read_the_same_file(checkout: Path) -> None:
    (checkout / ".env").write_text(f"PARLEY_DATA_DIR=there\nPARLEY_JWT_SECRET_KEY='{KEY}'\n")
    assert run_both(checkout) == (f"there {KEY}",) * 2


def test_environment_wins(checkout: Path) -> None:
    (checkout / ".env").write_text("PARLEY_DATA_DIR=there\nPARLEY_JWT_SECRET_KEY=short\n")
    variables = {"PARLEY_DATA_DIR": "here", "PARLEY_JWT_SECRET_KEY": f"other {KEY}"}
    assert run_both(checkout, **variables) == (f"here other {KEY}",) * 2


@pytest.mark.slow
def test_environment_wins_in_either_form(checkout: Path, secret_file: Path) -> None:
    (checkout / ".env").write_text(f"PARLEY_DATA_DIR=there\nPARLEY_JWT_SECRET_KEY_FILE='{secret_file}'\n")
    assert run_both(checkout) == (f"there {KEY}",) * 2
    assert run_both(checkout, PARLEY_JWT_SECRET_KEY=f"other {KEY}") == (f"there other {KEY}",) * 2
    (checkout / ".env").write_text(f"PARLEY_DATA_DIR=there\nPARLEY_JWT_SECRET_KEY='other {KEY}'\n")
    assert run_both(checkout, PARLEY_JWT_SECRET_KEY_FILE=str(secret_file)) == (f"there {KEY}",) * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", [".env", ".flaskenv"])
def test_rejects_a_file_that_flask_alone_would_read(checkout: Path, name: str) -> None:
    above = checkout.parent / name
    above.write_text(f"PARLEY_DATA_DIR=elsewhere\nPARLEY_JWT_SECRET_KEY='{KEY}'\n")
    _, command = run_both(checkout, PARLEY_JWT_SECRET_KEY=KEY)
    assert f"Error: {above} has 'PARLEY_DATA_DIR'" in command
    above.write_text("EDITOR=vi\n")
    assert run_both(checkout, PARLEY_JWT_SECRET_KEY=KEY, PARLEY_DATA_DIR="here") == (f"here {KEY}",) * 2


@pytest.mark.slow
def test_flask_skip_dotenv_disables_it(checkout: Path) -> None:
    (checkout / ".env").write_text("PARLEY_DATA_DIR=there\n")
    variables = {"FLASK_SKIP_DOTENV": "1", "PARLEY_JWT_SECRET_KEY": KEY}
    assert run_both(checkout, **variables) == (f"data {KEY}",) * 2


def test_reports_a_file_that_is_not_utf8(checkout: Path) -> None:
    (checkout / ".env").write_bytes(b"\xff\xfe")
    assert ".env cannot be read: it is not UTF-8." in run_both(checkout)[0]
