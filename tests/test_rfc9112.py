"""Raw requests, each of them tried: what is not to the letter of RFC 9112 is refused, and its connection closed.

A proxy in front may take such a request for another, or for two; the one behind it would be anybody's.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer

from server.parser import ChunkedBody, RequestParser
from tests.helpers.process import ServerProcess, create_user

BEHIND = b"GET /healthz?smuggled HTTP/1.1\r\nHost: parley\r\nX-Request-Id: smuggled\r\n\r\n"
LOGIN = b'{"username":"nobody","password":"x"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("rfc9112") / "data") as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def get(*fields: bytes, line: bytes = b"GET /healthz HTTP/1.1", host: bytes = b"Host: parley") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


def post(*fields: bytes, body: bytes = LOGIN, line: bytes = b"POST /api/auth/login HTTP/1.1") -> bytes:
    return get(b"Content-Type: application/json", *fields, line=line) + body


def chunks(body: bytes = b"%X\r\n%b\r\n0\r\n\r\n" % (len(LOGIN), LOGIN)) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def sized(value: bytes) -> bytes:
    return post(b"Content-Length: " + value)


def coded(value: bytes) -> bytes:
    return post(b"Transfer-Encoding: " + value, body=b"%X\r\n%b\r\n0\r\n\r\n" % (len(LOGIN), LOGIN))


SIZE = b"%d" % len(LOGIN)
REFUSED = {
    # Section 6: how long the body is
    "length and chunked": post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "length and an empty coding": post(b"Content-Length: " + SIZE, b"Transfer-Encoding:"),
    "length and identity": post(b"Content-Length: " + SIZE, b"Transfer-Encoding: identity"),
    "chunked in 1.0": post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", line=b"POST /api/auth/login HTTP/1.0"),
    "length and chunked in 1.0": post(
        b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", line=b"POST /api/auth/login HTTP/1.0"
    ),
    "length twice": post(b"Content-Length: " + SIZE, b"Content-Length: " + SIZE),
    "two lengths": post(b"Content-Length: " + SIZE, b"Content-Length: 5"),
    "length with a sign": sized(b"+" + SIZE),
    "length below zero": sized(b"-1"),
    "length as a list": sized(SIZE + b", " + SIZE),
    "length with a comma": sized(SIZE + b","),
    "empty length": sized(b""),
    "length in hexadecimal": sized(b"0x24"),
    "length with an underscore": sized(b"3_6"),
    "length with a point": sized(SIZE + b".0"),
    "length with a space": sized(b"3 6"),
    "length in other digits": sized("３６".encode()),
    "endless length": sized(b"9" * 5_000),
    "chunked twice": coded(b"chunked, chunked"),
    "chunked in two fields": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked not last": coded(b"chunked, gzip"),
    "identity": coded(b"identity"),
    "something like chunked": coded(b"xchunked"),
    "chunked with a parameter": coded(b"chunked;q=1"),
    "chunked in quotes": coded(b'"chunked"'),
    "chunked with a comma": coded(b"chunked,"),
    "a comma and chunked": coded(b", chunked"),
    "empty coding": coded(b""),
    "chunked with a vertical tab": coded(b"\x0bchunked"),
    "chunked with a next line": coded(b"chunked\x85"),
    "chunked folded": post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"),
    # Section 7.1: chunks
    "size with a prefix": chunks(b"0x5\r\n12345\r\n0\r\n\r\n"),
    "size with a sign": chunks(b"+5\r\n12345\r\n0\r\n\r\n"),
    "size below zero": chunks(b"-5\r\n12345\r\n0\r\n\r\n"),
    "size with an underscore": chunks(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    "size with a space before": chunks(b" 5\r\n12345\r\n0\r\n\r\n"),
    "size with a space behind": chunks(b"5 \r\n12345\r\n0\r\n\r\n"),
    "no size": chunks(b"\r\n5\r\n12345\r\n0\r\n\r\n"),
    "an extension alone": chunks(b";a=b\r\n12345\r\n0\r\n\r\n"),
    "enormous size": chunks(b"f" * 16 + b"\r\n12345"),
    "endless size": chunks(b"0" * 100_000),
    "endless extension": chunks(b"5;" + b"x" * 100_000),
    "bare LF behind the size": chunks(b"5\n12345\r\n0\r\n\r\n"),
    "bare LF in an extension": chunks(b"5;\n12345\r\n0\r\n\r\n"),
    "bare CR in an extension": chunks(b"5;a\rb\r\n12345\r\n0\r\n\r\n"),
    "NUL in an extension": chunks(b"5;a\x00\r\n12345\r\n0\r\n\r\n"),
    "a chunk without its end": chunks(b"5\r\n123450\r\n\r\n"),
    "a chunk with a bare LF": chunks(b"5\r\n12345\n0\r\n\r\n"),
    "a chunk with a bare CR": chunks(b"5\r\n12345\r0\r\n\r\n"),
    "a chunk that is longer": chunks(b"5\r\n123456\r\n0\r\n\r\n"),
    "an empty line between chunks": chunks(b"5\r\n12345\r\n\r\n0\r\n\r\n"),
    "a trailer that is none": chunks(b"0\r\nno colon\r\n\r\n"),
    "a trailer with a bare LF": chunks(b"0\r\nA: b\nC: d\r\n\r\n"),
    "an endless trailer": chunks(b"0\r\nA: " + b"x" * 100_000),
    # Section 5: fields
    "a space before the colon": get(b"Content-Length : 0"),
    "a tab before the colon": get(b"A\t: b"),
    "no name": get(b": b"),
    "no colon": get(b"A b"),
    "a space before the first": get(host=b" Host: parley"),
    "folded": get(b"A: b\r\n c"),
    "folded with a tab": get(b"A: b\r\n\tc"),
    "NUL in a value": get(b"A: b\x00c"),
    "bare CR in a value": get(b"A: b\rc"),
    "bare LF in a value": get(b"A: b\nContent-Length: 5"),
    "bare LF at the end": get(b"A: b\n"),
    "control in a value": get(b"A: b\x01c"),
    "NUL in a name": get(b"A\x00: b"),
    "a name in other letters": get("Ä: b".encode()),
    "a name with brackets": get(b"A[]: b"),
    "bare LFs": b"GET /healthz HTTP/1.1\nHost: parley\n\n",
    "bare LFs at the end": b"GET /healthz HTTP/1.1\r\nHost: parley\n\n",
    # Section 3: the request line
    "two spaces": get(line=b"GET  /healthz HTTP/1.1"),
    "a space in the target": get(line=b"GET /health z HTTP/1.1"),
    "a space at the end": get(line=b"GET /healthz HTTP/1.1 "),
    "a space at the start": get(line=b" GET /healthz HTTP/1.1"),
    "tabs": get(line=b"GET\t/healthz\tHTTP/1.1"),
    "no version": get(line=b"GET /healthz"),
    "no target": get(line=b"GET HTTP/1.1"),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2.0": get(line=b"GET /healthz HTTP/2.0"),
    "HTTP/1": get(line=b"GET /healthz HTTP/1"),
    "HTTP/1.10": get(line=b"GET /healthz HTTP/1.10"),
    "HTTP/01.1": get(line=b"GET /healthz HTTP/01.1"),
    "http/1.1": get(line=b"GET /healthz http/1.1"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in small letters": get(line=b"get /healthz HTTP/1.1"),
    "a mixed method": get(line=b"Get /healthz HTTP/1.1"),
    "a method that is no token": get(line=b"GE(T /healthz HTTP/1.1"),
    "a fragment": get(line=b"GET /healthz#x HTTP/1.1"),
    "NUL in the target": get(line=b"GET /health\x00z HTTP/1.1"),
    "raw bytes in the target": get(line=b"GET /\xc3\xa4 HTTP/1.1"),
    "a target without a slash": get(line=b"GET healthz HTTP/1.1"),
    "an authority": get(line=b"CONNECT parley:80 HTTP/1.1"),
    "an asterisk": get(line=b"GET * HTTP/1.1"),
    "another scheme": get(line=b"GET ftp://parley/healthz HTTP/1.1"),
    "a user in the target": get(line=b"GET http://a@parley/healthz HTTP/1.1"),
    "no host in the target": get(line=b"GET http:///healthz HTTP/1.1"),
    "half an address in the target": get(line=b"GET http://[::1/healthz HTTP/1.1"),
    # Section 3.2: Host
    "no Host": get(host=b""),
    "an empty Host": get(host=b"Host:"),
    "two Hosts": get(b"Host: parley"),
    "two different Hosts": get(b"Host: other"),
    "Host as a list": get(host=b"Host: parley, other"),
    "Host with a path": get(host=b"Host: parley/x"),
    "Host with a user": get(host=b"Host: a@parley"),
    "Host with a space": get(host=b"Host: par ley"),
    "Host with a wrong port": get(host=b"Host: parley:http"),
    "no Host, and a whole target": get(line=b"GET http://parley/healthz HTTP/1.1", host=b""),
}  # fmt: skip
TAKEN = {
    "plain": (get(), 200),
    "HTTP/1.2": (get(line=b"GET /healthz HTTP/1.2"), 200),
    "chunked in 1.2": (
        post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", line=b"POST /api/auth/login HTTP/1.2"), 400
    ),
    "a whole target": (get(line=b"GET http://parley/healthz HTTP/1.1"), 200),
    "a whole target for another host": (get(line=b"GET HTTPS://parley:8443?x HTTP/1.1", host=b"Host: other"), 404),
    "an address": (get(host=b"Host: [::1]:8080"), 200),
    "empty lines before": (b"\r\n\r\n" + get(), 200),
    "no space behind the colon": (get(b"A:b"), 200),
    "spaces around a value": (get(b"A: \t b \t "), 200),
    "many spaces": (get(b"A:" + b" " * 100_000), 200),
    "an empty value": (get(b"A:"), 200),
    "other bytes in a value": (get("A: ä".encode()), 200),
    "another field with an underscore": (get(b"Content_Length: 5", b"Transfer_Encoding: chunked"), 200),
    "length": (sized(SIZE), 401),
    "length with zeros": (sized(b"000" + SIZE), 401),
    "a body of nothing": (post(b"Content-Length: 0", body=b""), 400),
    "a body that a GET has": (get(b"Content-Length: 5") + b"12345", 200),
    "chunked": (chunks(), 401),
    "Chunked": (coded(b"Chunked"), 401),
    "many chunks": (chunks(b"".join(b"1\r\n%c\r\n" % byte for byte in LOGIN) + b"0\r\n\r\n"), 401),
    "sizes with zeros, extensions, a trailer": (
        chunks(b'0024;a;b="c d"\r\n' + LOGIN + b"\r\n000;x\r\nA: b\r\nC:\r\n\r\n"), 401,
    ),
}  # fmt: skip


def answers(server: ServerProcess, sent: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Send a request and another one behind it, and return the answers until the connection is closed."""
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


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_what_is_not_to_the_letter_is_refused_and_closes(server: ServerProcess, sent: bytes) -> None:
    ((status, headers, body),) = answers(server, sent + BEHIND)
    assert (status, body) == (400, b'{"error":"bad_request"}\n')
    assert headers["Connection"] == "close"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert server.request("GET", "/healthz")[0] == 200


