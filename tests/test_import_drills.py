"""What one user's import costs the others, and in memory."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import pytest

from tests.helpers.process import ServerProcess, create_user

pytestmark = pytest.mark.slow

MIB = 1_048_576
SIZE = 59 * MIB
LONG_NUMBER = b"[" + b"9" * 30 + b","
MESSAGE = {"role": "user", "content": "The payment queue was full. " * 14, "metadata": {"model": "llama"}}


def repeated(begin: bytes, item: bytes, end: bytes, most: int = 10**9) -> bytes:
    count = min(SIZE // (len(item) + 1), most)
    return begin + b",".join([item] * count) + end


def conversation(messages: int) -> bytes:
    return json.dumps({"version": 1, "session": {}, "messages": [MESSAGE] * messages}).encode()


NODES = {
    str(n): {"parent": str(n - 1), "message": {"author": {"role": "user"}, "content": {"parts": ["what " * 400]}}}
    for n in range(20_000)
}
BODIES: dict[str, tuple[str, Callable[[], bytes], int]] = {
    # what it is: the path, the body, and the most MiB that the process may grow
    "an array of conversations": ("/api/import", lambda: repeated(b"[", conversation(2_000), b"]"), 64),
    "an array of empty lists": ("/api/import", lambda: repeated(b"[", b"[]", b"]", 4_000_000), 64),
    "an array with a long number": ("/api/import", lambda: repeated(LONG_NUMBER, b"[]", b"]", 1_000_000), 64),
    "lines, the first one broken": ("/api/import", lambda: b'{"a":\n' + (conversation(20) + b"\n") * 6_500, 64),
    "one long conversation": ("/api/sessions/import", lambda: conversation(100_000), 192),
    "tiny messages": (
        "/api/sessions/import",
        lambda: repeated(b'{"session":{},"messages":[', b'{"role":"user","content":"x"}', b"]}", 500_000),
        192,
    ),
    "too many values": ("/api/sessions/import", lambda: repeated(b'{"session":{},"messages":[', b"[]", b"]}"), 192),
    "one long foreign conversation": ("/api/import", lambda: json.dumps({"mapping": NODES}).encode(), 256),
}


class Seen(NamedTuple):
    """What was seen of an import."""

    status: int
    answer: bytes
    seconds: float
    slowest: float
    grown: int
    kept: int


def watch(server: ServerProcess, path: str, body: bytes, token: str, other: str) -> Seen:
    """Import, and ask as another user all the while."""
    process = psutil.Process(server.process.pid)
    before = peak = process.memory_info().rss
    slowest = 0.0
    done: list[Any] = []

    def send() -> None:
        began = time.monotonic()
        connection = http.client.HTTPConnection(*server.address, timeout=300)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        done.extend((answer.status, answer.read(), time.monotonic() - began))
        connection.close()

    connection = http.client.HTTPConnection(*server.address, timeout=60)
    sender = threading.Thread(target=send)
    sender.start()
    while sender.is_alive():
        for asked in ("/healthz", "/api/sessions?limit=5"):
            began = time.monotonic()
            connection.request("GET", asked, headers={"Authorization": f"Bearer {other}"})
            assert connection.getresponse().read()
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.002)
        peak = max(peak, process.memory_info().rss)
    connection.close()
    time.sleep(1)
    status, answer, seconds = done
    return Seen(status, answer, seconds, slowest, (peak - before) // MIB, (process.memory_info().rss - before) // MIB)


@pytest.mark.parametrize("what", BODIES)
def test_a_large_import_keeps_nobody_waiting(tmp_path: Path, what: str) -> None:
    path, body, most = BODIES[what]
    token, other = create_user(tmp_path / "data"), create_user(tmp_path / "data", "bob")
    with ServerProcess(tmp_path / "data", LOG_LEVEL="WARNING") as server:
        server.request("POST", "/api/sessions", {}, other)
        seen = watch(server, path, body(), token, other)
    print(f"\n{what}: {seen._replace(answer=seen.answer[:100])}")  # noqa: T201  # figures, with pytest -s
    assert seen.status in (200, 201, 400)
    assert seen.slowest < 0.25
    assert seen.grown < most
    assert seen.kept < 128


def test_a_large_import_is_made_once_a_key(tmp_path: Path) -> None:
    token = create_user(tmp_path / "data")
    body = conversation(20_000)
    key = {"Idempotency-Key": "once"}
    with ServerProcess(tmp_path / "data", LOG_LEVEL="WARNING") as server:
        first, again = (server.request("POST", "/api/sessions/import", body, token, key) for _ in range(2))
        assert (first[0], again[0]) == (201, 201)
        assert first[1] == again[1]
        other = server.request("POST", "/api/sessions/import", body.replace(b"full", b"long", 1), token, key)
        assert (other[0], other[1]["error"]) == (409, "conflict")
        cut_off = server.request("POST", "/api/sessions/import", body[:-1], token)
        assert (cut_off[0], cut_off[1]) == (400, {"error": "invalid_json"})
        bad = body[:-2] + b',{"role":"tool","content":"x"}]}'
        refused = server.request("POST", "/api/sessions/import", bad, token)
        assert refused[1]["details"] == {"messages": {"20000": {"role": ["Must be one of: user, assistant, system."]}}}
        assert len(server.request("GET", "/api/sessions", token=token)[1]["items"]) == 1
