"""What the servers are given, and what they are asked for."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from benchmarks.servers import Server

TEXT = "the queue of payment is full again – naïve retry, see runbook; latency rises on node seven since 09:30 ✓"


def message(number: int) -> dict[str, Any]:
    chosen, words = random.Random(number), TEXT.split()
    content = " ".join(chosen.choice(words) for _ in range(55))
    role = ("user", "assistant")[number % 2]
    return {"role": role, "content": content, "metadata": {"model": "m"} if number % 10 == 0 else {}}


def document(count: int) -> bytes:
    moment = "2026-01-31T09:30:00.000Z"
    messages = [message(number) | {"created_at": moment} for number in range(count)]
    return json.dumps({"version": 1, "session": {"title": str(count)}, "messages": messages}).encode()


def imported(server: Server, body: bytes, user: int = 0) -> str:
    """Import a document and return the path of its session."""
    _, answer = server.send("POST", "/api/sessions/import", body, user)
    return f"/api/sessions/{json.loads(answer)['session']['id']}"


def fill(server: Server) -> None:
    """Give a server the data that the rows read: 32 sessions, three of them with messages."""
    for count in (10, 100, 1_000):
        server.paths[f"read {count:,}"] = imported(server, document(count))
    for _ in range(29):
        server.send("POST", "/api/sessions", b"{}")
    _, created = server.send("POST", "/api/sessions", b"{}", user=1)
    server.paths["append"] = f"/api/sessions/{json.loads(created)['id']}/messages"


class Request(NamedTuple):
    method: str
    path: str
    body: bytes = b""
    user: int = 0


def requests(server: Server) -> dict[str, Request]:
    """The requests of the loaded rows, by the names of the rows."""
    reads = {name: Request("GET", path) for name, path in server.paths.items() if name.startswith("read")}
    return {
        "list of 32": Request("GET", "/api/sessions"),
        **reads,
        "append": Request("POST", server.paths["append"], json.dumps(message(1), ensure_ascii=False).encode(), 1),
        "create": Request("POST", "/api/sessions", b'{"title":"An incident"}', 1),
    }
