"""The tables and the named queries on them. Rows leave as tuples or plain dicts, never as models."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import and_
from typing import Any, NamedTuple

import orjson
from peewee import SQL, AutoField, Check, CompositeKey, ForeignKeyField, IntegerField, Model, TextField, Tuple, fn

from database import Compiled, db, param
from errors import ApiError, Missing
from values import (
    CONTENT_LENGTH,
    PROMPT_LENGTH,
    ROLES,
    RUN_STATUSES,
    TITLE_LENGTH,
    USERNAME_LENGTH,
    ago,
    later_than,
    new_id,
    now,
)

# An import is written in transactions of this many messages, about 15 ms each. Between two of them,
# while the rows of the next are made, the other writers have their turn.
BATCH = 2_500
# A conversation is read in pages of this many messages, so that a long one takes no more memory.
PAGE = 128
# A page of sessions has no more characters than about this: a system prompt may have 8,000.
PAGE_CHARACTERS = 2_000_000
# Of a session's keys but for its system prompt, about.
SESSION_CHARACTERS = 200
# The generation of a session that was deleted; an owner's own are 0 and more.
DELETED = -1
# Set where something was deleted whose rows are still there; see store/deletion.py.
rows_to_erase = threading.Event()
# How long a request may be sent again with its Idempotency-Key.
RETRY_HOURS = 24


def _time_check(column: str) -> Any:
    return Check(f"{column} LIKE '____-__-__T__:__:__.___Z'")


def _text_check(column: str, shortest: int, longest: int) -> Any:
    # length() stops at U+0000, which no text may hold.
    return Check(f"length({column}) BETWEEN {shortest} AND {longest} AND instr({column}, char(0)) = 0")


def _choice_check(column: str, choices: Sequence[str]) -> Any:
    # Not IN: SQLite builds a table of its own for that, at every row; a third of an import's time.
    return Check(" OR ".join(f"{column} = '{choice}'" for choice in choices))


class Table(Model):
    """What all tables have in common."""

    class Meta:
        database = db
        legacy_table_names = False


class User(Table):
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
        constraints = (_text_check("username", 1, USERNAME_LENGTH), _time_check("created_at"))

    @staticmethod
    def key(username: str) -> str:
        """Return what the spellings of one name have in common.

        No two names that RFC 8265 takes for the same have different keys: folding is what its case
        mapping does, and more. Names from before that profile have keys, too.
        """
        folded = unicodedata.normalize("NFKC", username).casefold()
        return unicodedata.normalize("NFKC", folded)

    @staticmethod
    def existing() -> Any:
        """Return the query of all users but those that are being removed."""
        return User.select().where(User.generation.is_null(False))

    @staticmethod
    def current() -> Any:
        """Return the subquery of the user's generation."""
        return User.select(User.generation).where(User.id == param("user_id"))

    @staticmethod
    def one(user_id: str) -> dict[str, Any]:
        """Return the caller as the API shows them, or raise ``token_revoked`` where they are gone."""
        user = User.select(User.id, User.username, User.created_at).where(User.id == user_id).dicts().first()
        if user is None:
            raise ApiError("token_revoked")
        return dict(user)


class Login(Table):
    """One login of a user. While its row is there its tokens work; deleting it revokes them.

    ``refresh_id`` is the ``jti`` of its one unspent refresh token, null where it has none.
    """

    id = TextField(primary_key=True)
    user = ForeignKeyField(User, on_delete="CASCADE", backref="logins")
    refresh_id = TextField(null=True)
    created_at = TextField()
    expires_at = TextField(index=True)

    class Meta:
        table_name = "logins"
        constraints = (_time_check("created_at"), _time_check("expires_at"))

    _alive = Compiled(lambda: Login.select(SQL("1")).where(Login.id == param("id"), Login.user == param("user_id")))

    @staticmethod
    def alive(login_id: str, user_id: str) -> bool:
        """Tell whether the login, and with it its user, still exists: one look by primary key."""
        return Login._alive(id=login_id, user_id=user_id).fetchone() is not None


Look = Callable[[dict[str, Any]], None]
"""Gets to see a session before something is done with it, and may raise what forbids it."""


def anything(session: dict[str, Any]) -> None:
    """Forbid nothing."""


class PageState(NamedTuple):
    """Where a page of sessions ends: what came last by the list's order, and the last move that is accounted for."""

    below: Sequence[str]
    seq: int


