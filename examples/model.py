"""A stand-in for a model, to try how a chat streams: it repeats the message, word by word.

It implements as much of OpenAI's chat completions as a chat needs. Start it with
``.venv/bin/python examples/model.py``.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Model(BaseHTTPRequestHandler):
    """Responds to POST /v1/chat/completions, streamed or whole."""

    def do_POST(self) -> None:
        """Respond to a chat, until it is stopped."""
        with suppress(ConnectionError):
            self.respond()

    def respond(self) -> None:
        """Send the answer."""
        chat = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = f"You said: {chat['messages'][-1]['content']}"
        self.send_response(200 if self.path == "/v1/chat/completions" else 404)
        self.send_header("Content-Type", "text/event-stream" if chat.get("stream") else "application/json")
        self.end_headers()
        if chat.get("stream"):
            for word in re.findall(r"\s*\S+", text):
                self.send("data: %s\n\n", "chat.completion.chunk", delta={"content": word}, finish_reason=None)
                time.sleep(0.1)  # a model takes its time too
            self.send("data: %s\n\ndata: [DONE]\n\n", "chat.completion.chunk", delta={}, finish_reason="stop")
        else:
            message = {"role": "assistant", "content": text}
            self.send("%s\n", "chat.completion", message=message, finish_reason="stop")

    def send(self, template: str, kind: str, **choice: Any) -> None:
        """Send a completion, or a chunk of one."""
        completion = {"id": "1", "object": kind, "created": int(time.time()), "model": "parrot"}
        self.wfile.write((template % json.dumps(completion | {"choices": [{"index": 0} | choice]})).encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9001"))), Model).serve_forever()
