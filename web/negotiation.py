"""Content negotiation: which media type of a response the client prefers (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from flask import request
from werkzeug.datastructures import MIMEAccept


def preferred_type(default: str, *others: str) -> str:
    """Return which of these media types the client prefers, whatever parameters it has; else the default."""
    accepted = MIMEAccept((kind.partition(";")[0], quality) for kind, quality in request.accept_mimetypes)
    return accepted.best_match((default, *others), default)