class PageTooOld(ApiError):
    """The moves since a page are not known any more."""

    def __init__(self) -> None:
        super().__init__("validation_error", {"cursor": ["Too old: begin again with the first page."]})


class Move(Table):
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

    _first = Compiled(lambda: Move.select(fn.MIN(Move.seq)).where(Move.user_id == param("user_id")))
    _last = Compiled(lambda: Move.select(fn.MAX(Move.seq)).where(Move.user_id == param("user_id")))

    @staticmethod
    def count_since(user_id: str, seq: int) -> int:
        """Return how many moves of a user's there have been since one."""
        return Move.last(user_id) - seq

    @staticmethod
    def first(user_id: str) -> int:
        """Return the ``seq`` of a user's oldest known move, 0 where there is none."""
        return Move._first(user_id=user_id).fetchone()[0] or 0

    @staticmethod
    def last(user_id: str) -> int:
        """Return the ``seq`` of a user's newest move, 0 where there is none."""
        return Move._last(user_id=user_id).fetchone()[0] or 0


class AlreadyImported(Exception):
    """What is to be imported is there already, as this session."""

    def __init__(self, session_id: str):
        super().__init__(session_id)
        self.session_id = session_id


class Session(Table):
    """A conversation. It has no owner, and so is nobody's to see, while an import fills it."""

    id = TextField(primary_key=True)
    user = ForeignKeyField(User, on_delete="CASCADE", null=True, index=False)
    title = TextField(null=True)
    system_prompt = TextField(null=True)
    created_at = TextField()
    updated_at = TextField()
    origin = TextField(null=True)
    generation = IntegerField(default=0, constraints=[SQL("DEFAULT 0")])

    class Meta:
        table_name = "sessions"
        constraints = (
            _text_check("title", 0, TITLE_LENGTH),
            _text_check("system_prompt", 1, PROMPT_LENGTH),
            _time_check("created_at"),
            _time_check("updated_at"),
        )

    KEYS = ("id", "title", "system_prompt", "created_at", "updated_at")

    @staticmethod
    def owned(*more: Any) -> Any:
        """Return the condition that a session is the user's, and has not been deleted."""
        return reduce(and_, more, (Session.user == param("user_id")) & (Session.generation == User.current()))

    _one = Compiled(lambda: Session.select(*Session._columns()).where(Session.owned(Session.id == param("id"))))
    _below = Compiled(
        lambda: (
            Session.select(*Session._columns())
            .where(Session.owned(Session._place() < Session._given_place()))
            .order_by(Session.updated_at.desc(), Session.created_at.desc(), Session.id.desc())
        )
    )
    _risen = Compiled(
        lambda: (
            Session.select(*Session._columns(), Move.seq)
            .join(Move, on=(Move.session_id == Session.id))
            .where(
                Move.user_id == param("user_id"),
                Move.seq > param("seq"),
                Move.old_updated_at <= param("updated_at"),  # says less than the next, but of the move alone
                Session._place(Move.old_updated_at) < Session._given_place(),
                Session._place(Move.new_updated_at) >= Session._given_place(),
                Session.owned(),
            )
            .order_by(Move.seq)
        )
    )
    _insert = Compiled(lambda: Session._insert_query(User.current()))
    _insert_ownerless = Compiled(lambda: Session._insert_query(0))
    _update = Compiled(
        lambda: Session.update(
            {field: param(field.name) for field in (Session.title, Session.system_prompt, Session.updated_at)}
        ).where(Session.id == param("id"))
    )
    _give = Compiled(
        lambda: Session.update({Session.user: param("user_id"), Session.generation: User.current()}).where(
            Session.id == param("id"), Session.user.is_null(), Session.generation == 0
        )
    )
    _by_origin = Compiled(
        lambda: Session.select(Session.id).where(Session.owned(Session.origin == param("origin"))).limit(1)
    )

    @staticmethod
    def _columns() -> list[Any]:
        return [getattr(Session, key) for key in Session.KEYS]

    @staticmethod
    def _insert_query(generation: Any) -> Any:
        fields = (*Session._columns(), Session.user, Session.origin)
        return Session.insert({field: param(field.column_name) for field in fields} | {Session.generation: generation})

    @staticmethod
    def _place(updated_at: Any = None) -> Any:
        return Tuple(updated_at or Session.updated_at, Session.created_at, Session.id)

    @staticmethod
    def _given_place() -> Any:
        return Tuple(param("updated_at"), param("created_at"), param("id"))

    @staticmethod
    def one(user_id: str, session_id: str, look: Look = anything) -> dict[str, Any]:
        """Return one session of the user's, unless ``look`` raises, or raise Missing."""
        row = Session._one(id=session_id, user_id=user_id).fetchone()
        if row is None:
            raise Missing("session")
        session = dict(zip(Session.KEYS, row, strict=True))
        look(session)
        return session

    @staticmethod
    def page(
        user_id: str, limit: int, place: PageState | None, characters: int = PAGE_CHARACTERS
    ) -> tuple[list[dict[str, Any]], PageState | None]:
        """Return some of the user's sessions and the place where the rest begins, None where there is none.

        All that were there at the first page come once, if they are there still. The pages go down
        the list. A session only ever moves up, so it passes by the place they have come to once at
        most, and its move is noted: who has passed since the page before comes first in this one.

        Raises:
            PageTooOld: where moves since then have been forgotten.

        """
        below = place.below if place else ("~", "", "")
        values: dict[str, Any] = dict(zip(("updated_at", "created_at", "id"), below, strict=True))
        if place is None:
            rows, _, more = _some(Session._below(user_id=user_id, **values), limit, characters)
            if not more:  # the whole list: one statement, without the tenth that a transaction costs
                return [Session._dict(row) for row in rows], None
        with db.reading():
            risen: list[dict[str, Any]] = []
            if place:
                if place.seq < Move.first(user_id) - 1:
                    raise PageTooOld
                passed = Session._risen(user_id=user_id, seq=place.seq, **values)
                rows, characters, more = _some(passed, limit, characters)
                risen = sorted((Session._dict(row) for row in rows), key=Session._order, reverse=True)
                if more:
                    return risen, PageState(below, rows[-1][-1])
            rest = Session._below(user_id=user_id, **values)
            rows, _, more = _some(rest, limit - len(risen), characters)
            items = [Session._dict(row) for row in rows]
            if not more:
                return risen + items, None
            return risen + items, PageState(Session._order(items[-1]) if items else below, Move.last(user_id))

    @staticmethod
    def _dict(row: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(Session.KEYS, row, strict=False))

    @staticmethod
    def _order(session: dict[str, Any]) -> tuple[str, str, str]:
        return session["updated_at"], session["created_at"], session["id"]

    @staticmethod
    def _new(title: str | None, prompt: str | None = None, created_at: str | None = None) -> dict[str, Any]:
        present = now()
        return dict(zip(Session.KEYS, (new_id(), title, prompt, created_at or present, present), strict=True))

    @staticmethod
    def add(user_id: str, title: str | None, then: Look = anything) -> dict[str, Any]:
        """Create a session and return it; ``then`` sees it in the same transaction."""
        session = Session._new(title)
        with db.writing():
            Session._insert(user_id=user_id, origin=None, **session)
            then(session)
        return session

    @staticmethod
    def change(user_id: str, session_id: str, look: Look = anything, **changes: Any) -> dict[str, Any]:
        """Set the title or the system prompt, unless ``look`` raises; return the session as it is then."""
        with db.writing():
            session = Session.one(user_id, session_id, look) | changes
            session["updated_at"] = later_than(session["updated_at"])
            Session._update(**session)
        return session

    @staticmethod
    def set_prompt(user_id: str, session_id: str, prompt: str | None, look: Look = anything) -> dict[str, Any]:
        """Set or clear the system prompt; the same one again changes nothing."""
        session = Session.one(user_id, session_id, look)
        if session["system_prompt"] == prompt:
            return session
        return Session.change(user_id, session_id, look, system_prompt=prompt)

    @staticmethod
    def take_in(
        user_id: str,
        given: dict[str, Any],
        messages: Sequence[tuple[Any, ...]],
        then: Look = anything,
        prompt: str | None = None,
        once: bool = False,
    ) -> dict[str, Any]:
        """Create a session with all its messages, or nothing, and return it; ``once``, or raise AlreadyImported.

        ``given`` has its ``title``, ``created_at`` and ``origin``; ``messages`` are
        ``(role, content, metadata as JSON text, created_at or None)`` in their order. A long import
        would keep all other writers waiting, so it is written a batch at a time into a session that
        belongs to nobody yet; giving it to its owner is what makes it exist. ``then`` sees the
        session in the transaction that makes it exist.
        """
        session = Session._new(given["title"], prompt, given["created_at"])
        origin = given["origin"]

        def refuse_known() -> None:
            if once:
                Session._refuse_known(user_id, origin)

        refuse_known()
        if len(messages) <= BATCH:
            rows = Message.rows(session, messages)
            with db.writing():
                refuse_known()
                Session._insert(user_id=user_id, origin=origin, **session)
                Message._insert.many(rows)
                then(session)
            return session
        with db.writing(lasting=False):
            Session._insert_ownerless(user_id=None, origin=origin, **session)
        try:
            for start in range(0, len(messages), BATCH):
                rows = Message.rows(session, messages[start : start + BATCH])
                with db.writing(lasting=False):
                    Message._insert.many(rows)
            with db.writing():
                refuse_known()
                if not Session._give(user_id=user_id, id=session["id"]).rowcount:
                    raise ApiError("database_busy")  # a server that has started meanwhile took it for left over
                then(session)
        except BaseException:
            Session.recover(session["id"])
            raise
        return session

    @staticmethod
    def imported_from(user_id: str, origin: str | None) -> str | None:
        """Return the id of the user's session that was imported from an origin, or has it as its id."""
        by_origin = Session._by_origin(user_id=user_id, origin=origin).fetchone()
        known = by_origin or Session._one(id=origin, user_id=user_id).fetchone()
        return known[0] if known else None

    @staticmethod
    def _refuse_known(user_id: str, origin: str | None) -> None:
        if known := Session.imported_from(user_id, origin):
            raise AlreadyImported(known)

    @staticmethod
    def recover(session_id: str | None = None) -> None:
        """Have deleted what imports that were cut off have left behind, or one of them."""
        with db.writing(frees=True):
            ownerless = Session.user.is_null() & (Session.generation != DELETED)
            Session.update(generation=DELETED).where(
                ownerless if session_id is None else ownerless & (Session.id == session_id)
            ).execute()
        rows_to_erase.set()