@pytest.mark.parametrize(("sent", "status"), TAKEN.values(), ids=TAKEN)
def test_what_is_to_the_letter_is_taken_and_goes_on(server: ServerProcess, sent: bytes, status: int) -> None:
    last = get(b"Connection: close", b"X-Request-Id: the-last")
    (first, _, _), (second, headers, _) = answers(server, sent + last)
    assert (first, second, headers["X-Request-Id"]) == (status, 200, "the-last")


def test_codings_that_are_not_known(server: ServerProcess) -> None:
    ((status, headers, _),) = answers(server, coded(b"gzip, chunked") + BEHIND)
    assert (status, headers["Connection"]) == (501, "close")


@pytest.mark.parametrize("connection", [b"close", b"Close", b"keep-alive, close", b"x,close ,y"])
def test_connections_that_are_to_be_closed(server: ServerProcess, connection: bytes) -> None:
    ((status, headers, _),) = answers(server, get(b"Connection: " + connection) + BEHIND)
    assert (status, headers["Connection"]) == (200, "close")


def test_a_head_of_too_many_fields(server: ServerProcess) -> None:
    ((status, _, body),) = answers(server, get(*[b"A: b"] * 300))
    assert (status, body) == (431, b'{"error":"headers_too_large"}\n')


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_answers_without_content_keep_the_connection(server: ServerProcess, tmp_path: Path, method: str) -> None:
    token = create_user(server.data, f"user-{method}").encode()
    _, session, headers = server.request("POST", "/api/sessions", None, token.decode())
    target = f"/api/sessions/{session['id']}".encode()
    fields = [b"Authorization: Bearer " + token]
    known = [*fields, b"If-None-Match: " + headers["ETag"].encode()] if "ETag" in headers else fields
    if method in ("GET", "HEAD"):
        _, _, read = server.request("GET", target.decode(), token=token.decode())
        known = [*fields, b"If-None-Match: " + read["ETag"].encode()]
    sent = get(*known, line=b"%b %b HTTP/1.1" % (method.encode(), target))
    (first, headers, body), (second, *_) = answers(server, sent + get(b"Connection: close"))
    assert (first, body, second) == ({"DELETE": 204, "OPTIONS": 200}.get(method, 304), b"", 200)
    assert "Connection" not in headers
    assert ("Content-Type" in headers) is (method == "OPTIONS")
    assert headers["Cache-Control"] == ("private, no-cache" if first == 304 else "no-store")


