"""The format of event streams: the decoder, however a stream is cut, and the encoder."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.sse import EventDecoder, encode_comment, encode_event, is_event_stream

PARTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"data",
                b"DATA",
                b"Data",
                b"data:",
                b"data: ",
                b":",
                b" ",
                b"\r",
                b"\n",
                b"\r\n",
                b"event: x",
                b"id",
                b"\0",
                b"retry: 1",
                b"\xef\xbb\xbf",
                b"\xff",
                b"\xf0\x9f",
                b"\xe2\x80\xa8",
                b"\x0b",
                b"\xc2\x85",
                b"[DONE]",
            ]
        ),
        st.text(max_size=4).map(str.encode),
        st.binary(max_size=3),
    ),
    max_size=30,
).map(b"".join)


def expected_events(stream: bytes) -> list[str]:
    """Return the data of a whole stream's events, parsed as the specification describes it."""
    text = stream.decode(errors="replace").removeprefix("\ufeff")
    *lines, _ = re.split("\r\n|\n|\r", text)  # an event that does not end is ignored
    events, buffer = [], ""
    for line in lines:
        if not line:
            if buffer:
                events.append(buffer.removesuffix("\n"))
            buffer = ""
        elif line.startswith("data:"):
            value = line[5:]
            buffer += (value[1:] if value.startswith(" ") else value) + "\n"
        elif line == "data":
            buffer += "\n"
    return [event for event in events if event]


def decode(pieces: list[bytes], max_length: int = 1_000) -> list[str]:
    decoder = EventDecoder(max_length)
    return [event for piece in pieces for event in decoder.decode(piece)]


@given(PARTS, st.lists(st.integers(0, 200)))
@example(b"data: a\r\r\ndata: b\r\n\r\n", list(range(20)))
@example(b"\xef\xbb\xbfdata: \xf0\x9f\x98\x80\r\n\r\n", list(range(20)))
@example(b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", [])
def test_events_do_not_depend_on_how_a_stream_is_cut(stream: bytes, cuts: list[int]) -> None:
    positions = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(positions)]
    assert decode(pieces) == expected_events(stream)
    assert decode([bytes([byte]) for byte in stream]) == expected_events(stream)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_event_is_decoded_with_its_last_byte(end: bytes) -> None:
    decoder = EventDecoder(100)
    assert decoder.decode(b"data: one" + end + end[:1]) == ["one"]  # of \r\n, the \r ends the line
    assert decoder.decode(end[1:] + b"data: two" + end) == []
    assert decoder.decode(end) == ["two"]


@pytest.mark.parametrize(
    "stream",
    [b"data: " + b"x" * 200, b"x" * 200, b":" * 200, b"data: xx\n" * 50, b"data: " + "é".encode() * 200],
)
def test_rejects_a_long_event(stream: bytes) -> None:
    for pieces in ([stream], [bytes([byte]) for byte in stream]):
        with pytest.raises(ValueError, match="too long"):
            decode(pieces, 100)


def test_length_is_that_of_one_event() -> None:
    assert decode([b": ping\n\ndata: x\nid: 12\n\n"] * 1_000, 50) == ["x"] * 1_000
    assert decode([b": ping\n"] * 1_000, 50) == []


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream", True),
        ("text/event-stream;charset=UTF-8", True),
        ("TEXT/EVENT-STREAM ; charset=utf-8; x=y", True),
        ("text/event-streams", False),
        ("application/json; x=text/event-stream", False),
        ("text/html", False),
        ("", False),
    ],
)
def test_media_type_is_case_insensitive_and_may_have_parameters(content_type: str, expected: bool) -> None:
    assert is_event_stream(content_type) is expected


@given(st.dictionaries(st.text(), st.text()))
def test_encoded_event_is_decoded(data: dict[str, str]) -> None:
    stream = encode_event("delta", data) + encode_comment("still there")
    assert stream.startswith(b"event: delta\n")
    (event,) = decode([stream], 100_000)
    assert json.loads(event) == data
