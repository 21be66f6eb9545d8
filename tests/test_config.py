"""Settings: their validation, warnings of unknown ones, and errors at the start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import config
from app import create_app
from tests.helpers.process import PASSWORD, ROOT, ServerProcess, failed_start, run_flask
from tests.helpers.webhook_receiver import SECRET


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
def test_warns_of_unknown_settings(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "hunter2")
    create_app(settings)
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{name!a} is not a setting; the nearest is {nearest}" in line
    assert "hunter2" not in line
    if nearest:
        assert line.endswith(nearest)


def test_does_not_warn_of_known_settings(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
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


def test_json_format_holds_for_all_lines(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", LOG_FORMAT="json", LOG_LEVEL="WARNING", THREDS="4") as server:
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        assert [list(line) for line in lines] == [["time", "level", "request_id", "message"]] * 2
        assert [line["level"] for line in lines] == ["WARNING", "INFO"]
        assert "PARLEY_THREADS" in lines[0]["message"]
        assert lines[1]["message"].startswith(f"Parley listens on {server.url}, open it in a browser; database ")
        assert "no user yet" in lines[1]["message"]


@pytest.mark.parametrize("host", ["nowhere.invalid", "", "127.0.0.1:80", "a..b", "x" * 300])
def test_rejects_hosts_without_an_address(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("PARLEY_HOST", host)
    with pytest.raises(config.StartupError) as raised:
        config.load({"PARLEY_DATA_DIR": "here"})
    assert raised.value.message == "PARLEY_HOST: Neither an address nor a name that has one."


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "[::1]", "localhost", "*"])
def test_accepts_hosts_with_an_address(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("PARLEY_HOST", host)
    assert config.load({"PARLEY_DATA_DIR": "here"})["PARLEY_HOST"] == host


@pytest.mark.parametrize("invalid", [{"PORT": "x"}, {"ACTIONS_FILE": "missing.toml"}])
def test_json_format_holds_for_startup_errors(tmp_path: Path, invalid: dict[str, str]) -> None:
    line = json.loads(failed_start(tmp_path, LOG_FORMAT="json", **invalid))
    assert list(line) == ["time", "level", "request_id", "message"]
    assert line["level"] == "ERROR"
    assert line["message"].startswith(f"Error: PARLEY_{next(iter(invalid))}: ")


def test_commands_ignore_settings_that_they_do_not_read(tmp_path: Path) -> None:
    actions: dict[str, Any] = {"ACTIONS_FILE": ROOT / "examples/actions.toml"}
    invalid = {"DOCS_DIR": "missing", "LLM_BASE_URL": "ftp://model", "THREADS": "many", "TRUSTED_PROXIES": "-1"}
    created = run_flask(tmp_path, "users", "add", "alice", "--password", PASSWORD, **actions, **invalid)
    assert created.returncode == 0, created.stderr
    message = failed_start(tmp_path, **actions, **invalid)
    assert all(f"PARLEY_{name}: " in message for name in invalid if name != "DOCS_DIR")
    assert "line 7: secret_env: RESTART_SECRET is not in the environment" in failed_start(tmp_path, **actions)
    assert "PARLEY_DOCS_DIR: missing is not a folder" in failed_start(tmp_path, DOCS_DIR="missing")


def test_commands_check_settings_that_they_read(tmp_path: Path) -> None:
    failed = run_flask(tmp_path, "users", "list", DATABASE_URL="mysql://x")
    assert (failed.returncode, "PARLEY_DATABASE_URL" in failed.stderr) == (1, True)
