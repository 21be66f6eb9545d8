"""The document of a session: its title, and its messages, each below a heading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import timestamps
from database import db
from models import Message
from services.markdown.escaping import escape_and_link
from services.markdown.sanitizer import sanitize
from store import entries, messages, sessions


def export(user_id: str, session_id: str) -> tuple[dict[str, Any], Iterator[bytes]]:
    """Return a session of the user's, and the pieces of its document.

    Raises:
        NotFound: if the user has no such session.

    """
    with db.read_transaction():
        session = sessions.get(user_id, session_id)
        last = entries.last_seq(Message, session_id)
    return session, render(session, messages.iter_texts(session_id, last))


def render(session: dict[str, Any], messages: Iterable[tuple[str, str, str]]) -> Iterator[bytes]:
    """Yield a session's document in pieces: its title, then each message, of ``(role, content, created_at)``."""
    title = heading(session["title"] or "") or "Conversation"
    created, exported = format_timestamp(session["created_at"]), format_timestamp(timestamps.now())
    yield f"# {title}\n\nBegun {created}, exported {exported}.\n".encode()
    for role, content, created_at in messages:
        blocks = (f"## {role.title()}, {format_timestamp(created_at)}", sanitize(content))
        yield "".join(f"\n{block}\n" for block in blocks if block).encode()


def format_timestamp(timestamp: str) -> str:
    """Return a timestamp in a form for people: ``2026-01-31 09:30:00 UTC``."""
    return f"{timestamp[:10]} {timestamp[11:19]} UTC"


def heading(text: str) -> str:
    """Return a text as the content of an ATX heading."""
    return re.sub(r"#+$", r"\\\g<0>", escape_and_link(" ".join(text.replace("\0", "\ufffd").split())))
