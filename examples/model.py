"""A stand-in for a model, to see how a chat streams before there is one: it says the question back, word by word.

It speaks as much of OpenAI's chat completions as a chat needs: ``.venv/bin/python examples/model.py``
"""

from __future__ import annotations

import json
import os
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Model(BaseHTTPRequestHandler):
    """Answers POST /v1/chat/completions, streamed or whole."""

    def do_POST(self) -> None:
        """Answer one question."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = f"You said: {asked['messages'][-1]['content']}"
        self.send_response(200 if self.path == "/v1/chat/completions" else 404)
        self.send_header("Content-Type", "text/event-stream" if asked.get("stream") else "application/json")
        self.end_headers()
        if asked.get("stream"):
            for word in re.findall(r"\s*\S+", text):
                self.say("data: %s\n\n", "chat.completion.chunk", delta={"content": word}, finish_reason=None)
                time.sleep(0.1)  # a model takes its time too
            self.say("data: %s\n\ndata: [DONE]\n\n", "chat.completion.chunk", delta={}, finish_reason="stop")
        else:
            message = {"role": "assistant", "content": text}
            self.say("%s\n", "chat.completion", message=message, finish_reason="stop")

    def say(self, form: str, kind: str, **choice: Any) -> None:
        """Send an answer, or a piece of one."""
        answer = {"id": "1", "object": kind, "created": int(time.time()), "model": "parrot"}
        self.wfile.write((form % json.dumps(answer | {"choices": [{"index": 0} | choice]})).encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9001"))), Model).serve_forever()
