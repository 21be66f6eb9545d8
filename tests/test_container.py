"""What the container image is built from: its health check and its requirements."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.helpers.process import ROOT, ServerProcess, environment


def test_health_check_reports_whether_the_server_runs(tmp_path: Path) -> None:
    """The very command of the Dockerfile, against a running server and against none."""
    found = re.search(r"HEALTHCHECK.*\\\n\s+CMD (.*)", (ROOT / "Dockerfile").read_text())
    assert found
    command = [sys.executable, *json.loads(found[1])[1:]]
    with ServerProcess(tmp_path / "data") as server:
        environ = environment(tmp_path / "data", PORT=server.address[1])
        assert subprocess.run(command, env=environ, timeout=30).returncode == 0
        server.stop()
        assert subprocess.run(command, env=environ, timeout=30, stderr=subprocess.DEVNULL).returncode != 0


REQUIREMENTS = ("requirements.txt", "requirements-postgresql.txt")


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_are_pinned(name: str) -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines if line)


def test_image_has_what_both_databases_need() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (copied,) = re.findall(r"^COPY (.+) \./$", dockerfile, re.MULTILINE)
    (installed,) = re.findall(r"^RUN pip install (.+)$", dockerfile, re.MULTILINE)
    assert copied.split() == [*REQUIREMENTS]
    assert re.findall(r"-r (\S+)", installed) == [*REQUIREMENTS]


def test_installed_driver_is_the_pinned_one() -> None:
    """What the tests run on is what the image has."""
    lines = (ROOT / "requirements-postgresql.txt").read_text().splitlines()
    pins = dict(line.partition("#")[0].strip().split("==") for line in lines if "==" in line)
    assert pins == {name: version(name) for name in pins}
    assert pins.keys() == {"psycopg", "psycopg-binary"}
