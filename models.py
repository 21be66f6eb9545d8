"""The tables: their fields, constraints and indexes. The queries on them are in ``store``.

The migrations create them, one folder for each engine; a test compares. A field that is added to a table
needs, here, a ``default`` or ``null=True``, its DEFAULT as in the migrations (``constraints=[SQL("DEFAULT 0")]``),
and its name in ``PUBLIC_FIELDS`` if the API returns it, in ``UPDATABLE_FIELDS`` if the API changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from peewee import (
    SQL,
    AutoField,
    Check,
    CompositeKey,
    Context,
    ForeignKeyField,
    IntegerField,
    Model,
    Node,
    TextField,
    fn,
)

from database import db
from limits import (
    MAX_CONTENT_LENGTH,
    MAX_SYSTEM_PROMPT_LENGTH,
    MAX_TITLE_LENGTH,
    MAX_USERNAME_LENGTH,
    ROLES,
    RUN_STATUSES,
)

LONG_ENTRY = 16_384
"""Characters. Entries of a session that have more are in an index, so that a page of them is as long as intended."""
SHORT_RESPONSE = 256
"""Characters. Responses to chats have fewer, whatever their end; those that are stored under a key are in an index."""
DELETED = -1
"""The generation of a deleted session; a user's generations are 0 and more."""


def _timestamp_check(column: str) -> Any:
    return Check(f"{column} LIKE '____-__-__T__:__:__.___Z'")


class _TextCheck(Node):
    """The check of a text's length in characters, and that it holds no U+0000, in the engine's SQL."""

    def __init__(self, column: str, min_length: int, max_length: int):
        self.column = column
        self.length = f"length({column}) BETWEEN {min_length} AND {max_length}"

    def __sql__(self, ctx: Context) -> Context:
        conditions = filter(None, (self.length, db.no_nul_condition(self.column)))
        checked: Context = ctx.sql(Check(" AND ".join(conditions)))
        return checked


def _choice_check(column: str, choices: Sequence[str]) -> Any:
    # Not IN: SQLite builds a temporary table for that, at every row; a third of an import's time.
    return Check(" OR ".join(f"{column} = '{choice}'" for choice in choices))


class BaseModel(Model):
    """Base of all tables."""

    class Meta:
        database = db
        legacy_table_names = False


class User(BaseModel):
    """Someone who can log in. ``name_key`` is the name as it is compared: without case, in NFKC.

    The user's sessions are those of the same ``generation``. It is null while a removed user's rows
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
        constraints = (_TextCheck("username", 1, MAX_USERNAME_LENGTH), _timestamp_check("created_at"))

    PUBLIC_FIELDS = ("id", "username", "created_at")


class Login(BaseModel):
    """A login of a user. Its tokens are valid while its row exists; deleting it revokes them.

    ``refresh_id`` is the ``jti`` of its one unused refresh token, null if it has none. ``rotated`` has those that were
    exchanged lately, with the time: a JSON object.
    """

    id = TextField(primary_key=True)
    user = ForeignKeyField(User, on_delete="CASCADE", backref="logins")
    refresh_id = TextField(null=True)
    created_at = TextField()
    expires_at = TextField(index=True)
    rotated = TextField(default="{}", constraints=[SQL("DEFAULT '{}'")])

    class Meta:
        table_name = "logins"
        constraints = (_timestamp_check("created_at"), _timestamp_check("expires_at"))


class LoginAttempt(BaseModel):
    """A failed attempt to log in, or one in progress: digests of the client's network and of the name."""

    id = TextField(primary_key=True)
    client = TextField()
    name = TextField()
    attempted_at = TextField(index=True)

    class Meta:
        table_name = "login_attempts"


