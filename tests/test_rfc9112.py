"""Raw requests, each of them tried: what is not to the letter of RFC 9112 is rejected, and its connection closed.

A proxy in front may read such a request as another one, or as two; the second could be smuggled in by anybody.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.helpers.process import ServerProcess
from tests.helpers.rfc9112_requests import ACCEPTED, REJECTED, coded, get

SMUGGLED = b"GET /healthz?smuggled HTTP/1.1\r\nHost: parley\r\nX-Request-Id: smuggled\r\n\r\n"


@pytest.fixture(scope="module")
def server(server: ServerProcess) -> Iterator[ServerProcess]:
    yield server
    assert "Traceback" not in server.log.read_text()


def responses(server: ServerProcess, sent: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Send requests, and return the responses until the connection is closed."""
    with server.connect() as connection:
        connection.sendall(sent)
        received: Any = io.BytesIO(b"".join(iter(partial(connection.recv, 65_536), b"")))
    received.makefile = lambda mode: received
    received.close = lambda: None
    found = []
    while received.tell() < len(received.getvalue()):
        response = http.client.HTTPResponse(received)
        response.begin()
        found.append((response.status, dict(response.headers), response.read()))
    return found


@pytest.mark.parametrize("sent", REJECTED.values(), ids=REJECTED)
def test_violation_is_rejected_and_closes_the_connection(server: ServerProcess, sent: bytes) -> None:
    ((status, headers, body),) = responses(server, sent + SMUGGLED)
    assert (status, body) == (400, b'{"error":"bad_request"}\n')
    assert headers["Connection"] == "close"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"
    assert server.request("GET", "/healthz")[0] == 200


@pytest.mark.parametrize(("sent", "status"), ACCEPTED.values(), ids=ACCEPTED)
def test_valid_request_is_served_and_leaves_the_connection_open(
    server: ServerProcess, sent: bytes, status: int
) -> None:
    last = get(b"Connection: close", b"X-Request-Id: the-last")
    (first, _, _), (second, headers, _) = responses(server, sent + last)
    assert (first, second, headers["X-Request-Id"]) == (status, 200, "the-last")


def test_unknown_transfer_coding_is_not_implemented(server: ServerProcess) -> None:
    ((status, headers, _),) = responses(server, coded(b"gzip, chunked") + SMUGGLED)
    assert (status, headers["Connection"]) == (501, "close")


@pytest.mark.parametrize("connection", [b"close", b"Close", b"keep-alive, close", b"x,close ,y"])
def test_connection_close_is_obeyed(server: ServerProcess, connection: bytes) -> None:
    ((status, headers, _),) = responses(server, get(b"Connection: " + connection) + SMUGGLED)
    assert (status, headers["Connection"]) == (200, "close")


def test_too_many_header_fields_are_rejected(server: ServerProcess) -> None:
    ((status, _, body),) = responses(server, get(*[b"A: b"] * 300))
    assert (status, body) == (431, b'{"error":"headers_too_large"}\n')


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_response_without_content_leaves_the_connection_open(server: ServerProcess, token: str, method: str) -> None:
    _, session, headers = server.request("POST", "/api/sessions", None, token)
    target = f"/api/sessions/{session['id']}".encode()
    fields = [f"Authorization: Bearer {token}".encode()]
    conditional = [*fields, b"If-None-Match: " + headers["ETag"].encode()] if "ETag" in headers else fields
    if method in ("GET", "HEAD"):
        _, _, read = server.request("GET", target.decode(), token=token)
        conditional = [*fields, b"If-None-Match: " + read["ETag"].encode()]
    sent = get(*conditional, line=b"%b %b HTTP/1.1" % (method.encode(), target))
    (first, headers, body), (second, *_) = responses(server, sent + get(b"Connection: close"))
    assert (first, body, second) == ({"DELETE": 204, "OPTIONS": 200}.get(method, 304), b"", 200)
    assert "Connection" not in headers
    assert ("Content-Type" in headers) is (method == "OPTIONS")
    assert headers["Cache-Control"] == ("private, no-cache" if first == 304 else "no-store")


@pytest.mark.parametrize(
    ("path", "cached"),
    [("/healthz", None), ("/docs", None), ("/nowhere", None), ("/api/sessions", "no-store"), ("/api/x", "no-store")],
)
def test_every_response_has_nosniff_and_its_cache_control(server: ServerProcess, path: str, cached: str | None) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        _, _, headers = server.request(method, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
        assert headers.get("Cache-Control") == cached or path == "/docs"
