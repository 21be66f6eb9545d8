"""A stand-in for a model's API, run as a process of its own: the last message of a request is its script.

It speaks OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), streamed
and whole; test_fake_llm.py has the official client speak to it. A script has a command a line:

    say TEXT            send a delta
    wait SECONDS        pause, at most until the client disconnects
    hold                pause until the test calls ``release``, at most until the client disconnects
    repeat N SECONDS X  send N deltas X, with a pause before each
    drip SECONDS        send comments with a pause after each, for ever
    status CODE         respond with an error of that status
    html                respond with a web page
    redirect            respond with a redirect
    gzip                claim that the stream is compressed
    header NAME: VALUE  add a header to the response
    bom                 begin the stream with a byte order mark and the text "first "
    line N              send one line of N bytes
    raw TEXT            send an event whose data is TEXT as it stands
    bytes HEX           send these bytes as they stand
    error               report an error within the stream
    break               close the connection within the stream
    end                 end the stream without a finish reason and [DONE]
    no-usage            do not send the usage
    linger SECONDS      pause between [DONE] and the end of the stream
    drop-next           close the connection when the next request comes on it, as an idle one that has expired
    slam                close the connection instead of responding

Any other message is echoed, a word a delta. GET /calls returns the requests so far, GET /release ends
one ``hold``. The stand-in is also a forward proxy, which responds in place of any host.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "stand-in-1"
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
COMMANDS = frozenset(re.findall(r"^    ([a-z-]+) ", __doc__ or "", re.MULTILINE))


class Disconnected(Exception):
    """The client has disconnected."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    calls: list[dict[str, Any]] = []
    dropping = False
    releases = threading.Semaphore(0)

    def do_GET(self) -> None:
        if self.path == "/release":
            self.releases.release()
        self.respond(200, json.dumps(self.calls).encode())

    def do_POST(self) -> None:
        if self.dropping:
            self.close_connection = True
            return
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = {
            "path": self.path,
            "authorization": self.headers.get("Authorization"),
            "cookie": self.headers.get("Cookie"),
            "connection": self.client_address,
            "request": request,
            "disconnected_at": None,
        }
        self.calls.append(call)
        script = request["messages"][-1]["content"]
        if script.partition("\n")[0].partition(" ")[0] not in COMMANDS:
            script = "\n".join(f"say {word} " for word in script.split(" "))
        try:
            if request.get("stream"):
                self.stream(script.split("\n"), bool((request.get("stream_options") or {}).get("include_usage")))
            else:
                self.complete(script.split("\n"))
        except (Disconnected, OSError):
            call["disconnected_at"] = time.time()
            self.close_connection = True

    def complete(self, script: list[str]) -> None:
        """Respond with the whole completion."""
        text = "".join(line.partition(" ")[2] for line in script if line.startswith("say "))
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        completion = {"object": "chat.completion", "choices": [choice], "usage": USAGE}
        self.respond(200, json.dumps(self.stamp() | completion).encode())

    def stream(self, script: list[str], usage: bool) -> None:
        """Execute a script."""
        name, _, argument = script[0].partition(" ")
        if name == "status":
            error = {"error": {"message": "no", "type": "test", "param": None, "code": None}}
            return self.respond(int(argument), json.dumps(error).encode())
        if name == "slam":
            raise Disconnected
        if name == "html":
            return self.respond(200, b"<!DOCTYPE html><title>Sign in</title>", "text/html")
        if name == "redirect":
            return self.respond(307, b"", "text/plain", Location="/v1/elsewhere")
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
            name, _, argument = line.partition(" ")
            if name == "say":
                self.delta({"content": argument})
            elif name == "wait":
                self.wait(float(argument))
            elif name == "hold":
                while not self.releases.acquire(timeout=0.02):
                    self.wait(0)
            elif name == "repeat":
                count, pause, text = argument.split(" ", 2)
                for _ in range(int(count)):
                    self.wait(float(pause))
                    self.delta({"content": text})
            elif name == "drip":
                while True:
                    self.send(b": drip\n\n")
                    self.wait(float(argument))
            elif name == "line":
                self.send(b"data: " + b"x" * int(argument) + b"\n\n")
            elif name == "raw":
                self.send(f"data: {argument}\n\n".encode())
            elif name == "bytes":
                self.send(bytes.fromhex(argument))
            elif name == "error":
                self.event({"error": {"message": "overloaded", "type": "server_error"}})
            elif name == "break":
                self.connection.shutdown(socket.SHUT_RDWR)
                raise Disconnected
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
            raise Disconnected

    def respond(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for header, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | headers).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *arguments: Any) -> None:
        """Log nothing: clients are expected to disconnect."""


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # until the process that has started this one closes it or ends