def _some(cursor: Any, limit: int, characters: int) -> tuple[list[tuple[Any, ...]], int, bool]:
    """Read rows of sessions until there are enough; return them, the characters left, and whether there are more."""
    rows: list[tuple[Any, ...]] = []
    more = False
    for row in cursor:
        more = len(rows) == limit or characters <= 0
        if more:
            break
        rows.append(row)
        characters -= SESSION_CHARACTERS + len(row[2] or "")
    cursor.close()
    return rows, characters, more


class GoneMeanwhile(Exception):
    """A session was deleted while it was sent: the client is left with a body that says it is cut short."""


class Row(Table):
    """What hangs on a session in the order of ``seq``, and is sent as JSON, key by key, by the page."""

    KEYS: tuple[str, ...]
    JSON_KEYS: tuple[str, ...]
    _last: Compiled
    _page: Compiled
    _one: Compiled

    @classmethod
    def last_query(cls: Any) -> Any:
        """Find where a session's rows end, for now."""
        return cls.select(fn.MAX(cls.seq)).where(cls.session == param("session_id"))

    @classmethod
    def page_query(cls: Any) -> Any:
        """Let SQLite write the JSON: without a Python object a value, and without the interpreter lock."""
        columns = [getattr(cls, key).alias(key) for key in cls.KEYS]
        between = (cls.seq > param("after")) & (cls.seq <= param("last"))
        chosen = cls.select(cls.seq, *columns).where(cls.session == param("session_id"), between)
        rows = chosen.order_by(cls.seq).limit(param("limit"))
        values = {key: getattr(rows.c, key) for key in cls.KEYS}
        values |= {key: fn.json(values[key]) for key in cls.JSON_KEYS}  # as it stands, not as a string
        items = fn.group_concat(fn.json_object(*(part for pair in values.items() for part in pair)))
        return rows.select_from(fn.MAX(rows.c.seq), items.cast("BLOB"))

    @classmethod
    def one_query(cls: Any) -> Any:
        """Find a row of a session by its id."""
        columns = [cls.seq, *(getattr(cls, key) for key in cls.KEYS)]
        return cls.select(*columns).where(cls.id == param("id"), cls.session == param("session_id"))

    @classmethod
    def one(cls, user_id: str, session_id: str, row_id: str) -> dict[str, Any]:
        """Return a row of a session of the user's, ``seq`` included, or raise Missing."""
        Session.one(user_id, session_id)
        row = cls._one(id=row_id, session_id=session_id).fetchone()
        if row is None:
            raise Missing("session")
        return cls._dict(row)

    @classmethod
    def shown(cls, user_id: str, session_id: str, row_id: str) -> dict[str, Any]:
        """Return a row of a session of the user's as it is sent, or raise Missing."""
        with db.reading():
            row = cls.one(user_id, session_id, row_id)
        return {key: row[key] for key in cls.KEYS}

    @classmethod
    def _dict(cls, row: tuple[Any, ...]) -> dict[str, Any]:
        found = dict(zip(("seq", *cls.KEYS), row, strict=True))
        return found | {key: orjson.Fragment(found[key]) for key in cls.JSON_KEYS}

    @classmethod
    def last(cls, session_id: str) -> int:
        """Return the ``seq`` of the session's newest row, 0 where there is none."""
        return cls._last(session_id=session_id).fetchone()[0] or 0

    @classmethod
    def page(cls, session_id: str, after: int, last: int, limit: int = PAGE) -> tuple[bytes, int]:
        """Return some of the rows with ``after < seq <= last``, and the ``seq`` they end at.

        The page is JSON: the objects, with commas between them. Only one that ends at ``last`` is
        the last; where there is no page, the rows are gone.
        """
        end, items = cls._page(session_id=session_id, after=after, last=last, limit=limit).fetchone()
        return items or b"", end or after


