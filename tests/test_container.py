"""What the container image is built from: its health check and its requirements."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

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


def test_requirements_are_pinned() -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines if line)
