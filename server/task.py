"""One request on its way through the app, and its answer on its way to the client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.task import WSGITask
from waitress.utilities import build_http_date

import errors
from ids import new_id

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# An answer that comes in parts is written in pieces of this size, and no faster than its client reads.
PIECE_BYTES = 65_536


class Response(NamedTuple):
    """What the app has answered: whole, or a body that is yet to be made while it is sent."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes | Iterable[bytes]

    @classmethod
    def of(cls, app: WSGIApplication, environ: dict[str, Any]) -> Response:
        """Ask the app. What is not of a known length, or a file, is left to be sent in parts."""
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            head[:] = status, headers

        body = app(environ, start_response)
        status, headers = head
        bodiless = environ["REQUEST_METHOD"] == "HEAD" or _is_bodiless(status)
        known = any(name == "Content-Length" for name, _ in headers)
        if not bodiless and (not known or isinstance(body, ReadOnlyFileBasedBuffer)):
            return cls(status, headers, body)
        try:
            return cls(status, headers, b"" if bodiless else b"".join(body))
        finally:
            _close(body)


class Task(WSGITask):
    """A request that the app answers. One with a long answer is gone on with as its client reads."""

    response: Response | None = None
    _pieces: Iterator[bytes] | None = None

    def proceed(self) -> bool:
        """Answer, and return whether that is all. If not, the channel has the task until it can go on."""
        if self.response is None:
            self.start_time = time.time()
            self.response = self.request.response or Response.of(
                self.channel.server.application, self.get_environment()
            )
        body = self.response.body
        if isinstance(body, bytes):
            self._send_whole(self.response.status, self.response.headers, body)
            return True
        if self._pieces is None:
            if not self.channel.may_wait:
                self.channel.defer(self)
                return False
            self._pieces = _cut(body)
            self._send_head(self.response.status, self.response.headers)
        for piece in self._pieces:
            self._send_piece(piece)
            if self.channel.park(self):
                return False
        self._send_end()
        return True

    def close(self) -> None:
        """Let go of a body that comes in parts."""
        if self.response is not None and not isinstance(self.response.body, bytes):
            response, self.response = self.response, self.response._replace(body=b"")
            _close(response.body)

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment, with what the app is to know of the server."""
        environ: dict[str, Any] = super().get_environment()
        environ["parley.group_error"] = self.request.group_error
        return environ

    def _send_whole(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        head = self._head(status, headers)
        self.wrote_header = True
        self.channel.write_soon(head + body)

    def _send_head(self, status: str, headers: list[tuple[str, str]]) -> None:
        length = next((int(value) for name, value in headers if name == "Content-Length"), None)
        self.content_length = length
        self.chunked_response = length is None and self.version == "1.1"
        self.close_on_finish = length is None and self.version == "1.0"
        coding = [("Transfer-Encoding", "chunked")] if self.chunked_response else []
        self.channel.write_soon(self._head(status, headers + coding))
        self.wrote_header = True

    def _send_piece(self, piece: bytes) -> None:
        if self.chunked_response:
            piece = b"%X\r\n%b\r\n" % (len(piece), piece)
        self.content_bytes_written += len(piece)
        self.channel.write_soon(piece)

    def _send_end(self) -> None:
        if self.chunked_response:
            self.channel.write_soon(b"0\r\n\r\n")
        elif self.content_length is not None and self.content_bytes_written < self.content_length:
            self.close_on_finish = True  # the file has become shorter

    def _head(self, status: str, headers: list[tuple[str, str]]) -> bytes:
        """Return the head of the answer, and decide what becomes of the connection."""
        lines = [f"HTTP/{self.version} {status}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append(f"X-Content-Type-Options: nosniff\r\nServer: parley\r\nDate: {_http_date(int(self.start_time))}")
        if self.close_on_finish or self.request.connection_close or self.channel.is_last:
            self.close_on_finish = True
            lines.append("Connection: close")
        elif self.version == "1.0":
            lines.append("Connection: keep-alive")
        lines.append("\r\n")
        return "\r\n".join(lines).encode("latin-1")


class JsonErrorTask(Task):
    """The server's own refusals, of what is not even HTTP, in the one shape of all errors."""

    def __init__(self, channel: Any, request: Any):
        super().__init__(channel, request)
        self.version = "1.1"

    def proceed(self) -> bool:
        """Refuse the request and close the connection."""
        self.start_time = time.time()
        error = self.request.error
        code = getattr(error, "error_code", errors.CODE_BY_STATUS.get(error.code, "bad_request"))
        answer = errors.error_response(errors.ApiError(code))
        answer.headers.extend({"X-Request-Id": new_id(), "Cache-Control": "no-store"})
        self.close_on_finish = True
        status = f"{error.code} {HTTPStatus(error.code).phrase}"
        self._send_whole(status, list(answer.headers), answer.get_data())
        return True


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    date: str = build_http_date(second)
    return date


def _is_bodiless(status: str) -> bool:
    return status.startswith(("1", "204", "304"))


def _cut(body: Iterable[bytes]) -> Iterator[bytes]:
    for part in body:
        if len(part) <= PIECE_BYTES:
            if part:
                yield part
        else:
            for start in range(0, len(part), PIECE_BYTES):
                yield part[start : start + PIECE_BYTES]


def _close(body: Any) -> None:
    close = getattr(body, "close", None)
    if close:
        close()
