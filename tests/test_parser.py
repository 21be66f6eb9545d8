"""The parser, in whatever pieces a request arrives."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer

from server.parser import ChunkedBody, RequestParser
from tests.helpers.rfc9112_requests import ACCEPTED, REJECTED

BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=600)


@given(parts=BODIES, sizes=st.lists(st.integers(1, 900), min_size=1), after=st.binary(max_size=20))
def test_chunks_are_joined_however_they_are_split(parts: list[bytes], sizes: list[int], after: bytes) -> None:
    sent = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nA: b\r\n\r\n" + after
    body = ChunkedBody(OverflowableBuffer(1_000))
    position, turn = 0, 0
    while not body.completed:
        assert body.error is None
        piece = sent[position : position + sizes[turn % len(sizes)]]
        assert piece
        position += body.received(piece)
        turn += 1
    assert body.getfile().read() == b"".join(parts)
    assert sent[position:] == after


@given(
    st.binary(max_size=300) | st.from_regex(rb"[0-9a-f]{1,2}\r\n[ab]{0,9}\r?\n?0\r\n", fullmatch=True),
    st.integers(1, 9),
)
def test_invalid_chunks_end_in_an_error_or_wait(sent: bytes, size: int) -> None:
    body = ChunkedBody(OverflowableBuffer(1_000))
    position = 0
    while position < len(sent) and not body.completed and body.error is None:
        consumed = body.received(sent[position : position + size])
        assert consumed > 0
        position += consumed


@given(st.sampled_from(sorted(REJECTED | {name: sent for name, (sent, _) in ACCEPTED.items()})), st.integers(1, 50))
def test_a_request_is_parsed_the_same_however_it_is_split(name: str, size: int) -> None:
    sent = REJECTED.get(name) or ACCEPTED[name][0]
    sent = sent if len(sent) < 5_000 else sent[:5_000]
    assert parsed(sent, len(sent)) == parsed(sent, size)


def parsed(sent: bytes, size: int) -> Any:
    request = RequestParser(Adjustments())
    position = 0
    while position < len(sent) and not (request.completed and not request.empty):
        if request.empty:
            request = RequestParser(Adjustments())
        position += request.received(sent[position : position + size])
    error = request.error and request.error.code
    return request.completed, error, None if error else (request.headers, request.get_body_stream().read())