@pytest.mark.parametrize(
    ("path", "cached"),
    [("/healthz", None), ("/docs", None), ("/nowhere", None), ("/api/sessions", "no-store"), ("/api/x", "no-store")],
)
def test_every_answer_says_how_to_take_it(server: ServerProcess, path: str, cached: str | None) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        _, _, headers = server.request(method, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers.get("Cache-Control") == cached or path == "/docs"


BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=600)


@given(parts=BODIES, cuts=st.lists(st.integers(1, 900), min_size=1), behind=st.binary(max_size=20))
def test_chunks_come_together_however_they_are_cut(parts: list[bytes], cuts: list[int], behind: bytes) -> None:
    sent = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nA: b\r\n\r\n" + behind
    body = ChunkedBody(OverflowableBuffer(1_000))
    position, turn = 0, 0
    while not body.completed:
        assert body.error is None
        piece = sent[position : position + cuts[turn % len(cuts)]]
        assert piece
        position += body.received(piece)
        turn += 1
    assert body.getfile().read() == b"".join(parts)
    assert sent[position:] == behind


@given(
    st.binary(max_size=300) | st.from_regex(rb"[0-9a-f]{1,2}\r\n[ab]{0,9}\r?\n?0\r\n", fullmatch=True),
    st.integers(1, 9),
)
def test_chunks_that_are_none_never_harm(sent: bytes, cut: int) -> None:
    body = ChunkedBody(OverflowableBuffer(1_000))
    position = 0
    while position < len(sent) and not body.completed and body.error is None:
        taken = body.received(sent[position : position + cut])
        assert taken > 0
        position += taken


@given(st.sampled_from(sorted(REFUSED | {name: sent for name, (sent, _) in TAKEN.items()})), st.integers(1, 50))
def test_a_request_means_the_same_however_it_is_cut(name: str, cut: int) -> None:
    sent = REFUSED.get(name) or TAKEN[name][0]
    sent = sent if len(sent) < 5_000 else sent[:5_000]
    assert parsed(sent, len(sent)) == parsed(sent, cut)


def parsed(sent: bytes, cut: int) -> Any:
    request = RequestParser(Adjustments())
    position = 0
    while position < len(sent) and not (request.completed and not request.empty):
        if request.empty:
            request = RequestParser(Adjustments())
        position += request.received(sent[position : position + cut])
    error = request.error and request.error.code
    return request.completed, error, None if error else (request.headers, request.get_body_stream().read())
