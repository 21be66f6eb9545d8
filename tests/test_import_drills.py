"""Large imports on a real server: how long other users wait, and how much memory they take."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]
import pytest

from tests.helpers.clock import wait_until
from tests.helpers.process import ServerProcess, create_user
from tests.helpers.waits import assert_below, measured_waits

pytestmark = pytest.mark.slow

MIB = 1_048_576
SIZE = 59 * MIB
LONG_NUMBER = b"[" + b"9" * 30 + b","
MESSAGE = {"role": "user", "content": "The payment queue was full. " * 14, "metadata": {"model": "llama"}}


def repeat(start: bytes, item: bytes, end: bytes, max_count: int = 10**9) -> bytes:
    count = min(SIZE // (len(item) + 1), max_count)
    return start + b",".join([item] * count) + end


def conversation(message_count: int) -> bytes:
    return json.dumps({"version": 1, "session": {}, "messages": [MESSAGE] * message_count}).encode()


NODES = {
    str(n): {"parent": str(n - 1), "message": {"author": {"role": "user"}, "content": {"parts": ["what " * 400]}}}
    for n in range(20_000)
}
BODIES: dict[str, tuple[str, Callable[[], bytes], int]] = {
    # name: the path, the body, and the maximum of MiB that the process may grow
    "an array of conversations": ("/api/import", lambda: repeat(b"[", conversation(2_000), b"]"), 64),
    "an array of empty lists": ("/api/import", lambda: repeat(b"[", b"[]", b"]", 4_000_000), 64),
    "an array with a long number": ("/api/import", lambda: repeat(LONG_NUMBER, b"[]", b"]", 1_000_000), 64),
    "lines, the first one broken": ("/api/import", lambda: b'{"a":\n' + (conversation(20) + b"\n") * 6_500, 64),
    "one long conversation": ("/api/sessions/import", lambda: conversation(100_000), 192),
    "tiny messages": (
        "/api/sessions/import",
        lambda: repeat(b'{"session":{},"messages":[', b'{"role":"user","content":"x"}', b"]}", 500_000),
        192,
    ),
    "too many values": ("/api/sessions/import", lambda: repeat(b'{"session":{},"messages":[', b"[]", b"]}"), 192),
    "one long foreign conversation": ("/api/import", lambda: json.dumps({"mapping": NODES}).encode(), 256),
}


class Measurement(NamedTuple):
    """The status of an import, the longest wait of another user, and how many MiB the process grew meanwhile."""

    status: int
    longest_wait: float
    growth: int


def measure_import(server: ServerProcess, path: str, body: bytes, token: str, other: str) -> Measurement:
    """Import as one user, and send requests as another until it is done."""
    process = psutil.Process(server.process.pid)
    before = peak = process.memory_info().rss
    statuses: list[int] = []

    def send() -> None:
        with closing(http.client.HTTPConnection(*server.address, timeout=300)) as connection:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request("POST", path, body, headers)
            with connection.getresponse() as response:
                response.read()
            statuses.append(response.status)

    sender = threading.Thread(target=send)
    with measured_waits(server, other, ("GET", "/healthz", None), ("GET", "/api/sessions?limit=5", None)) as waits:
        sender.start()
        while sender.is_alive():
            peak = max(peak, process.memory_info().rss)
            sender.join(0.005)
    (status,) = statuses
    wait_until(lambda: process.memory_info().rss - before < 128 * MIB, "the memory is freed")
    return Measurement(status, max(waits), (peak - before) // MIB)


@pytest.mark.parametrize("name", BODIES)
def test_large_import_delays_no_other_request(tmp_path: Path, name: str) -> None:
    path, create, max_growth = BODIES[name]
    body = create()
    token, other = create_user(tmp_path / "data"), create_user(tmp_path / "data", "bob")

    def longest_wait() -> float:
        with ServerProcess(tmp_path / "data", LOG_LEVEL="WARNING") as server:
            measured = measure_import(server, path, body, token, other)
        print(f"\n{name}: {measured}")  # noqa: T201  # figures, with pytest -s
        assert measured.status in (200, 201, 400)
        assert measured.growth < max_growth
        return measured.longest_wait

    assert_below(0.25, longest_wait)


def test_large_import_is_created_once_per_key(tmp_path: Path) -> None:
    token = create_user(tmp_path / "data")
    body = conversation(20_000)
    key = {"Idempotency-Key": "once"}
    with ServerProcess(tmp_path / "data", LOG_LEVEL="WARNING") as server:
        first, again = (server.request("POST", "/api/sessions/import", body, token, key) for _ in range(2))
        assert (first[0], again[0]) == (201, 201)
        assert first[1] == again[1]
        other = server.request("POST", "/api/sessions/import", body.replace(b"full", b"long", 1), token, key)
        assert (other[0], other[1]["error"]) == (409, "conflict")
        truncated = server.request("POST", "/api/sessions/import", body[:-1], token)
        assert (truncated[0], truncated[1]) == (400, {"error": "invalid_json"})
        bad = body[:-2] + b',{"role":"tool","content":"x"}]}'
        refused = server.request("POST", "/api/sessions/import", bad, token)
        assert refused[1]["details"] == {"messages": {"20000": {"role": ["Must be one of: user, assistant, system."]}}}
        assert len(server.request("GET", "/api/sessions", token=token)[1]["items"]) == 1