class Message(Row):
    """One message. ``seq`` is the order in which messages were written; times may lie."""

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
            _text_check("content", 1, CONTENT_LENGTH),
            Check("metadata LIKE '{%}'"),
            _time_check("created_at"),
        )

    KEYS = ("id", "session_id", "role", "content", "metadata", "created_at")
    JSON_KEYS = ("metadata",)

    _insert = Compiled(lambda: Message.insert({getattr(Message, key): param(key) for key in Message.KEYS}))
    _touch = Compiled(
        lambda: Session.update({Session.updated_at: param("updated_at")}).where(Session.id == param("session_id"))
    )
    _last = Compiled(lambda: Message.last_query())
    _one = Compiled(lambda: Message.one_query())
    _page = Compiled(lambda: Message.page_query())
    _texts = Compiled(
        lambda: (
            Message.select(Message.seq, Message.role, Message.content, Message.created_at)
            .where(Message.session == param("session_id"), Message.seq > param("after"), Message.seq <= param("last"))
            .order_by(Message.seq)
            .limit(PAGE)
        )
    )
    _newest = Compiled(
        lambda: (
            Message.select(Message.role, Message.content)
            .where(Message.session == param("session_id"))
            .order_by(Message.seq.desc())
        )
    )

    @staticmethod
    def add(
        user_id: str, session_id: str, role: str, content: str, metadata: str, then: Look = anything
    ) -> dict[str, Any]:
        """Append a message to a session of the user's and return it, or raise Missing.

        ``then`` sees it in the same transaction.
        """
        message = {"id": new_id(), "session_id": session_id, "role": role, "content": content, "metadata": metadata}
        with db.writing():
            moment = later_than(Session.one(user_id, session_id)["updated_at"])
            Message._touch(session_id=session_id, updated_at=moment)
            Message._insert(**message, created_at=moment)
            then(message)
        return message | {"metadata": orjson.Fragment(metadata), "created_at": moment}

    @staticmethod
    def rows(session: dict[str, Any], messages: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return imported messages as rows of the table, in the order of ``KEYS``."""
        session_id, present = session["id"], session["updated_at"]
        return [
            (new_id(), session_id, role, content, metadata, moment or present)
            for role, content, metadata, moment in messages
        ]

    @staticmethod
    def texts(session_id: str, last: int) -> Iterator[tuple[str, str, str]]:
        """Yield role, content and time of a session's messages in their order, read by the page."""
        end = 0
        while end < last:
            db.prepare()
            rows = Message._texts(session_id=session_id, after=end, last=last).fetchall()
            if not rows:
                raise GoneMeanwhile
            end = rows[-1][0]
            for _, *text in rows:
                yield tuple(text)

    @staticmethod
    def newest(session_id: str) -> Iterator[tuple[str, str]]:
        """Yield role and content of a session's messages, the newest first, read as they are asked for."""
        cursor = Message._newest(session_id=session_id)
        try:
            yield from cursor
        finally:
            cursor.close()


class WebhookRun(Row):
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
            _time_check("started_at"),
            _time_check("finished_at"),
        )

    KEYS = (
        *("id", "session_id", "action", "status", "request", "response_status", "response_body", "error"),
        *("started_at", "finished_at", "duration_ms"),
    )
    JSON_KEYS = ("request",)

    _insert = Compiled(lambda: WebhookRun.insert({getattr(WebhookRun, key): param(key) for key in WebhookRun.KEYS}))
    _finish = Compiled(
        lambda: WebhookRun.update(
            {
                getattr(WebhookRun, key): param(key)
                for key in WebhookRun.KEYS[3:]
                if key not in ("request", "started_at")
            }
        ).where(WebhookRun.id == param("id"))
    )
    _last = Compiled(lambda: WebhookRun.last_query())
    _one = Compiled(lambda: WebhookRun.one_query())
    _page = Compiled(lambda: WebhookRun.page_query())

    @staticmethod
    def begin(
        user_id: str, session_id: str, run_id: str, action: str, request: str, then: Look = anything
    ) -> dict[str, Any]:
        """Write down that an action is fired, or raise Missing, and return the run; ``then`` sees it too."""
        run = dict.fromkeys(WebhookRun.KEYS) | {
            "id": run_id,
            "session_id": session_id,
            "action": action,
            "status": "running",
            "request": request,
            "started_at": now(),
        }
        with db.writing():
            Session.one(user_id, session_id)
            WebhookRun._insert(**run)
            then(run)
        return run

    @staticmethod
    def finish(run: dict[str, Any], **outcome: Any) -> dict[str, Any]:
        """Write down how a run has ended, and when, and return it as it is sent."""
        run = run | outcome
        with db.writing():
            WebhookRun._finish(**run)
        return run | {"request": orjson.Fragment(run["request"])}

    @staticmethod
    def recover() -> None:
        """Mark the runs that a process which is no more has left running."""
        with db.writing():
            WebhookRun.update(status="interrupted", finished_at=now()).where(WebhookRun.status == "running").execute()


