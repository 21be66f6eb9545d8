"""What is not HTTP, or an odd path, is the client's error and never the server's."""

from __future__ import annotations

import pytest

from tests.helpers.process import ServerProcess
from tests.helpers.raw_http import CLOSE, exchange, parse_error, parse_responses, raw_request

HOST = b"Host: parley\r\n"
MALFORMED = {
    "garbage": (b"garbage\r\n\r\n", 400),
    "binary": (bytes(range(128, 256)) + b"\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "method": (b"get /healthz HTTP/1.1\r\n\r\n", 400),
    "no version": (b"GET /healthz HTTP/x\r\n\r\n", 400),
    "raw byte": (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "address": (b"GET http://[::1 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "header": (b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n", 400),
    "folded": (b"GET /healthz HTTP/1.1\r\n folded: x\r\n\r\n", 400),
    "bare CR": (b"GET /healthz HTTP/1.1\r\nA: b\rc\r\n\r\n", 400),
    "length in words": (b"POST /api/sessions HTTP/1.1\r\nContent-Length: abc\r\n\r\n", 400),
    "length below 0": (b"POST /api/sessions HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "two lengths": (b"POST /api/sessions HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "endless length": (b"POST /api/sessions HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400),
    "chunk size": (b"POST /api/sessions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "chunk end": (b"POST /api/sessions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n", 400),
    "chunks, and much more": (
        b"POST /api/sessions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + b"x" * 1_000_000, 400
    ),
    "long header": (b"GET /healthz HTTP/1.1\r\nA: " + b"x" * 300_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 200_000 + b"\r\n", 431),
    "long line": (b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\n\r\n", 431),
    "encoding": (b"POST /api/sessions HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
}  # fmt: skip
CODES = {400: "bad_request", 431: "headers_too_large", 501: "not_implemented"}


@pytest.mark.parametrize(("sent", "status"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_request_is_rejected_and_closes_its_connection(
    server: ServerProcess, sent: bytes, status: int
) -> None:
    assert parse_error(exchange(server, sent)) == (status, CODES[status])
    assert server.request("GET", "/healthz")[0] == 200
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    "path",
    [
        "/%ff", "/%00", "/%2f", "/%zz", "/%", "/%c0%af", "/%ed%a0%80", "//", "///", "//api/sessions",
        "/api/sessions/%ff", "/api/sessions/%00", "/api/sessions/%2f", "/api/sessions/%zz", "/api/sessions/%c0%af",
        "/api/sessions/%00/export", "/api/sessions/%ff/export", "/api/sessions/%F0%9F%92%A9", "/api/sessions?%ff=%00",
        "/api%2fsessions", "/api/../api/sessions", "/docs/%00", "/docs/%ff", "/docs/..%2f..%2fapp.py",
        "http://127.0.0.1/%ff", "/api/sessions/" + "x" * 100_000,
    ],
)  # fmt: skip
def test_odd_path_is_not_an_internal_error(server: ServerProcess, token: str, path: str) -> None:
    methods = ("GET", "HOST", "DELETE", "OPTIONS")
    sent = b"".join(
        raw_request(method, path, token=token, headers=CLOSE if method == methods[-1] else None) for method in methods
    )
    for response in parse_responses(exchange(server, sent), *methods):
        assert response.status in (200, 204, 400, 404, 405)
        if response.status >= 400 and response.body:
            assert response.json.keys() == {"error"}
    assert "internal error" not in server.log.read_text()
