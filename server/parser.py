"""Reading requests as RFC 9112 has them.

waitress is more lenient. A proxy in front may read such a request as another one, or as two, so
that each leniency is a way past it (request smuggling). Whatever violates the grammar is
rejected, and its connection closed.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.receiver import FixedStreamReceiver
from waitress.utilities import BadRequest, RequestHeaderFieldsTooLarge, ServerNotImplemented

# More header fields take too long to parse: 40,000 of them 60 ms.
MAX_HEADER_FIELDS = 256
# How many chunks are decoded at a time, in 0.2 ms; then it is other connections' turn.
MAX_CHUNKS_PER_CALL = 256
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
_HEADER_START = re.compile(_TOKEN + rb"|\r\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_PARTIAL_CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r?")


class RequestParser(HTTPRequestParser):
    """Parses one request: first its header section, then its body."""

    body_checked = False  # whether the body is wanted
    body_skipped = False
    max_body_bytes = 0
    header_plus: bytes = b""
    command = path = "-"  # of a request that cannot be parsed
    response: Any = None  # of the write batcher
    header_bytes = 0
    group_error: Any = None
    error: Any = None
    body_rcv: Any = None

    def received(self, data: bytes) -> int:
        """Parse what belongs to the request, or a part of it; return the number of bytes consumed."""
        if self.completed:
            return 0
        return self._receive_header(data) if self.body_rcv is None else self._receive_body(data)

    def skip_body(self) -> None:
        """Complete the request without its body; the connection is closed after the response.

        The app decides which error that is, and which comes first (e.g. a missing token).
        """
        self.body_skipped = self.completed = self.connection_close = True
        self.expect_continue = False
        self.headers["CONTENT_LENGTH"] = str(max(self.content_length, self.max_body_bytes + 1))
        self.close()
        self.body_rcv = None

    def _reject(self, error: Any) -> None:
        self.error = error
        self.completed = True

    def _receive_header(self, data: bytes) -> int:
        before = len(self.header_plus)
        header = self.header_plus + data
        if header[:1] == b"\r" and (lines := _EMPTY_LINES.match(header)):  # to be ignored (RFC 9112, section 2.2)
            before -= lines.end()
            header = header[lines.end() :]
        if not header:
            self.empty = self.completed = True
            return len(data)
        self.header_plus = header
        end = header.find(b"\r\n\r\n", max(before - 3, 0))
        if (len(header) if end < 0 else end) > self.adj.max_request_header_size:
            self._reject(RequestHeaderFieldsTooLarge("The header section is too long."))
        elif end >= 0:
            self.headers_finished = True
            try:
                self.parse_header(header[:end])
            except ParsingError as error:
                self._reject(BadRequest(str(error)))
            except TransferEncodingNotImplemented as error:
                self._reject(ServerNotImplemented(str(error)))
            return int(end + 4 - before)
        elif not _HEADER_START.match(header) or header.count(b"\n") > header.count(b"\r\n"):
            self._reject(BadRequest("Not HTTP."))  # waiting for the end would be in vain
        return len(data)

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the header section, and determine the length of the body."""
        self.header_bytes = len(header_plus)
        first_line, _, rest = header_plus.partition(b"\r\n")
        line = _REQUEST_LINE.fullmatch(first_line)
        if line is None:
            raise ParsingError("The request line is invalid.")
        method, target, minor = line.groups()
        self.version = "1.0" if minor == b"0" else "1.1"  # a later minor version is treated as 1.1
        self.command = method.decode()
        self.url_scheme = self.adj.url_scheme
        fields = rest.split(b"\r\n") if rest else []
        if len(fields) > MAX_HEADER_FIELDS:
            self._reject(RequestHeaderFieldsTooLarge("There are too many fields."))
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
            if b"_" in name:  # in WSGI it would be the same as one with a dash
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
        self.max_body_bytes = self.adj.max_request_body_size
        self.expect_continue = self.version == "1.1" and self.headers.get("EXPECT", "").lower() == "100-continue"

    def _receive_body(self, data: bytes) -> int:
        body = self.body_rcv
        consumed = int(body.received(data))
        self.body_bytes_received += consumed
        if body.error:
            self._reject(body.error)
        elif self.chunked and self.body_bytes_received + body.remain > self.max_body_bytes:
            self.skip_body()
        elif body.completed:
            self.completed = True
            if self.chunked:
                self.headers["CONTENT_LENGTH"] = str(len(body))
        return consumed


class ChunkedBody:
    """Decodes a chunked body (RFC 9112, section 7.1), a bounded number of chunks at a time."""

    def __init__(self, buffer: OverflowableBuffer):
        self.completed = False
        self.error: BadRequest | None = None
        self.remain = 0  # bytes of the current chunk
        self._buffer = buffer
        self._partial_line = b""
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
        """Decode at most MAX_CHUNKS_PER_CALL chunks; return the number of bytes consumed."""
        before = len(self._partial_line)
        data = self._partial_line + data
        self._partial_line = b""
        parts: list[bytes] = []
        position = self._decode(data, parts)
        if parts:
            self._buffer.append(b"".join(parts))
        return position - before

    def _decode(self, data: bytes, parts: list[bytes]) -> int:
        position, end = 0, len(data)
        for _ in range(MAX_CHUNKS_PER_CALL):
            if self.remain:
                part = data[position : position + self.remain]
                parts.append(part)
                position += len(part)
                self.remain -= len(part)
                self._chunk_ends = not self.remain
            if self._chunk_ends:
                if data[position : position + 2] != b"\r\n":
                    return self._await_rest(data, position, b"\r\n".startswith(data[position:]))
                position += 2
                self._chunk_ends = False
            if self._in_trailer:
                return self._read_trailer(data, position)
            if position == end:
                return position
            line = _CHUNK.match(data, position)
            if line is None:
                partial = data[position:]
                valid = len(partial) < MAX_CHUNK_LINE and bool(_PARTIAL_CHUNK_LINE.fullmatch(partial))
                return self._await_rest(data, position, valid)
            position = line.end()
            self.remain = int(line[1], 16)
            self._in_trailer = not self.remain
        return position

    def _await_rest(self, data: bytes, position: int, valid: bool) -> int:
        """Store a partial line until its rest arrives; one that is not valid so far is an error."""
        if valid:
            self._partial_line = data[position:]
        else:
            self.error = BadRequest("The chunks are invalid.")
        return len(data)

    def _read_trailer(self, data: bytes, position: int) -> int:
        """Find the end of the trailer section, and discard its fields."""
        if data.startswith(b"\r\n", position):
            self.completed = True
            return position + 2
        end = data.find(b"\r\n\r\n", position)
        if end < 0:
            return self._await_rest(data, position, len(data) - position < MAX_TRAILER_BYTES)
        fields = data[position:end].split(b"\r\n")
        if end - position > MAX_TRAILER_BYTES or not all(map(_FIELD.fullmatch, fields)):
            return self._await_rest(data, position, valid=False)
        self.completed = True
        return end + 4