class Draft(Table):
    """An answer that a model is giving: what has come of it so far. Then it becomes a message."""

    session = ForeignKeyField(Session, primary_key=True, on_delete="CASCADE")
    content = TextField(default="")
    model = TextField(null=True)
    question_id = TextField(null=True)

    class Meta:
        table_name = "drafts"
        constraints = (_text_check("content", 0, CONTENT_LENGTH),)

    _insert = Compiled(
        lambda: Draft.insert(
            {Draft.session: param("session_id"), Draft.content: "", Draft.question_id: param("question_id")}
        )
    )
    _one = Compiled(
        lambda: Draft.select(Draft.content, Draft.model, Draft.question_id).where(Draft.session == param("session_id"))
    )
    _save = Compiled(
        lambda: Draft.update({Draft.content: param("content"), Draft.model: param("model")}).where(
            Draft.session == param("session_id"), Draft.question_id == param("question_id")
        )
    )
    _delete = Compiled(lambda: Draft.delete().where(Draft.session == param("session_id")))

    @staticmethod
    def begin(user_id: str, session_id: str, content: str, metadata: str, then: Look = anything) -> dict[str, Any]:
        """Append the user's message and begin the draft of its answer, or raise Missing; return the message.

        ``then`` sees it in the same transaction.
        """
        with db.writing():
            Session.one(user_id, session_id)
            Draft._recover(user_id, session_id)
            message = Message.add(user_id, session_id, "user", content, metadata, then)
            Draft._insert(session_id=session_id, question_id=message["id"])
        return message

    @staticmethod
    def keep(drafts: Sequence[dict[str, Any]]) -> set[str]:
        """Keep what has come so far, for the case that the process ends here; return the sessions that are gone.

        ``drafts`` have ``session_id``, ``question_id``, ``content`` and ``model``.
        """
        with db.writing(lasting=False):
            return {draft["session_id"] for draft in drafts if not Draft._save(**draft).rowcount}

    @staticmethod
    def finish(
        user_id: str, session_id: str, content: str, metadata: str, error: str | None = None
    ) -> dict[str, Any] | None:
        """Make the draft a message, where there is any text, and return that; raise Missing if nobody wants it.

        ``error`` is the code that the chat ended with, for whoever sends the request again.
        """
        with db.writing():
            draft = Draft._one(session_id=session_id).fetchone()
            if not draft:
                raise Missing("session")
            Draft._delete(session_id=session_id)
            answer = Message.add(user_id, session_id, "assistant", content, metadata) if content else None
            if draft[2]:
                Retry.answered(user_id, draft[2], answer["id"] if answer else None, error)
            return answer

    @staticmethod
    def recover() -> None:
        """Finish the drafts that a process which is no more has left."""
        with db.writing():
            alive = (User.id == Session.user) & (User.generation == Session.generation)
            left: Any = Draft.select(Session.user, Draft.session).join(Session).join(User, on=alive).tuples()
            for user_id, session_id in list(left):
                Draft._recover(user_id, session_id)

    @staticmethod
    def _recover(user_id: str, session_id: str) -> None:
        left = Draft._one(session_id=session_id).fetchone()
        if left:
            content, model, _ = left
            metadata = orjson.dumps({"model": model, "finish_reason": "interrupted"}).decode()
            Draft.finish(user_id, session_id, content, metadata, "upstream_error")


