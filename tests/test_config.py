"""Where settings come from, alike for the server and the commands, and what the service says at its start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cli
import config
import limits
from app import create_app
from tests.conftest import ApiClient
from tests.helpers.process import ROOT, ServerProcess, environment, flask
from tests.helpers.webhook_receiver import SECRET
from version import VERSION

KEY = "a key that is long enough for those who sign with it"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the code, where a ``.env`` can be put beside ``app.py``."""
    folder = tmp_path / "parley"
    folder.mkdir()
    for path in [*ROOT.glob("*.py"), ROOT / "openapi.json"]:
        shutil.copy(path, folder)
    packages = {path.parent.name for path in ROOT.glob("[a-z]*/__init__.py")} - {"tests", "benchmarks"}
    for name in packages | {"migrations"}:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


TELL = "import flask; c = flask.current_app.config; print(c['PARLEY_DATA_DIR'], c['JWT_SECRET_KEY'])"
SERVE = (
    "import sys, app, server; sys.argv = ['app.py']; server.serve = lambda app: app.app_context().push(); "
    f"app.main(); {TELL}"
)


def started(folder: Path, **variables: str) -> tuple[str, str]:
    """Return the data folder and the secret of ``python app.py``, and those of ``flask``; or all that it says."""
    environ = {k: v for k, v in environment(folder).items() if k not in ("PARLEY_DATA_DIR", "FLASK_SKIP_DOTENV")}
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
    served, commanded = (_told(process.communicate(TELL, timeout=60)[0]) for process in processes)
    return served, commanded


def _told(said: str) -> str:
    return next((line.removeprefix(">>> ") for line in said.splitlines() if line.endswith(KEY)), said)


