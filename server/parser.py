"""Reading requests as RFC 9112 has them.

waitress is more lenient. A proxy in front may take such a request for another one, or for two,
and so each leniency is a way around it (request smuggling): what is not to the letter is
refused, and its connection closed.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.receiver import FixedStreamReceiver
from waitress.utilities import BadRequest, RequestHeaderFieldsTooLarge, ServerNotImplemented

# A head of more lines takes too long to read: 40,000 of them 60 ms.
MAX_FIELDS = 256
# So many chunks are decoded at a time, in 0.2 ms; then it is others' turn.
CHUNKS_AT_ONCE = 256
MAX_CHUNK_LINE = 1_024
MAX_TRAILER_BYTES = 16_384

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_HOST = rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]+)(?::[0-9]{0,5})?"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Z]+) ([!\"$-~]+) HTTP/1\.([0-9])")  # no space, no fragment
_TARGET = re.compile(rb"(?:(?i:https?)://(?P<host>" + _HOST + rb")(?=[/?]|\Z))?(?P<path>[^?]*)(?:\?(?P<query>.*))?")
_FIELD = re.compile(rb"(" + _TOKEN + rb"+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_VALID_HOST = re.compile(_HOST.decode())
_LENGTH = re.compile(r"[0-9]{1,18}")
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")
_BEGINNING = re.compile(_TOKEN + rb"|\r\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_CHUNK_BEGUN = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r?")


class RequestParser(HTTPRequestParser):
    """Reads one request: first its head, then its body."""

    admitted = False
    unread = False
    max_body = 0
    header_plus: bytes = b""
    command = path = "-"  # of what cannot be parsed
    response: Any = None  # prepared with those of other requests
    group_error: Any = None
    error: Any = None
    body_rcv: Any = None

    def received(self, data: bytes) -> int:
        """Take what belongs to the request, or some of it; return how much that was."""
        if self.completed:
            return 0
        return self._receive_head(data) if self.body_rcv is None else self._receive_body(data)

    def leave_body(self) -> None:
        """Have the request answered without its body, and the connection closed then.

        The app knows best what to say, and in which order (a missing token first).
        """
        self.unread = self.completed = self.connection_close = True
        self.expect_continue = False
        self.headers["CONTENT_LENGTH"] = str(max(self.content_length, self.max_body + 1))
        self.close()
        self.body_rcv = None

    def _refuse(self, error: Any) -> None:
        self.error = error
        self.completed = True

    def _receive_head(self, data: bytes) -> int:
        before = len(self.header_plus)
        head = self.header_plus + data
        if head[:1] == b"\r" and (lines := _EMPTY_LINES.match(head)):  # before a request they are to be ignored
            before -= lines.end()
            head = head[lines.end() :]
        if not head:
            self.empty = self.completed = True
            return len(data)
        self.header_plus = head
        end = head.find(b"\r\n\r\n", max(before - 3, 0))
        if (len(head) if end < 0 else end) > self.adj.max_request_header_size:
            self._refuse(RequestHeaderFieldsTooLarge("The head is too long."))
        elif end >= 0:
            self.headers_finished = True
            try:
                self.parse_header(head[:end])
            except ParsingError as error:
                self._refuse(BadRequest(str(error)))
            except TransferEncodingNotImplemented as error:
                self._refuse(ServerNotImplemented(str(error)))
            return int(end + 4 - before)
        elif not _BEGINNING.match(head) or head.count(b"\n") > head.count(b"\r\n"):
            self._refuse(BadRequest("Not HTTP."))  # its end would not come
        return len(data)

    def parse_header(self, header_plus: bytes) -> None:
        """Read the head, and decide from it how long the body is."""
        first_line, _, rest = header_plus.partition(b"\r\n")
        line = _REQUEST_LINE.fullmatch(first_line)
        if line is None:
            raise ParsingError("The request line is invalid.")
        method, target, minor = line.groups()
        self.version = "1.0" if minor == b"0" else "1.1"  # a later minor version is answered as the latest known
        self.command = method.decode()
        self.url_scheme = self.adj.url_scheme
        fields = rest.split(b"\r\n") if rest else []
        if len(fields) > MAX_FIELDS:
            self._refuse(RequestHeaderFieldsTooLarge("There are too many fields."))
            return
        self._read_fields(fields)
        self._read_target(target)
        self._read_connection()
        self._read_framing()
        self.completed = self.body_rcv is None

    def _read_fields(self, fields: list[bytes]) -> None:
        headers = self.headers
        for each in fields:
            field = _FIELD.fullmatch(each)
            if field is None:
                raise ParsingError("A header field is invalid.")
            name = field[1]
            if b"_" in name:  # WSGI cannot tell it from one with a dash
                continue
            key = name.upper().replace(b"-", b"_").decode()
            value = field[2].strip(b" \t").decode("latin-1")
            headers[key] = f"{headers[key]}, {value}" if key in headers else value

    def _read_target(self, target: bytes) -> None:
        parts = _TARGET.fullmatch(target)
        asterisk = target == b"*" and self.command == "OPTIONS"
        if parts is None or not (parts["host"] or target[:1] == b"/" or asterisk):
            raise ParsingError("The request target is invalid.")
        host = self.headers.get("HOST")
        if (host is None and self.version == "1.1") or (host is not None and not _VALID_HOST.fullmatch(host)):
            raise ParsingError("There is not one valid Host.")
        if parts["host"]:
            self.headers["HOST"] = parts["host"].decode()
        self.request_uri = target.decode()
        self.path = unquote_to_bytes(parts["path"] or b"/").decode("latin-1")
        self.query = (parts["query"] or b"").decode()

    def _read_connection(self) -> None:
        options = {option.strip(" \t").lower() for option in self.headers.get("CONNECTION", "").split(",")}
        self.connection_close = "close" in options or (self.version == "1.0" and "keep-alive" not in options)

    def _read_framing(self) -> None:
        codings, length = self.headers.pop("TRANSFER_ENCODING", None), self.headers.get("CONTENT_LENGTH")
        if codings is not None:
            if length is not None or self.version == "1.0":
                raise ParsingError("The length of the body is not certain.")
            *others, last = [coding.strip(" \t").lower() for coding in codings.split(",")]
            if last != "chunked" or last in others or "" in others:
                raise ParsingError("The length of the body is not certain.")
            if others:
                raise TransferEncodingNotImplemented("Only chunked is known.")
            self.chunked = True
            self.body_rcv = ChunkedBody(OverflowableBuffer(self.adj.inbuf_overflow))
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise ParsingError("Content-Length is invalid.")
            self.content_length = int(length)
            if self.content_length:
                buffer = OverflowableBuffer(self.adj.inbuf_overflow)
                self.body_rcv = FixedStreamReceiver(self.content_length, buffer)
        self.max_body = self.adj.max_request_body_size
        self.expect_continue = self.version == "1.1" and self.headers.get("EXPECT", "").lower() == "100-continue"

    def _receive_body(self, data: bytes) -> int:
        body = self.body_rcv
        consumed = int(body.received(data))
        self.body_bytes_received += consumed
        if body.error:
            self._refuse(body.error)
        elif self.chunked and self.body_bytes_received + body.remain > self.max_body:
            self.leave_body()
        elif body.completed:
            self.completed = True
            if self.chunked:
                self.headers["CONTENT_LENGTH"] = str(len(body))
        return consumed


class ChunkedBody:
    """Decodes a body in chunks (RFC 9112, section 7.1), some of them at a time."""

    def __init__(self, buffer: OverflowableBuffer):
        self.completed = False
        self.error: BadRequest | None = None
        self.remain = 0  # of the chunk under way
        self._buffer = buffer
        self._held = b""  # a line of which the end has not come
        self._chunk_ends = False
        self._in_trailer = False

    def __len__(self) -> int:
        return len(self._buffer)

    def getfile(self) -> Any:
        """Return the body as a file."""
        return self._buffer.getfile()

    def getbuf(self) -> OverflowableBuffer:
        """Return the buffer that the body is in."""
        return self._buffer

    def received(self, data: bytes) -> int:
        """Decode what has come, CHUNKS_AT_ONCE at most; return how much of it that was."""
        held = len(self._held)
        data = self._held + data
        self._held = b""
        parts: list[bytes] = []
        position = self._decode(data, parts)
        if parts:
            self._buffer.append(b"".join(parts))
        return position - held

    def _decode(self, data: bytes, parts: list[bytes]) -> int:
        position, end = 0, len(data)
        for _ in range(CHUNKS_AT_ONCE):
            if self.remain:
                part = data[position : position + self.remain]
                parts.append(part)
                position += len(part)
                self.remain -= len(part)
                self._chunk_ends = not self.remain
            if self._chunk_ends:
                if data[position : position + 2] != b"\r\n":
                    return self._hold(data, position, b"\r\n".startswith(data[position:]))
                position += 2
                self._chunk_ends = False
            if self._in_trailer:
                return self._read_trailer(data, position)
            if position == end:
                return position
            line = _CHUNK.match(data, position)
            if line is None:
                begun = data[position:]
                return self._hold(data, position, len(begun) < MAX_CHUNK_LINE and bool(_CHUNK_BEGUN.fullmatch(begun)))
            position = line.end()
            self.remain = int(line[1], 16)
            self._in_trailer = not self.remain
        return position

    def _hold(self, data: bytes, position: int, sound: bool) -> int:
        """Wait for the rest of a line; one that is not sound is an error."""
        if sound:
            self._held = data[position:]
        else:
            self.error = BadRequest("The chunks are invalid.")
        return len(data)

    def _read_trailer(self, data: bytes, position: int) -> int:
        """Look for the end of the trailer, whose fields are for nobody."""
        if data.startswith(b"\r\n", position):
            self.completed = True
            return position + 2
        end = data.find(b"\r\n\r\n", position)
        if end < 0:
            return self._hold(data, position, len(data) - position < MAX_TRAILER_BYTES)
        fields = data[position:end].split(b"\r\n")
        if end - position > MAX_TRAILER_BYTES or not all(map(_FIELD.fullmatch, fields)):
            return self._hold(data, position, sound=False)
        self.completed = True
        return end + 4
