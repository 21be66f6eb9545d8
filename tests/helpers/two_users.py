"""A server with two users: what a greedy one does to another."""

from __future__ import annotations

import socket
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.helpers.process import ServerProcess, create_user

MIB = 1_048_576


class TwoUsers:
    """A server with two users; one has a long conversation."""

    def __init__(self, server: ServerProcess):
        self.server = server
        self.greedy, self.other = create_user(server.data, "greedy"), create_user(server.data, "other")
        messages = [{"role": "user", "content": f"word{number} " + "x" * 8_000} for number in range(1_024)]
        document = {"session": {}, "messages": messages}
        imported = server.request("POST", "/api/sessions/import", document, self.greedy)[1]
        self.long = f"/api/sessions/{imported['session']['id']}"
        own = server.request("POST", "/api/sessions/import", document | {"messages": messages[:200]}, self.other)[1]
        self.own = f"/api/sessions/{own['session']['id']}"

    def send_and_read_nothing(
        self, path: str, token: str | None, source: str = "127.0.0.1", room: int = 4_096
    ) -> socket.socket:
        """Send a request as a client with little room for its response, and read nothing."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        connection.settimeout(60)
        connection.bind((source, 0))
        connection.connect(self.server.address)
        connection.sendall(request_header("GET", path, token))
        return connection

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.server.process.pid)


def request_header(method: str, path: str, token: str | None, **fields: Any) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: parley"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()
