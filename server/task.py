"""One request on its way through the app, and its response on its way to the client."""

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

# A deferred body is sent in pieces of at most this size.
MAX_PIECE_BYTES = 65_536
# For all but the pages: whatever a browser takes a response for, it runs, loads and shows nothing of it in a frame.
NO_DOCUMENT = "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'"


class Deferred:
    """A streamed body: captured from the app in whatever thread ran it, and sent by a thread pool.

    The pool's thread sends pieces until the client is too slow, then leaves; when the client has
    read, any thread of the pool continues. So no thread waits for a client, and no request runs twice.
    """

    def __init__(self, body: Iterable[bytes]):
        self._body = body
        self._pieces = _split(body)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """Close the app's iterator."""
        _close(self._body)


class Response(NamedTuple):
    """The app's response: with its whole body, or with one that is generated while it is sent."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes | Deferred

    @classmethod
    def of(cls, app: WSGIApplication, environ: dict[str, Any]) -> Response:
        """Run the app. A body of unknown length, or a file, is deferred."""
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            head[:] = status, headers

        body = app(environ, start_response)
        status, headers = head
        bodiless = environ["REQUEST_METHOD"] == "HEAD" or _is_bodiless(status)
        known = any(name == "Content-Length" for name, _ in headers)
        if not bodiless and (not known or isinstance(body, ReadOnlyFileBasedBuffer)):
            return cls(status, headers, Deferred(body))
        try:
            return cls(status, headers, b"" if bodiless else b"".join(body))
        finally:
            _close(body)


class Task(WSGITask):
    """A request that the app serves; a deferred response is continued as its client reads."""

    response: Response | None = None

    def run(self) -> bool:
        """Run the app, unless that is done, and send its response as far as the client takes it.

        Returns:
            Whether the response is complete. If not, the channel has the task, and it is to be run again.

        """
        if self.response is None:
            self.start_time = time.time()
            self.response = self.request.response or Response.of(
                self.channel.server.application, self.get_environment()
            )
        body = self.response.body
        if isinstance(body, bytes):
            self._send_whole(self.response.status, self.response.headers, body)
            return True
        if not self.wrote_header:
            if not self.channel.on_worker:
                self.channel.defer(self)
                return False
            self._send_header(self.response.status, self.response.headers)
        for piece in body:
            self._send_piece(piece)
            if self.channel.pause(self):
                return False
        self._send_end()
        return True

    def close(self) -> None:
        """Close a deferred body."""
        if self.response is not None and isinstance(self.response.body, Deferred):
            self.response.body.close()

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment, with the error of the request's group."""
        environ: dict[str, Any] = super().get_environment()
        environ["parley.group_error"] = self.request.group_error
        return environ

    def _send_whole(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        header = self._header(status, headers)
        self.wrote_header = True
        self.channel.write_soon(header + body)

    def _send_header(self, status: str, headers: list[tuple[str, str]]) -> None:
        length = next((int(value) for name, value in headers if name == "Content-Length"), None)
        self.content_length = length
        self.chunked_response = length is None and self.version == "1.1"
        self.close_on_finish = length is None and self.version == "1.0"
        coding = [("Transfer-Encoding", "chunked")] if self.chunked_response else []
        self.channel.write_soon(self._header(status, headers + coding))
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
            self.close_on_finish = True  # the file was truncated

    def _header(self, status: str, headers: list[tuple[str, str]]) -> bytes:
        """Return the response's header section, and decide whether the connection is closed after it."""
        lines = [f"HTTP/{self.version} {status}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not any(name == "Content-Security-Policy" for name, _ in headers):
            lines.append(NO_DOCUMENT)
        lines.append(f"X-Content-Type-Options: nosniff\r\nServer: parley\r\nDate: {_http_date(int(self.start_time))}")
        if self.close_on_finish or self.request.connection_close or self.channel.closes_after_response:
            self.close_on_finish = True
            lines.append("Connection: close")
        elif self.version == "1.0":
            lines.append("Connection: keep-alive")
        lines.append("\r\n")
        return "\r\n".join(lines).encode("latin-1")


class JsonErrorTask(Task):
    """The server's own error for a request that the app cannot see, e.g. malformed HTTP, in the shape of all errors."""

    def __init__(self, channel: Any, request: Any):
        super().__init__(channel, request)
        self.version = "1.1"

    def run(self) -> bool:
        """Send the error and close the connection."""
        self.start_time = time.time()
        error = self.request.error
        code = getattr(error, "error_code", errors.CODE_BY_STATUS.get(error.code, "bad_request"))
        response = errors.error_response(errors.ApiError(code))
        response.headers.extend({"X-Request-Id": new_id(), "Cache-Control": "no-store"})
        self.close_on_finish = True
        status = f"{error.code} {HTTPStatus(error.code).phrase}"
        self._send_whole(status, list(response.headers), response.get_data())
        return True


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    date: str = build_http_date(second)
    return date


def _is_bodiless(status: str) -> bool:
    return status.startswith(("1", "204", "304"))


def _split(body: Iterable[bytes]) -> Iterator[bytes]:
    for part in body:
        if len(part) <= MAX_PIECE_BYTES:
            if part:
                yield part
        else:
            for start in range(0, len(part), MAX_PIECE_BYTES):
                yield part[start : start + MAX_PIECE_BYTES]


def _close(body: Any) -> None:
    close = getattr(body, "close", None)
    if close:
        close()
