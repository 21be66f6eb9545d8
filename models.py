"""The tables: their fields, constraints and indexes. The queries on them are in ``store``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peewee import SQL, AutoField, Check, CompositeKey, ForeignKeyField, IntegerField, Model, TextField

from database import db
from limits import (
    MAX_CONTENT_LENGTH,
    MAX_SYSTEM_PROMPT_LENGTH,
    MAX_TITLE_LENGTH,
    MAX_USERNAME_LENGTH,
    ROLES,
    RUN_STATUSES,
)

DELETED = -1
"""The generation of a session that was deleted; those of its owner are 0 and more."""


def _timestamp_check(column: str) -> Any:
    return Check(f"{column} LIKE '____-__-__T__:__:__.___Z'")


def _text_check(column: str, min_length: int, max_length: int) -> Any:
    # length() stops at U+0000, which no text may hold.
    return Check(f"length({column}) BETWEEN {min_length} AND {max_length} AND instr({column}, char(0)) = 0")


def _choice_check(column: str, choices: Sequence[str]) -> Any:
    # Not IN: SQLite builds a table of its own for that, at every row; a third of an import's time.
    return Check(" OR ".join(f"{column} = '{choice}'" for choice in choices))


class BaseModel(Model):
    """Base of all tables."""

    class Meta:
        database = db
        legacy_table_names = False


class User(BaseModel):
    """Someone who can log in. ``name_key`` is the name as it is compared: without case, in NFKC.

    The sessions of a user are those of its ``generation``. It is null while a removed user's rows
    are being deleted.
    """

    id = TextField(primary_key=True)
    username = TextField()
    name_key = TextField(unique=True)
    password_hash = TextField()
    created_at = TextField()
    generation = IntegerField(null=True, default=0, constraints=[SQL("DEFAULT 0")])

    class Meta:
        table_name = "users"
        constraints = (_text_check("username", 1, MAX_USERNAME_LENGTH), _timestamp_check("created_at"))

    PUBLIC_FIELDS = ("id", "username", "created_at")


class Login(BaseModel):
    """One login of a user. While its row exists its tokens are valid; deleting it revokes them.

    ``refresh_id`` is the ``jti`` of its one unused refresh token, null if it has none.
    """

    id = TextField(primary_key=True)
    user = ForeignKeyField(User, on_delete="CASCADE", backref="logins")
    refresh_id = TextField(null=True)
    created_at = TextField()
    expires_at = TextField(index=True)

    class Meta:
        table_name = "logins"
        constraints = (_timestamp_check("created_at"), _timestamp_check("expires_at"))


class Session(BaseModel):
    """A conversation. It has no owner, and so is visible to nobody, while an import fills it.

    It is its owner's while it is of the owner's generation, so that one number deletes all of them.
    ``external_id`` is what an imported session was known by where it came from.
    """

    id = TextField(primary_key=True)
    user = ForeignKeyField(User, on_delete="CASCADE", null=True, index=False)
    title = TextField(null=True)
    system_prompt = TextField(null=True)
    created_at = TextField()
    updated_at = TextField()
    external_id = TextField(null=True, column_name="origin")
    generation = IntegerField(default=0, constraints=[SQL("DEFAULT 0")])

    class Meta:
        table_name = "sessions"
        constraints = (
            _text_check("title", 0, MAX_TITLE_LENGTH),
            _text_check("system_prompt", 1, MAX_SYSTEM_PROMPT_LENGTH),
            _timestamp_check("created_at"),
            _timestamp_check("updated_at"),
        )

    PUBLIC_FIELDS = ("id", "title", "system_prompt", "created_at", "updated_at")
    UPDATABLE_FIELDS = ("title", "system_prompt", "updated_at")


class Move(BaseModel):
    """A session's move up in its owner's list, kept for a day; a trigger writes it.

    ``seq`` counts a user's moves. The newest one stays, so that no number is used twice.
    """

    user_id = TextField()
    seq = IntegerField()
    session_id = TextField()
    old_updated_at = TextField()
    new_updated_at = TextField()

    class Meta:
        table_name = "moves"
        primary_key = CompositeKey("user_id", "seq")
        without_rowid = True


class SessionEntry(BaseModel):
    """Base of the rows that belong to a session, ordered by ``seq`` and rendered to JSON by the database."""

    PUBLIC_FIELDS: tuple[str, ...]
    JSON_FIELDS: tuple[str, ...]
    """Those that hold JSON as text."""


class Message(SessionEntry):
    """One message. ``seq`` is the order in which messages were written; clocks may jump."""

    seq = AutoField()
    id = TextField(unique=True)
    session = ForeignKeyField(Session, on_delete="CASCADE", backref="messages")
    role = TextField()
    content = TextField()
    metadata = TextField()
    created_at = TextField()

    class Meta:
        table_name = "messages"
        constraints = (
            _choice_check("role", ROLES),
            _text_check("content", 1, MAX_CONTENT_LENGTH),
            Check("metadata LIKE '{%}'"),
            _timestamp_check("created_at"),
        )

    PUBLIC_FIELDS = ("id", "session_id", "role", "content", "metadata", "created_at")
    JSON_FIELDS = ("metadata",)


class WebhookRun(SessionEntry):
    """One call of a webhook action fired from a session, for the audit."""

    seq = AutoField()
    id = TextField(unique=True)
    session = ForeignKeyField(Session, on_delete="CASCADE", backref="webhook_runs")
    action = TextField()
    status = TextField()
    request = TextField()
    response_status = IntegerField(null=True)
    response_body = TextField(null=True)
    error = TextField(null=True)
    started_at = TextField()
    finished_at = TextField(null=True)
    duration_ms = IntegerField(null=True)

    class Meta:
        table_name = "webhook_runs"
        constraints = (
            _choice_check("status", RUN_STATUSES),
            _timestamp_check("started_at"),
            _timestamp_check("finished_at"),
        )

    PUBLIC_FIELDS = (
        *("id", "session_id", "action", "status", "request", "response_status", "response_body", "error"),
        *("started_at", "finished_at", "duration_ms"),
    )
    JSON_FIELDS = ("request",)
    OUTCOME_FIELDS = ("status", "response_status", "response_body", "error", "finished_at", "duration_ms")


class Draft(BaseModel):
    """The part of a model's answer that has come so far. When the chat ends it becomes a message.

    ``question_id`` is the message that is being answered.
    """

    session = ForeignKeyField(Session, primary_key=True, on_delete="CASCADE")
    content = TextField(default="")
    model = TextField(null=True)
    question_id = TextField(null=True)

    class Meta:
        table_name = "drafts"
        constraints = (_text_check("content", 0, MAX_CONTENT_LENGTH),)


class IdempotencyRecord(BaseModel):
    """What a request with an Idempotency-Key has created, as JSON, and a hash of the request; kept for a day."""

    user = ForeignKeyField(User, on_delete="CASCADE", index=False)
    key = TextField()
    fingerprint = TextField()
    response = TextField(column_name="answer")
    created_at = TextField(index=True)

    class Meta:
        table_name = "retries"
        primary_key = CompositeKey("user", "key")
        constraints = (_timestamp_check("created_at"),)


# The list of a user's sessions comes out of this index in its order, without sorting.
Session.add_index(
    Session.user, Session.generation, Session.updated_at.desc(), Session.created_at.desc(), Session.id.desc()
)
# An imported session is found by this one.
Session.add_index(Session.user, Session.external_id)

TABLES = (User, Login, Session, Move, Message, WebhookRun, Draft, IdempotencyRecord)
