"""The wire format of server-sent events: an encoder and a decoder.

As in the HTML standard, https://html.spec.whatwg.org/multipage/server-sent-events.html, sections
9.2.5 and 9.2.6. The decoder is our own: httpx-sse holds back a CR until the next byte, which may
never come, and decodes the text as whatever ``charset`` says.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

import orjson

MEDIA_TYPE = "text/event-stream"

_LINE_END = re.compile("\r\n|\r|\n")


def encode_event(name: str, data: dict[str, Any]) -> bytes:
    """Return an event whose data is JSON, on one line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))


def encode_comment(text: str) -> bytes:
    """Return a comment, which clients ignore; it shows them and proxies that the connection is alive."""
    return f": {text}\n\n".encode()


def is_event_stream(content_type: str) -> bool:
    """Return whether the value of a Content-Type header is that of an event stream."""
    return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE


class EventDecoder:
    """Decodes an event stream from chunks, cut anywhere: inside a line end or a code point, too.

    A stream is UTF-8, whatever the response's ``charset`` is; invalid bytes become U+FFFD. All but the
    ``data`` fields (names, ids, comments) is ignored.
    """

    def __init__(self, max_length: int):
        self._max_length = max_length
        self._text = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line: list[str] = []  # the parts of the last line, which has not ended
        self._data: list[str] = []  # the lines of data of the last event, which has not ended
        self._length = 0  # of both
        self._after_cr = False  # then a LF belongs to the line end that was read before

    def decode(self, chunk: bytes) -> list[str]:
        """Return the data of each event that ends in this chunk; an event is decoded with its last byte.

        Raises:
            ValueError: an event is longer than ``max_length`` characters.

        """
        text = self._text.decode(chunk)
        if not text:
            return []
        if self._after_cr:
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        events: list[str] = []
        *ended, rest = _LINE_END.split(text)
        for line in ended:
            self._append(line)
            if event := self._end_line():
                events.append(event)
        self._append(rest)
        return events

    def _append(self, part: str) -> None:
        self._length += len(part)
        if self._length > self._max_length:
            raise ValueError("an event is too long")
        self._line.append(part)

    def _end_line(self) -> str | None:
        """Interpret the line that has ended; if it is empty, and so ends an event, return the event's data."""
        line = "".join(self._line)
        self._line = []
        if not line:
            event = "\n".join(self._data)
            self._data, self._length = [], 0
            return event
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        else:
            self._length -= len(line)
        return None
