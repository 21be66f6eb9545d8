"""A stand-in for a model's API, a process of its own: it does what the last user message tells it to.

It speaks OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), streamed
and whole; a test has the official client speak to it. The message is a list of commands, one a line:

    say TEXT            a delta
    wait SECONDS        nothing, or until the client leaves
    repeat N SECONDS X  N deltas X, with a pause before each
    drip SECONDS        for ever: a comment, a pause
    status CODE         an error of that status instead of a stream
    html                a web page instead
    redirect            to elsewhere
    gzip                a stream that is compressed
    header NAME: VALUE  the stream has this header
    bom                 a stream that begins with a byte order mark and the text "first "
    line N              one line of N bytes
    raw TEXT            TEXT as it stands, as the data of an event
    bytes HEX           these bytes as they stand
    error               an error within the stream
    break               the connection ends without a word
    end                 the stream ends without the finish and [DONE]
    no-usage            do not tell the usage
    linger SECONDS      a pause between [DONE] and the end of the stream
    drop-next           close the connection when the next request comes on it, as one that has waited too long
    slam                close the connection instead of an answer

Any other message is answered with itself, a word a delta. GET /calls tells what was asked. As a
forward proxy, it answers in place of whoever is asked.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "stand-in-1"
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
COMMANDS = frozenset(
    (
        "gzip",
        "bom",
        "say",
        "wait",
        "repeat",
        "drip",
        "status",
        "html",
        "redirect",
        "line",
        "raw",
        "bytes",
        "header",
        "linger",
        "drop-next",
        "slam",
        "error",
        "break",
        "end",
        "no-usage",
    )
)


class Left(Exception):
    """The client has left."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    calls: list[dict[str, Any]] = []
    dropping = False

    def do_GET(self) -> None:
        self.whole(200, json.dumps(self.calls).encode())

    def do_POST(self) -> None:
        if self.dropping:
            self.close_connection = True
            return
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = {
            "path": self.path,
            "authorization": self.headers.get("Authorization"),
            "cookie": self.headers.get("Cookie"),
            "connection": self.client_address,
            "asked": asked,
            "began": time.time(),
            "left": None,
        }
        self.calls.append(call)
        script = asked["messages"][-1]["content"]
        if script.partition("\n")[0].partition(" ")[0] not in COMMANDS:
            script = "\n".join(f"say {word} " for word in script.split(" "))
        try:
            if asked.get("stream"):
                self.play(script.split("\n"), bool((asked.get("stream_options") or {}).get("include_usage")))
            else:
                self.tell(script.split("\n"))
        except (Left, OSError):
            call["left"] = time.time()
            self.close_connection = True

    def tell(self, script: list[str]) -> None:
        """Answer with the whole completion."""
        text = "".join(line.partition(" ")[2] for line in script if line.startswith("say "))
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        completion = {"object": "chat.completion", "choices": [choice], "usage": USAGE}
        self.whole(200, json.dumps(self.stamp() | completion).encode())

    def play(self, script: list[str], usage: bool) -> None:
        """Do what the script says, as a stream."""
        name, _, given = script[0].partition(" ")
        if name == "status":
            error = {"error": {"message": "no", "type": "test", "param": None, "code": None}}
            return self.whole(int(given), json.dumps(error).encode())
        if name == "slam":
            raise Left
        if name == "html":
            return self.whole(200, b"<!DOCTYPE html><title>Sign in</title>", "text/html")
        if name == "redirect":
            return self.whole(307, b"", "text/plain", Location="/v1/elsewhere")
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"}
        headers |= {"Content-Encoding": "gzip"} if name == "gzip" else {}
        headers |= dict(line.removeprefix("header ").split(": ") for line in script if line.startswith("header "))
        self.send_response(200)
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if name == "bom":
            self.send(b"\xef\xbb\xbf")
        self.delta({"role": "assistant", "content": "first " if name == "bom" else ""})
        for line in script:
            name, _, given = line.partition(" ")
            if name == "say":
                self.delta({"content": given})
            elif name == "wait":
                self.wait(float(given))
            elif name == "repeat":
                count, pause, text = given.split(" ", 2)
                for _ in range(int(count)):
                    self.wait(float(pause))
                    self.delta({"content": text})
            elif name == "drip":
                while True:
                    self.send(b": drip\n\n")
                    self.wait(float(given))
            elif name == "line":
                self.send(b"data: " + b"x" * int(given) + b"\n\n")
            elif name == "raw":
                self.send(f"data: {given}\n\n".encode())
            elif name == "bytes":
                self.send(bytes.fromhex(given))
            elif name == "error":
                self.event({"error": {"message": "overloaded", "type": "server_error"}})
            elif name == "break":
                self.connection.shutdown(socket.SHUT_RDWR)
                raise Left
            elif name == "end":
                return self.send(b"")
        self.delta({}, "stop")
        if usage and "no-usage" not in script:
            self.event(self.stamp() | {"object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        self.send(b"data: [DONE]\n\n")
        for line in script:
            if line.startswith("linger "):
                self.wait(float(line.removeprefix("linger ")))
        self.dropping = "drop-next" in script
        return self.send(b"")

    def stamp(self) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "created": int(time.time()), "model": MODEL, "system_fingerprint": "fp"}

    def delta(self, delta: dict[str, Any], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        self.event(self.stamp() | {"object": "chat.completion.chunk", "choices": [choice]})

    def event(self, data: dict[str, Any]) -> None:
        self.send(b"data: " + json.dumps(data).encode() + b"\n\n")

    def send(self, part: bytes) -> None:
        """Send a chunk; the empty one is the last."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    def wait(self, seconds: float) -> None:
        if select.select([self.connection], [], [], seconds)[0] and not self.connection.recv(1, socket.MSG_PEEK):
            raise Left

    def whole(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for header, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | headers).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *arguments: Any) -> None:
        """Say nothing: clients leave all the time here."""


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # until whoever has started it is gone
