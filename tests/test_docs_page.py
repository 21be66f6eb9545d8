"""The page of the API's description, in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.helpers.openapi_checker import DOCUMENT
from tests.helpers.process import ServerProcess

pytestmark = pytest.mark.slow

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on the PATH")
def test_docs_page_shows_the_api_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    netlog = tmp_path / "net.json"
    with ServerProcess(tmp_path / "data") as server:
        done = subprocess.run(
            [
                str(BROWSER),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--virtual-time-budget=10000",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--log-net-log={netlog}",
                "--dump-dom",
                f"{server.url}/docs",
            ],
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    for shown in (
        "/api/sessions/{session_id}/export",
        "/api/auth/login",
        DOCUMENT["paths"]["/api/sessions/{session_id}/export"]["get"]["summary"],
    ):
        assert shown in done.stdout.replace("\u200b", "").replace("<wbr>", "")
    asked = urls_requested_by(netlog, server.url)
    assert f"{server.url}/openapi.json" in asked
    assert {urlsplit(url).netloc for url in asked} == {server.url.removeprefix("http://")}


def urls_requested_by(netlog: Path, origin: str) -> set[str]:
    """Return the URLs that a page of this origin asked for, and not the browser for itself."""
    params = [event.get("params", {}) for event in json.loads(netlog.read_text())["events"]]
    return {given["url"] for given in params if "url" in given and given.get("initiator") == origin}
