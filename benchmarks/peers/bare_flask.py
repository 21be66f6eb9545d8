"""A bare Flask answer under waitress, on one thread: the limit that Parley is held against."""

from __future__ import annotations

import logging
import sys

import waitress
from flask import Flask, Response

app = Flask(__name__)
BODY = b'{"status":"ok"}'


@app.get("/")
def answer() -> Response:
    return Response(BODY, mimetype="application/json")


if __name__ == "__main__":
    logging.getLogger("waitress.queue").disabled = True
    print("starting", flush=True)
    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=1, _quiet=True)
