"""A webhook receiver on loopback that verifies signatures with the library. The path of a call is a command:

/ok            respond with 200
/status/N      respond with status N
/redirect      respond with a redirect
/large/N       respond with N times é
/odd           respond with bytes that are no text, and claim that they are compressed
/slow/SECONDS  pause in the middle of the response
/held          respond when the test sets ``release``
/cookie/X=Y    set a cookie
/hang-up       close the connection after the response, without having announced it
/close         close the connection instead of responding
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebhookReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = Webhook(SECRET).verify(body, dict(self.headers))  # if it raises, the call fails
        self.server.connections.append(self.client_address)
        self.server.received.append((self.path, event, dict(self.headers), body.decode()))
        self.server.called.set()
        kind, _, argument = self.path.partition("?")[0].strip("/").partition("/")
        if kind == "ok":
            self.respond(200, b'{"done": true}')
        elif kind == "status":
            self.respond(int(argument), b"no")
        elif kind == "redirect":
            self.respond(302, b"", Location="/ok")
        elif kind == "large":
            self.respond(200, "é".encode() * int(argument))
        elif kind == "odd":
            self.respond(200, b"a\0b\xff", Content_Encoding="gzip")
        elif kind == "slow":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"begun")
            self.server.release.wait(float(argument))
        elif kind == "held":
            self.server.release.wait(30)
            self.respond(200, b"well")
        elif kind == "cookie":
            self.respond(200, b"", Set_Cookie=f"{argument}; Path=/")
        elif kind == "hang-up":
            self.respond(200, b"well")
            self.close_connection = True
        elif kind == "close":
            self.close_connection = True

    def respond(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


class WebhookReceiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections: list[Any] = []
        self.received: list[tuple[str, dict[str, Any], dict[str, str], str]] = []
        self.called, self.release = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def wait_for_call(self) -> None:
        assert self.called.wait(20)

    def handle_error(self, *arguments: Any) -> None:
        """Log nothing."""

    def __exit__(self, *error: Any) -> None:
        self.release.set()
        self.shutdown()
        super().__exit__(*error)
