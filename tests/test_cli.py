"""The command line itself: help, version, and how it is called."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from tests.helpers import engine
from tests.helpers.process import ROOT, environment, run_flask
from version import VERSION


@pytest.mark.parametrize("arguments", [(), ("users",)])
def test_without_a_command_lists_the_commands(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run_flask(tmp_path, *arguments)
    assert "add " in result.stdout + result.stderr if arguments else "users add NAME" in result.stdout + result.stderr


def test_flask_run_is_rejected(tmp_path: Path) -> None:
    failed = run_flask(tmp_path, "run", "--port", "0")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: flask run is Flask's own development server.")
    assert "make run" in failed.stderr


def test_app_py_runs_commands_from_another_folder(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environ = environment(tmp_path / "data")
        command = [sys.executable, str(ROOT / "app.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)

    empty = run("users", "list")
    assert f"No user yet in {engine.location(tmp_path / 'data')}" in empty.stderr
    assert f"--app {ROOT / 'app.py'} users add NAME" in empty.stderr
    missing = run("users", "token", "bob")
    assert f"There is no user 'bob' in {engine.location(tmp_path / 'data')}." in missing.stderr
    assert run("--version").stdout == f"Parley {VERSION}\n"
    assert run("nonsense").returncode == 2  # and is not served


def test_version_is_the_same_everywhere(tmp_path: Path) -> None:
    assert run_flask(tmp_path, "version").stdout == f"Parley {VERSION}\n"
    releases = re.findall(r"^## (\d\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == VERSION
    assert json.loads((ROOT / "openapi.json").read_text())["info"]["version"] == VERSION


@pytest.mark.parametrize("path", [os.environ["PATH"], f"{Path(sys.executable).parent}:/bin", "/usr/bin:/bin"])
def test_command_line_works_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("PATH", path)
    monkeypatch.chdir(ROOT)
    result = subprocess.run(
        f"{cli.command_line()} version", shell=True, env=environment(tmp_path), capture_output=True, text=True
    )
    assert result.stdout == f"Parley {VERSION}\n", result.stderr


def test_command_line_without_flask_beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.command_line() == f"{tmp_path}/python3 -m flask"
    (tmp_path / "local").mkdir()
    (tmp_path / "local/flask").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "local"))
    assert cli.command_line() == "flask"
    (tmp_path / "flask").touch(mode=0o755)
    assert cli.command_line() == os.path.relpath(tmp_path / "flask")
