"""HTTP by hand: bytes that are sent over a socket, and the responses in the bytes that come back."""

from __future__ import annotations

import http.client
import io
import json
import socket
from functools import partial
from typing import Any, NamedTuple

from tests.helpers.process import ServerProcess

CLOSE = {"Connection": "close"}


class Response(NamedTuple):
    """One response that was received."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Received(io.BytesIO):
    """Bytes that came over a connection, in the place of the socket that HTTPResponse reads."""

    def makefile(self, mode: str) -> _Received:
        return self

    def close(self) -> None:
        """Stay open for the next response."""


def raw_request(
    method: str, path: str, body: bytes = b"", token: str | None = None, headers: dict[str, str] | None = None
) -> bytes:
    """Return a request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: parley"]
    sent = {"Content-Type": "application/json", "Content-Length": str(len(body))} if body else {}
    sent |= {"Authorization": f"Bearer {token}"} if token else {}
    lines += [f"{name}: {value}" for name, value in (sent | (headers or {})).items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def exchange(server: ServerProcess, sent: bytes) -> bytes:
    """Send everything before reading anything, then read until the server closes the connection."""
    with server.connect() as connection:
        connection.sendall(sent)
        return read_to_end(connection)


def read_to_end(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    return b"".join(iter(partial(connection.recv, 65_536), b""))


def parse_responses(raw: bytes, *methods: str) -> list[Response]:
    """Return the responses to requests with these methods; there are no bytes besides."""
    received: Any = _Received(raw)
    responses = []
    for method in methods:
        response = http.client.HTTPResponse(received, method=method)
        response.begin()
        responses.append(Response(response.status, response.headers, response.read()))
    assert received.read() == b""
    return responses


def parse_error(raw: bytes) -> tuple[int, str]:
    """Return status and code of the only response, an error like all errors, and the last on its connection."""
    (response,) = parse_responses(raw, "POST")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Request-Id"]
    assert response.headers["Connection"] == "close"
    assert response.json.keys() == {"error"}
    return response.status, response.json["error"]