def start(data: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a server that does not come to serving."""
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment(data, **settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    return path


class TestEnvFile:
    def test_server_and_commands_read_the_same(self, checkout: Path) -> None:
        (checkout / ".env").write_text(f"PARLEY_DATA_DIR=there\nPARLEY_JWT_SECRET_KEY='{KEY}'\n")
        assert started(checkout) == (f"there {KEY}",) * 2

    def test_the_environment_wins(self, checkout: Path) -> None:
        (checkout / ".env").write_text("PARLEY_DATA_DIR=there\nPARLEY_JWT_SECRET_KEY=short\n")
        variables = {"PARLEY_DATA_DIR": "here", "PARLEY_JWT_SECRET_KEY": f"other {KEY}"}
        assert started(checkout, **variables) == (f"here other {KEY}",) * 2

    @pytest.mark.slow
    def test_the_environment_wins_in_another_form(self, checkout: Path, secret_file: Path) -> None:
        (checkout / ".env").write_text(f"PARLEY_DATA_DIR=there\nPARLEY_JWT_SECRET_KEY_FILE='{secret_file}'\n")
        assert started(checkout) == (f"there {KEY}",) * 2
        assert started(checkout, PARLEY_JWT_SECRET_KEY=f"other {KEY}") == (f"there other {KEY}",) * 2
        (checkout / ".env").write_text(f"PARLEY_DATA_DIR=there\nPARLEY_JWT_SECRET_KEY='other {KEY}'\n")
        assert started(checkout, PARLEY_JWT_SECRET_KEY_FILE=str(secret_file)) == (f"there {KEY}",) * 2

    @pytest.mark.slow
    @pytest.mark.parametrize("name", [".env", ".flaskenv"])
    def test_a_file_that_flask_alone_would_read_is_refused(self, checkout: Path, name: str) -> None:
        above = checkout.parent / name
        above.write_text(f"PARLEY_DATA_DIR=elsewhere\nPARLEY_JWT_SECRET_KEY='{KEY}'\n")
        _, commanded = started(checkout, PARLEY_JWT_SECRET_KEY=KEY)
        assert f"Error: {above} has 'PARLEY_DATA_DIR'" in commanded
        above.write_text("EDITOR=vi\n")
        assert started(checkout, PARLEY_JWT_SECRET_KEY=KEY, PARLEY_DATA_DIR="here") == (f"here {KEY}",) * 2

    @pytest.mark.slow
    def test_none_is_read_where_flask_is_told_so(self, checkout: Path) -> None:
        (checkout / ".env").write_text("PARLEY_DATA_DIR=there\n")
        variables = {"FLASK_SKIP_DOTENV": "1", "PARLEY_JWT_SECRET_KEY": KEY}
        assert started(checkout, **variables) == (f"data {KEY}",) * 2

    def test_one_that_cannot_be_read_is_said(self, checkout: Path) -> None:
        (checkout / ".env").write_bytes(b"\xff\xfe")
        assert ".env cannot be read: it is not UTF-8." in started(checkout)[0]


class TestCommands:
    def test_they_work_where_what_they_do_not_need_is_wrong(self, tmp_path: Path) -> None:
        actions: dict[str, Any] = {"ACTIONS_FILE": ROOT / "examples/actions.toml"}
        wrong = {"DOCS_DIR": "missing", "LLM_BASE_URL": "ftp://model", "THREADS": "many", "TRUSTED_PROXIES": "-1"}
        made = flask(tmp_path, "users", "add", "alice", "--password", "correct horse", **actions, **wrong)
        assert made.returncode == 0, made.stderr
        refused = start(tmp_path, **actions, **wrong)
        assert refused.returncode == 1
        assert all(f"PARLEY_{name}: " in refused.stderr for name in wrong if name != "DOCS_DIR")
        refused = start(tmp_path, **actions)
        assert refused.returncode == 1
        assert "line 7: secret_env: RESTART_SECRET is not in the environment" in refused.stderr
        assert "PARLEY_DOCS_DIR: missing is not a folder" in start(tmp_path, DOCS_DIR="missing").stderr

    def test_what_they_do_need_is_checked(self, tmp_path: Path) -> None:
        refused = flask(tmp_path, "users", "list", DATABASE_URL="mysql://x")
        assert (refused.returncode, "PARLEY_DATABASE_URL" in refused.stderr) == (1, True)

    @pytest.mark.parametrize("arguments", [(), ("users",)])
    def test_without_a_command_they_say_which_there_are(self, tmp_path: Path, arguments: tuple[str, ...]) -> None:
        said = flask(tmp_path, *arguments)
        assert "add " in said.stdout + said.stderr if arguments else "users add NAME" in said.stdout + said.stderr

    def test_the_development_server_is_refused(self, tmp_path: Path) -> None:
        refused = flask(tmp_path, "run", "--port", "0")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("Error: flask run is Flask's own development server.")
        assert "make run" in refused.stderr

    def test_from_another_folder(self, tmp_path: Path) -> None:
        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            environ = environment(tmp_path / "data")
            command = [sys.executable, str(ROOT / "app.py"), *arguments]
            return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)

        empty = run("users", "list")
        assert f"No user yet in {tmp_path / 'data/parley.db'}" in empty.stderr
        assert f"--app {ROOT / 'app.py'} users add NAME" in empty.stderr
        missing = run("users", "token", "bob")
        assert f"There is no user 'bob' in {tmp_path / 'data/parley.db'}." in missing.stderr
        assert run("--version").stdout == f"Parley {VERSION}\n"
        assert run("nonsense").returncode == 2  # and is not served

    def test_the_version(self, tmp_path: Path) -> None:
        assert flask(tmp_path, "version").stdout == f"Parley {VERSION}\n"
        assert (ROOT / "CHANGELOG.md").read_text().startswith(f"# Changelog\n\n## {VERSION}\n")
        assert json.loads((ROOT / "openapi.json").read_text())["info"]["version"] == VERSION


class TestAbout:
    LIMITS = {
        "title": limits.MAX_TITLE_LENGTH,
        "content": limits.MAX_CONTENT_LENGTH,
        "system_prompt": limits.MAX_SYSTEM_PROMPT_LENGTH,
        "import_bytes": 67_108_864,
        "body_bytes": 1_048_576,
    }

    def test_with_nothing_set_up(self, anonymous: ApiClient) -> None:
        about = {"version": VERSION, "chat": False, "model": None, "actions": 0, "limits": self.LIMITS}
        answer = anonymous.get("/api/about")
        assert (answer.status_code, answer.get_json()) == (200, about)

    def test_with_all_set_up(self, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RESTART_SECRET", SECRET)
        more = {
            "PARLEY_LLM_BASE_URL": "http://127.0.0.1:9",
            "PARLEY_LLM_MODEL": "llama",
            "PARLEY_ACTIONS_FILE": str(ROOT / "examples/actions.toml"),
            "PARLEY_MAX_BODY_BYTES": 2_000,
        }
        about = ApiClient(create_app(settings | more).test_client(), None).get("/api/about").get_json()
        assert (about["chat"], about["model"], about["actions"]) == (True, "llama", 1)
        assert about["limits"] == self.LIMITS | {"body_bytes": 2_000}


class TestStart:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("PARLEY_LLM_URL", "PARLEY_LLM_BASE_URL"),
            ("PARLEY_DATADIR", "PARLEY_DATA_DIR"),
            ("PARLEY_JWT_SECRET_FILE", "PARLEY_JWT_SECRET_KEY_FILE"),
            ("PARLEY_LOGLEVEL", "PARLEY_LOG_LEVEL"),
            ("PARLEY_Ж\n2026", ""),
            ("PARLEY_", ""),
        ],
    )
    def test_an_unknown_setting_is_warned_of(
        self, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any, name: str, nearest: str
    ) -> None:
        monkeypatch.setenv(name, "hunter2")
        create_app(settings)
        (line,) = capsys.readouterr().out.splitlines()
        assert f"{name!a} is not a setting; the nearest is {nearest}" in line
        assert "hunter2" not in line
        if nearest:
            assert line.endswith(nearest)

    def test_what_is_known_is_not_warned_of(
        self, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PARLEY_RESTART", SECRET)
        monkeypatch.setenv("PARLEY_PASSWORD", "x")
        monkeypatch.setenv("NOT_PARLEY_THREADS", "x")
        for setting in config.SETTINGS:
            monkeypatch.setenv(f"{setting.name}_FILE", "")
            if setting.default is not None:
                monkeypatch.setenv(setting.name, str(setting.default))
        actions = tmp_path / "actions.toml"
        actions.write_text((ROOT / "examples/actions.toml").read_text().replace('"RESTART_SECRET"', '"PARLEY_RESTART"'))
        create_app(settings | {"PARLEY_ACTIONS_FILE": str(actions)})
        assert capsys.readouterr().out == ""

    def test_all_lines_are_json_where_the_log_is(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data", LOG_FORMAT="json", LOG_LEVEL="WARNING", THREDS="4") as server:
            lines = [json.loads(line) for line in server.log.read_text().splitlines()]
            assert [list(line) for line in lines] == [["time", "level", "request_id", "message"]] * 2
            assert [line["level"] for line in lines] == ["WARNING", "INFO"]
            assert "PARLEY_THREADS" in lines[0]["message"]
            assert lines[1]["message"].startswith(f"Parley listens on {server.url}, database ")
            assert "no user yet" in lines[1]["message"]

    @pytest.mark.parametrize("host", ["nowhere.invalid", "", "127.0.0.1:80", "a..b", "x" * 300])
    def test_a_host_that_has_no_address_is_named(self, tmp_path: Path, host: str) -> None:
        done = start(tmp_path, HOST=host)
        assert done.returncode == 1
        assert done.stderr == "Error: PARLEY_HOST: Neither an address nor a name that has one.\n"

    @pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "[::1]", "localhost", "*"])
    def test_a_host_that_has_one_is_taken(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        monkeypatch.setenv("PARLEY_HOST", host)
        assert config.load({"PARLEY_DATA_DIR": "here"})["PARLEY_HOST"] == host

    @pytest.mark.parametrize("wrong", [{"PORT": "x"}, {"ACTIONS_FILE": "missing.toml"}])
    def test_so_is_what_stops_it(self, tmp_path: Path, wrong: dict[str, str]) -> None:
        done = start(tmp_path, LOG_FORMAT="json", **wrong)
        line = json.loads(done.stderr)
        assert (done.returncode, done.stdout, list(line)) == (1, "", ["time", "level", "request_id", "message"])
        assert line["level"] == "ERROR"
        assert line["message"].startswith(f"Error: PARLEY_{next(iter(wrong))}: ")


@pytest.mark.parametrize("path", [os.environ["PATH"], f"{Path(sys.executable).parent}:/bin", "/usr/bin:/bin"])
def test_the_hint_names_a_flask_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("PATH", path)
    monkeypatch.chdir(ROOT)
    tried = subprocess.run(
        f"{cli.command_line()} version", shell=True, env=environment(tmp_path), capture_output=True, text=True
    )
    assert tried.stdout == f"Parley {VERSION}\n", tried.stderr


def test_the_hint_where_no_flask_lies_beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
