"""A webhook receiver on loopback that verifies signatures with the library; its path says what it does."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebhookReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = Webhook(SECRET).verify(body, dict(self.headers))  # raises, and so the call fails
        self.server.connections.append(self.client_address)
        self.server.received.append((self.path, event, dict(self.headers), body.decode()))
        self.server.came.set()
        kind, _, given = self.path.partition("?")[0].strip("/").partition("/")
        if kind == "ok":
            self.answer(200, b'{"done": true}')
        elif kind == "status":
            self.answer(int(given), b"no")
        elif kind == "redirect":
            self.answer(302, b"", Location="/ok")
        elif kind == "large":
            self.answer(200, "é".encode() * int(given))
        elif kind == "odd":
            self.answer(200, b"a\0b\xff", Content_Encoding="gzip")
        elif kind == "slow":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"begun")
            self.server.leave.wait(float(given))
        elif kind == "held":
            self.server.leave.wait(30)
            self.answer(200, b"well")
        elif kind == "cookie":
            self.answer(200, b"", Set_Cookie=f"{given}; Path=/")
        elif kind == "hang-up":  # after the answer, without a word of that before
            self.answer(200, b"well")
            self.close_connection = True
        elif kind == "close":
            self.close_connection = True

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


class WebhookReceiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections: list[Any] = []
        self.received: list[tuple[str, dict[str, Any], dict[str, str], str]] = []
        self.came, self.leave = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def await_call(self) -> None:
        deadline = time.monotonic() + 10
        while not self.received and time.monotonic() < deadline:
            self.came.wait(0.1)

    def handle_error(self, *arguments: Any) -> None:
        """Say nothing."""

    def __exit__(self, *error: Any) -> None:
        self.leave.set()
        self.shutdown()
        super().__exit__(*error)
