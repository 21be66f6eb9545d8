"""A reverse proxy that serves the page below a path, as the deployment's documentation has it."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

PREFIX = "/parley"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class ReverseProxy(ThreadingHTTPServer):
    """Passes what is below ``PREFIX`` on to a server, and answers everything else with 404."""

    daemon_threads = True

    def __init__(self, upstream: tuple[str, int]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{self.server_port}{PREFIX}/"

    def __enter__(self) -> ReverseProxy:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ReverseProxy

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True  # a reader has left

    def pass_on(self) -> None:
        """Send the request without the prefix to the server, and the response back as it comes."""
        self.close_connection = True
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fields = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        fields |= {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": PREFIX}
        upstream = http.client.HTTPConnection(*self.server.upstream, timeout=60)
        try:
            upstream.request(self.command, self.path.removeprefix(PREFIX), body, fields)
            response = upstream.getresponse()
            self.send_response_only(response.status)
            for name, value in response.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while part := response.read1():
                self.wfile.write(part)
                self.wfile.flush()
        finally:
            upstream.close()

    do_GET = do_POST = do_PATCH = do_DELETE = pass_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""
