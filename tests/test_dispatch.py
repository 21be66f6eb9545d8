"""Requests run where their views are marked, and the log says which one held the event loop."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

import errors
from server import loop_guard
from tests.helpers import engine
from tests.helpers.clock import wait_until
from tests.helpers.probe_app import HOLD_SECONDS
from tests.helpers.process import ServerProcess, create_user
from web.spec import POOLS

# Of views that use the database: if that is not near, a pool runs them.
LOOP, WRITER = ("MainThread", "write-batcher") if engine.server is None else ("database-", "database-")


class ProbeServer(ServerProcess):
    """The service with views that say where they run."""

    program = ("-m", "tests.helpers.probe_app")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("dispatch") / "data"
    with ProbeServer(data, LOG_FORMAT="json") as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def warnings(server: ServerProcess, path: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in server.log.read_text().splitlines()[1:]]
    return [entry for entry in entries if entry["level"] == "WARNING" and entry["path"] == path]


@pytest.mark.parametrize(
    ("path", "thread"),
    [
        ("/probe/inline", LOOP),
        ("/probe/batched", WRITER),
        ("/probe/unmarked", "background-"),
        ("/probe/deep/a/b", "background-"),
        *((f"/probe/{pool}", f"{pool}-") for pool in POOLS),
    ],
)
def test_a_view_runs_in_the_thread_it_is_marked_for(server: ServerProcess, path: str, thread: str) -> None:
    for sent in (path, f"/{path}", path.replace("p", "%70", 1)):
        status, name, _ = server.request("GET", sent)
        assert status == 200
        assert name.decode().startswith(thread)


@pytest.mark.sqlite
def test_a_large_body_for_the_write_batcher_runs_in_the_background(server: ServerProcess) -> None:
    small, large = (server.request("POST", "/probe/batched", b"x" * size)[1] for size in (65_536, 65_537))
    assert small == b"write-batcher"
    assert large.startswith(b"background-")


def test_a_deferred_response_is_sent_by_a_pool(server: ServerProcess) -> None:
    status, names, _ = server.request("GET", "/probe/stream")
    assert status == 200
    assert [name.split("-")[0] for name in names.decode().split()] == ["background"] * 3


def test_an_inline_view_that_holds_the_loop_is_logged(server: ServerProcess) -> None:
    path = "/probe/hold/inline"
    assert server.request("GET", f"{path}?q=private")[1] == b"MainThread"
    wait_until(lambda: bool(warnings(server, path)), "the warning is logged")
    (entry,) = warnings(server, path)
    assert entry["message"] == "a request held the event loop"
    assert (entry["method"], entry["path"]) == ("GET", path)
    assert HOLD_SECONDS * 1000 <= entry["ms"] < 10_000
    assert "private" not in server.log.read_text()


def test_parsing_that_holds_the_loop_is_logged(server: ServerProcess) -> None:
    token = create_user(server.data)
    assert server.request("POST", "/probe/unmarked?q=private", b"x" * 100_000, token)[0] == 200
    wait_until(lambda: bool(warnings(server, "/probe/unmarked")), "the warning is logged")
    assert warnings(server, "/probe/unmarked")[0]["method"] == "POST"
    assert "private" not in server.log.read_text()


def test_the_path_in_the_warning_cannot_forge_a_line(server: ServerProcess) -> None:
    path = "/probe/hold/a%0AForged%20%C3%A9%FF"
    assert server.request("GET", path)[0] == 200
    wait_until(lambda: bool(warnings(server, path)), "the warning is logged")


class Request:
    command, path, query = "GET", "/api/\xc3\xa9", "q=private"


@pytest.mark.parametrize(("held", "is_logged"), [(0.0, False), (0.04, False), (0.06, True), (3.0, True)])
def test_the_loop_may_be_held_for_50_ms(monkeypatch: pytest.MonkeyPatch, held: float, is_logged: bool) -> None:
    fields: list[Any] = []
    monkeypatch.setattr(errors.log, "warning", lambda message, extra: fields.append(extra["fields"]))
    monkeypatch.setattr(time, "perf_counter", lambda: 100.0 + held)
    loop_guard.check(Request(), 100.0)
    assert fields == [{"method": "GET", "path": "/api/%C3%A9", "ms": held * 1000}] * is_logged
