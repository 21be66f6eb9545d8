"""A webhook receiver to try the example action with: it verifies what Parley sends, and prints it.

Start it with ``.venv/bin/python examples/receiver.py``, with the same RESTART_SECRET as Parley.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

if "RESTART_SECRET" not in os.environ:
    sys.exit("RESTART_SECRET is not set. Export the same one as for Parley.")
webhook = Webhook(os.environ["RESTART_SECRET"])


class Receiver(BaseHTTPRequestHandler):
    """Responds with 204 to requests that Parley has signed, with 401 to others."""

    def do_POST(self) -> None:
        """Verify and print an event."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            print(webhook.verify(body, dict(self.headers)), flush=True)  # noqa: T201
        except WebhookVerificationError:
            self.send_response(401)
        else:
            self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver).serve_forever()