class KeyTaken(Exception):
    """Another request with this key has been committed since it was looked for."""


class Retry(Table):
    """What a request with an Idempotency-Key has made, as JSON, and what it asked for, as a hash; kept for a day."""

    user = ForeignKeyField(User, on_delete="CASCADE", index=False)
    key = TextField()
    fingerprint = TextField()
    answer = TextField()
    created_at = TextField(index=True)

    class Meta:
        table_name = "retries"
        primary_key = CompositeKey("user", "key")
        constraints = (_time_check("created_at"),)

    _one = Compiled(
        lambda: Retry.select(Retry.fingerprint, Retry.answer).where(
            Retry.user == param("user_id"), Retry.key == param("key"), Retry.created_at > param("oldest")
        )
    )
    _insert = Compiled(
        lambda: Retry.insert(
            {getattr(Retry, name): param(name) for name in ("user_id", "key", "fingerprint", "answer", "created_at")}
        ).on_conflict_ignore()
    )
    _sweep = Compiled(lambda: Retry.delete().where(Retry.created_at <= param("oldest")))

    @staticmethod
    def find(user_id: str, key: str, fingerprint: str) -> str | None:
        """Return what was made under a key; raise ``conflict`` where that was for another request."""
        row = Retry._one(user_id=user_id, key=key, oldest=ago(hours=RETRY_HOURS)).fetchone()
        if row and row[0] != fingerprint:
            raise ApiError("conflict")
        return row and str(row[1])

    @staticmethod
    def answered(user_id: str, question_id: str, answer_id: str | None, error: str | None) -> None:
        """Note the answer to a question that was asked under a key, if it was, or the code of what went wrong."""
        ending = {"answer_id": answer_id, "error": error}
        made = {"id": question_id} | {key: value for key, value in ending.items() if value}
        asked, answered = orjson.dumps({"id": question_id}).decode(), orjson.dumps(made).decode()
        Retry.update(answer=answered).where(Retry.user == user_id, Retry.answer == asked).execute()

    @staticmethod
    def keep(user_id: str, key: str, fingerprint: str, answer: str) -> None:
        """Keep what is being made under a key, and let go of what is too old.

        Raises:
            KeyTaken: where something has been made under it already.

        """
        with db.writing():
            Retry._sweep(oldest=ago(hours=RETRY_HOURS))
            row = {"user_id": user_id, "key": key, "fingerprint": fingerprint, "answer": answer, "created_at": now()}
            if not Retry._insert(**row).rowcount:
                raise KeyTaken


# The list of a user's sessions comes out of this index in its order, with no sorting.
Session.add_index(
    Session.user, Session.generation, Session.updated_at.desc(), Session.created_at.desc(), Session.id.desc()
)
# What was imported before is found by this one.
Session.add_index(Session.user, Session.origin)

TABLES = (User, Login, Session, Move, Message, WebhookRun, Draft, Retry)