class Session(BaseModel):
    """A conversation. While an import fills it, it has no owner and so is visible to nobody.

    It belongs to its owner while both have the same generation, so that changing one number deletes
    all of a user's sessions. ``external_id`` is the id that an imported session had at its origin.
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
            _TextCheck("title", 0, MAX_TITLE_LENGTH),
            _TextCheck("system_prompt", 1, MAX_SYSTEM_PROMPT_LENGTH),
            _timestamp_check("created_at"),
            _timestamp_check("updated_at"),
        )

    PUBLIC_FIELDS = ("id", "title", "system_prompt", "created_at", "updated_at")
    UPDATABLE_FIELDS = ("title", "system_prompt", "updated_at")


class Move(BaseModel):
    """A session's move up in its owner's list, stored for a day; a trigger inserts it.

    ``seq`` counts a user's moves. The newest one is never deleted, so that no number is used twice.
    """

    user_id = TextField()
    seq = IntegerField()
    session_id = TextField()
    old_updated_at = TextField()
    new_updated_at = TextField()

    class Meta:
        table_name = "moves"
        primary_key = CompositeKey("user_id", "seq")


class SessionEntry(BaseModel):
    """Base of the rows that belong to a session, ordered by ``seq`` and rendered to JSON by the database."""

    PUBLIC_FIELDS: tuple[str, ...]
    JSON_FIELDS: tuple[str, ...]
    """Those that hold JSON as text."""
    LONG_FIELDS: tuple[str, ...]
    """Those that may be long, and are not null."""


def length(entry: Any) -> Any:
    """Return the expression of how many characters an entry has, but for its short fields."""
    return reduce(add, (fn.length(getattr(entry, name)) for name in entry.LONG_FIELDS))


def is_long(entry: Any) -> Any:
    """Return the condition that an entry is long: the constant is no parameter, or the index would not be used."""
    return length(entry) > SQL(str(LONG_ENTRY))


def is_short(record: Any) -> Any:
    """Return the condition that the response stored under a key is short, as that of a chat is."""
    return fn.length(record.response) <= SQL(str(SHORT_RESPONSE))


class Message(SessionEntry):
    """A message. ``seq`` is the order in which messages were written; clocks may jump."""

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
            _TextCheck("content", 1, MAX_CONTENT_LENGTH),
            Check("metadata LIKE '{%}'"),
            _timestamp_check("created_at"),
        )

    PUBLIC_FIELDS = ("id", "session_id", "role", "content", "metadata", "created_at")
    JSON_FIELDS = ("metadata",)
    LONG_FIELDS = ("content", "metadata")


class WebhookRun(SessionEntry):
    """A call of a webhook action fired from a session, for the audit."""

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
    LONG_FIELDS = ("request",)
    OUTCOME_FIELDS = ("status", "response_status", "response_body", "error", "finished_at", "duration_ms")


class Draft(BaseModel):
    """The part of a model's completion received so far. When the chat ends it becomes a message.

    ``question_id`` is the message that is being answered, ``answer_id`` the one that the draft becomes, and
    ``replaced_id`` the earlier answer that is deleted then. ``saved_at``, by the database's clock, is renewed while
    the chat goes on; ``stop_requested`` is set to 1 to have the process that it runs in end it.
    """

    session = ForeignKeyField(Session, primary_key=True, on_delete="CASCADE")
    content = TextField(default="")
    model = TextField(null=True)
    question_id = TextField(null=True)
    replaced_id = TextField(null=True)
    saved_at = TextField(default="", constraints=[SQL("DEFAULT ''")])
    stop_requested = IntegerField(default=0, constraints=[SQL("DEFAULT 0")])
    answer_id = TextField(null=True)

    class Meta:
        table_name = "drafts"
        constraints = (_TextCheck("content", 0, MAX_CONTENT_LENGTH),)


class IdempotencyRecord(BaseModel):
    """The response to a request with an Idempotency-Key, as JSON, and a hash of the request; stored for a day."""

    user = ForeignKeyField(User, on_delete="CASCADE", index=False)
    key = TextField()
    fingerprint = TextField()
    response = TextField(column_name="answer")
    created_at = TextField(index=True)

    class Meta:
        table_name = "retries"
        primary_key = CompositeKey("user", "key")
        constraints = (_timestamp_check("created_at"),)


# The list of a user's sessions is read from this index in its order, without sorting.
Session.add_index(
    Session.user, Session.generation, Session.updated_at.desc(), Session.created_at.desc(), Session.id.desc()
)
# By this one it is found that a session was imported before.
Session.add_index(Session.user, Session.external_id)
# A page of a session ends after its long entries if they are too long together.
for _entry in (Message, WebhookRun):
    _entry.add_index(
        _entry.index(_entry.session, _entry.seq, where=is_long(_entry), name=f"{_entry._meta.table_name}_long")
    )
# Those of chats, for their ends: at the end of each, a user's other keys of a day would be read.
IdempotencyRecord.add_index(
    IdempotencyRecord.index(
        IdempotencyRecord.user, IdempotencyRecord.response, where=is_short(IdempotencyRecord), name="retries_short"
    )
)
# The few that are going on, among all that have ever been.
WebhookRun.add_index(
    WebhookRun.index(WebhookRun.started_at, where=WebhookRun.status == SQL("'running'"), name="webhook_runs_running")
)
LoginAttempt.add_index(LoginAttempt.client, LoginAttempt.attempted_at)

TABLES = (User, Login, LoginAttempt, Session, Move, Message, WebhookRun, Draft, IdempotencyRecord)
