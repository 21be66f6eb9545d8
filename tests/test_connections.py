"""Requests over one connection, and the methods that a path accepts."""

from __future__ import annotations

import http.client
import json
from contextlib import closing

import pytest

from tests.helpers.long_documents import document
from tests.helpers.process import ServerProcess
from tests.helpers.raw_http import CLOSE, exchange, parse_responses, raw_request


def test_pipelined_requests_are_served_in_their_order(server: ServerProcess, token: str) -> None:
    kinds = [
        ("GET", "/healthz", b"", 200),
        ("POST", "/api/sessions", b'{"title":"pipelined"}', 201),
        ("GET", "/api/sessions", b"", 200),
        ("HEAD", "/api/sessions", b"", 200),
        ("POST", "/api/sessions/import", json.dumps(document("x")).encode(), 201),
        ("PATCH", "/api/sessions/nowhere", b'{"title":"x"}', 404),
        ("POST", "/api/sessions", b"{", 400),
    ] * 4
    sent = b"".join(
        raw_request(method, path, body, token, {"X-Request-Id": str(number)})
        for number, (method, path, body, _) in enumerate(kinds)
    )
    methods = [method for method, *_ in kinds]
    responses = parse_responses(exchange(server, sent + raw_request("GET", "/healthz", headers=CLOSE)), *methods, "GET")
    assert [response.status for response in responses] == [*(status for *_, status in kinds), 200]
    assert [response.headers["X-Request-Id"] for response in responses[:-1]] == [str(n) for n in range(len(kinds))]


def test_one_connection_serves_many_requests(server: ServerProcess, token: str) -> None:
    with closing(http.client.HTTPConnection(*server.address, timeout=30)) as connection:
        connection.connect()
        port = connection.sock.getsockname()
        for _ in range(50):
            connection.request("GET", "/api/sessions", headers={"Authorization": f"Bearer {token}"})
            with connection.getresponse() as response:
                assert (response.status, bool(response.read())) == (200, True)
        assert connection.sock.getsockname() == port


def test_http_1_0_is_served_and_closed(server: ServerProcess) -> None:
    (response,) = parse_responses(exchange(server, b"GET /healthz HTTP/1.0\r\n\r\n"), "GET")
    assert (response.status, response.json) == (200, {"status": "ok"})


def test_head_is_get_without_the_body(server: ServerProcess, token: str) -> None:
    _, imported, _ = server.request("POST", "/api/sessions/import", document("x"), token)
    session = f"/api/sessions/{imported['session']['id']}"
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs", "/api/sessions", session, f"{session}/export"):
        sent = raw_request("HEAD", path, token=token) + raw_request("GET", path, token=token, headers=CLOSE)
        head, get = parse_responses(exchange(server, sent), "HEAD", "GET")
        assert head.status == get.status == 200
        assert head.body == b"" != get.body
        assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.body))


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("/api/sessions", {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}),
        ("/api/sessions/import", {"POST", "OPTIONS"}),
        ("/api/sessions/0190", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("/api/sessions/0190/messages", {"GET", "HEAD", "POST", "OPTIONS"}),
    ],
)
def test_a_path_accepts_the_methods_in_its_allow_header(
    server: ServerProcess, token: str, path: str, methods: set[str]
) -> None:
    _, _, asked = server.request("OPTIONS", path, token=token)
    assert set(asked["Allow"].split(", ")) == methods
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        status, _, headers = server.request(method, path, None, token)
        assert (status != 405) is (method in methods)
        if status == 405:
            assert set(headers["Allow"].split(", ")) == methods
