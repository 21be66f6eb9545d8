"""A webhook to try the example action with: verifies what Parley sends, and prints it.

Run it where RESTART_SECRET is the same as Parley's: ``.venv/bin/python examples/receiver.py``
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

if "RESTART_SECRET" not in os.environ:
    sys.exit("RESTART_SECRET is not set here: export the one that Parley has.")
webhook = Webhook(os.environ["RESTART_SECRET"])


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what comes from Parley, and 401 to all else."""

    def do_POST(self) -> None:
        """Take one event."""
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
