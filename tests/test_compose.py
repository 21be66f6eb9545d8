"""The compose files: their settings exist, their secrets are files, their load balancer's configuration is valid."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import config
from database.postgresql import OTHER_CONNECTIONS
from server.loop import GRACEFUL_SHUTDOWN_TIMEOUT
from services.readiness import NOTICE_SECONDS
from tests.helpers.load_balancer import COMPOSE, HAS_CADDY, caddyfile
from tests.helpers.process import ROOT

FILES = [ROOT / "compose.yaml", COMPOSE]
REPLICAS = ["parley-1", "parley-2"]
SETTINGS = {setting.name: setting for setting in config.SETTINGS}


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


@pytest.fixture
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = load(COMPOSE)["services"]
    return loaded


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_settings_exist(path: Path) -> None:
    names = [name for service in load(path)["services"].values() for name in service.get("environment", {})]
    own = [name for name in names if name.startswith("PARLEY_")]
    assert own
    assert {name.removesuffix("_FILE") for name in own} <= SETTINGS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_this_machine_is_served(path: Path) -> None:
    """Whoever wants more puts a proxy with TLS in front."""
    ports = [port for service in load(path)["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8080:8080"]


def test_there_are_two_equal_replicas(services: dict[str, Any]) -> None:
    assert services["parley-1"] == services["parley-2"]
    assert services["parley-1"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["parley-1"]["environment"]["PARLEY_TRUSTED_PROXIES"] == 1


def test_secrets_are_files_that_the_commands_in_it_make(services: dict[str, Any]) -> None:
    secrets = load(COMPOSE)["secrets"]
    made = set(re.findall(r"secrets/(\w+)$", COMPOSE.read_text().partition("x-parley")[0], re.MULTILINE))
    (loop,) = re.findall(r"for name in ([\w ]+); do", COMPOSE.read_text())
    assert {each["file"] for each in secrets.values()} == {f"secrets/{name}" for name in made | set(loop.split())}
    for service in services.values():
        granted = {f"/run/secrets/{name}" for name in service.get("secrets", [])}
        read = {value for name, value in service.get("environment", {}).items() if name.endswith("_FILE")}
        assert granted == read
        assert not any(re.search("PASSWORD$|_KEY$|_URL$", name) for name in service.get("environment", {}))
    assert "/secrets/" in (ROOT / ".gitignore").read_text().split()


def test_commands_make_secrets_that_start_the_service(tmp_path: Path) -> None:
    commands = re.findall(r"^#   ((?:umask|echo) .+)$", COMPOSE.read_text(), re.MULTILINE)
    assert len(commands) == 2
    subprocess.run(["bash", "-ec", "\n".join(commands)], cwd=tmp_path, check=True)
    folder = tmp_path / "secrets"
    password, key, url = (
        (folder / name).read_text().strip() for name in ("postgres_password", "jwt_secret_key", "database_url")
    )
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert url == f"postgresql://parley:{password}@postgres/parley"
    assert re.fullmatch("[0-9a-f]{64}", password)
    assert key != password
    validate = SETTINGS["PARLEY_JWT_SECRET_KEY"].validate
    assert validate
    validate(key)


def test_time_to_stop_is_enough(services: dict[str, Any]) -> None:
    (seconds,) = re.findall(r"^(\d+)s$", services["parley-1"]["stop_grace_period"])
    assert int(seconds) > NOTICE_SECONDS + GRACEFUL_SHUTDOWN_TIMEOUT


def test_database_is_as_parley_needs_it(services: dict[str, Any]) -> None:
    postgres = services["postgres"]
    assert re.fullmatch(r"postgres:1[78]", postgres["image"])
    assert postgres["environment"]["POSTGRES_INITDB_ARGS"] == "--locale=C.UTF-8 --encoding=UTF8"
    connections = 2 * SETTINGS["PARLEY_THREADS"].default + OTHER_CONNECTIONS
    assert len(REPLICAS) * connections < 97, "more than PostgreSQL accepts as it is"


def test_load_balancer_knows_the_replicas(services: dict[str, Any]) -> None:
    assert services["load-balancer"]["depends_on"] == REPLICAS
    assert re.findall(r"^\treverse_proxy (.+) {$", caddyfile(), re.MULTILINE) == [
        " ".join(f"{name}:{SETTINGS['PARLEY_PORT'].default}" for name in REPLICAS)
    ]
    assert "$" not in caddyfile(), "docker compose would replace it"


def test_load_balancer_notices_in_time_that_a_replica_stops() -> None:
    seconds = dict(re.findall(r"^\t\thealth_(interval|timeout) (\d+)s$", caddyfile(), re.MULTILINE))
    assert sum(map(int, seconds.values())) < NOTICE_SECONDS


@pytest.mark.skipif(not HAS_CADDY, reason="Caddy is not installed")
def test_load_balancer_accepts_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "Caddyfile"
    path.write_text(caddyfile())
    checked = subprocess.run(
        ["caddy", "validate", "--adapter", "caddyfile", "--config", str(path)], capture_output=True, text=True
    )
    assert (checked.returncode, "Valid configuration" in checked.stdout) == (0, True), checked.stderr
