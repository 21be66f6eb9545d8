"""What a Python team would write instead: FastAPI, pydantic, SQLAlchemy's ORM, PyJWT, uvicorn.

The same tables, limits, codes and shapes as Parley's, for the routes that are measured. Handlers
are plain functions in FastAPI's thread pool, as its documentation advises for a blocking driver. One
file, longer than other modules, so that the peer is seen to be whole.
"""

from __future__ import annotations

import argparse
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import httpx
import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from sqlalchemy import JSON, ForeignKey, Index, create_engine, event, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

THREADS = 40  # of FastAPI's pool, each with a connection of its own
SECRET = "a secret for the benchmark only, on loopback"


def new_id() -> str:
    return str(uuid.uuid4())


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    username: Mapped[str] = mapped_column(unique=True)


class Login(Base):
    __tablename__ = "logins"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)


class ChatSession(Base):
    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str | None] = mapped_column(default=None)
    system_prompt: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    messages: Mapped[list[Message]] = relationship(order_by="Message.seq", passive_deletes=True)

    __table_args__ = (Index("sessions_of_user", user_id, updated_at.desc(), created_at.desc()),)


class Message(Base):
    __tablename__ = "messages"
    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=new_id)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    role: Mapped[str]
    content: Mapped[str]
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)

    __table_args__ = (Index("messages_of_session", session_id, seq),)


Time = Annotated[datetime, PlainSerializer(lambda moment: moment.isoformat(timespec="milliseconds") + "Z")]


class SessionOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: str
    title: str | None
    system_prompt: str | None
    created_at: Time
    updated_at: Time


class MessageOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: str
    session_id: str
    role: str
    content: str
    metadata: dict[str, Any] = Field(validation_alias="meta")
    created_at: Time


class SessionList(BaseModel):
    items: list[SessionOut]


class Conversation(SessionOut):
    messages: list[MessageOut]


class NewSession(BaseModel):
    title: str | None = Field(None, min_length=1, max_length=120)


class NewMessage(BaseModel):
    role: Literal["user", "assistant", "system"]
    content: str = Field(min_length=1, max_length=50_000)
    metadata: dict[str, Any] = {}


class ImportedMessage(NewMessage):
    created_at: datetime | None = None


class ImportedSession(BaseModel):
    title: str | None = Field(None, max_length=120)
    created_at: datetime | None = None


class ImportDocument(BaseModel):
    version: Literal[1] = 1
    session: ImportedSession
    messages: list[ImportedMessage]


class ImportReport(BaseModel):
    session: SessionOut
    imported_messages: int


class ExportedSession(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: str
    title: str | None
    created_at: Time
    updated_at: Time


class ExportDocument(BaseModel):
    version: int = 1
    exported_at: Time
    session: ExportedSession
    messages: list[MessageOut]


app = FastAPI()
make_session = sessionmaker()
client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))


def database() -> Iterator[Session]:
    with make_session() as session:
        yield session


Database = Annotated[Session, Depends(database)]
Token = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


def caller(token: Token, db: Database) -> str:
    try:
        claims = jwt.decode(token.credentials, SECRET, algorithms=["HS256"], options={"require": ["exp", "sub", "jti"]})
    except jwt.PyJWTError as error:
        raise HTTPException(401) from error
    if db.get(Login, claims["login"]) is None:
        raise HTTPException(401)
    user_id: str = claims["sub"]
    return user_id


Caller = Annotated[str, Depends(caller)]


def owned(db: Session, user_id: str, session_id: str) -> ChatSession:
    session = db.get(ChatSession, session_id)
    if session is None or session.user_id != user_id:
        raise HTTPException(404)
    return session


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/api/sessions", response_model=SessionList)
def list_sessions(user_id: Caller, db: Database) -> Any:
    order = (ChatSession.updated_at.desc(), ChatSession.created_at.desc())
    return {"items": db.scalars(select(ChatSession).where(ChatSession.user_id == user_id).order_by(*order)).all()}


@app.post("/api/sessions", status_code=201, response_model=SessionOut)
def create_session(user_id: Caller, db: Database, body: NewSession | None = None) -> Any:
    moment = now()
    session = ChatSession(
        id=new_id(), user_id=user_id, title=body.title if body else None, created_at=moment, updated_at=moment
    )
    db.add(session)
    answer = SessionOut.model_validate(session)
    db.commit()
    return answer


@app.get("/api/sessions/{session_id}", response_model=Conversation)
def get_session(session_id: str, user_id: Caller, db: Database) -> Any:
    return owned(db, user_id, session_id)


def stored(db: Session, session: ChatSession, role: str, content: str) -> str:
    session.updated_at = now()
    message = Message(
        id=new_id(), session_id=session.id, role=role, content=content, meta={}, created_at=session.updated_at
    )
    db.add(message)
    answer = MessageOut.model_validate(message).model_dump_json()
    db.commit()
    return answer


class Question(BaseModel):
    content: str = Field(min_length=1, max_length=50_000)


@app.post("/api/sessions/{session_id}/chat")
def chat(session_id: str, body: Question, user_id: Caller, db: Database) -> StreamingResponse:
    question = stored(db, owned(db, user_id, session_id), "user", body.content)
    order = select(Message).where(Message.session_id == session_id).order_by(Message.seq)
    conversation = [{"role": message.role, "content": message.content} for message in db.scalars(order)]
    db.close()  # the dependency itself ends with the stream, and would keep its connection until then

    async def events() -> AsyncIterator[str]:
        yield f"event: message\ndata: {question}\n\n"
        pieces = []
        asked = {"model": "m", "messages": conversation, "stream": True}
        async with client.stream("POST", os.environ["LLM_URL"] + "/chat/completions", json=asked) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    piece = json.loads(line[6:])["choices"][0]["delta"].get("content")
                    if piece:
                        pieces.append(piece)
                        yield f"event: delta\ndata: {json.dumps({'content': piece})}\n\n"
        yield f"event: message\ndata: {await run_in_threadpool(keep, ''.join(pieces))}\n\n"
        yield "event: done\ndata: {}\n\n"

    def keep(content: str) -> str:
        with make_session() as db:
            return stored(db, owned(db, user_id, session_id), "assistant", content)

    return StreamingResponse(events(), media_type="text/event-stream")


@app.post("/api/sessions/{session_id}/messages", status_code=201, response_model=MessageOut)
def append_message(session_id: str, body: NewMessage, user_id: Caller, db: Database) -> Any:
    session = owned(db, user_id, session_id)
    session.updated_at = now()
    message = Message(
        id=new_id(),
        session_id=session_id,
        role=body.role,
        content=body.content,
        meta=body.metadata,
        created_at=session.updated_at,
    )
    db.add(message)
    answer = MessageOut.model_validate(message)
    db.commit()
    return answer


@app.get("/api/sessions/{session_id}/export", response_model=ExportDocument)
def export_session(session_id: str, user_id: Caller, db: Database) -> Any:
    session = owned(db, user_id, session_id)
    return {"exported_at": now(), "session": session, "messages": session.messages}


@app.post("/api/sessions/import", status_code=201, response_model=ImportReport)
def import_session(body: ImportDocument, user_id: Caller, db: Database) -> Any:
    moment = now()
    session = ChatSession(
        id=new_id(),
        user_id=user_id,
        title=body.session.title,
        created_at=_naive(body.session.created_at) or moment,
        updated_at=moment,
    )
    db.add(session)
    db.flush()
    if body.messages:
        rows = [
            {
                "id": new_id(),
                "session_id": session.id,
                "role": message.role,
                "content": message.content,
                "meta": message.metadata,
                "created_at": _naive(message.created_at) or moment,
            }
            for message in body.messages
        ]
        db.execute(insert(Message), rows)  # SQLAlchemy's bulk insert
    answer = {"session": SessionOut.model_validate(session), "imported_messages": len(body.messages)}
    db.commit()
    return answer


def _naive(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment and moment.tzinfo else moment


def open_database(url: str) -> None:
    options: dict[str, Any] = {"json_serializer": lambda value: json.dumps(value, ensure_ascii=False)}
    if not url.startswith("sqlite"):
        options |= {"pool_size": THREADS, "max_overflow": 0}
    engine = create_engine(url, **options)

    if url.startswith("sqlite"):

        @event.listens_for(engine, "connect")
        def settings(connection: Any, record: Any) -> None:
            for pragma in ("journal_mode=wal", "synchronous=full", "foreign_keys=1", "busy_timeout=5000"):
                connection.execute(f"PRAGMA {pragma}")

    Base.metadata.create_all(engine)
    make_session.configure(bind=engine)


def make_token() -> str:
    """Make a user with a login, and return a token of theirs."""
    with make_session() as db:
        user = User(id=new_id(), username=new_id())
        db.add(user)
        db.flush()
        login = Login(id=new_id(), user_id=user.id)
        db.add(login)
        claims = {"sub": user.id, "login": login.id, "jti": new_id(), "type": "access"}
        db.commit()
    return jwt.encode(claims | {"exp": datetime.now(UTC) + timedelta(days=1)}, SECRET, "HS256")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("database", help="its URL, in SQLAlchemy's form")
    arguments = parser.parse_args()
    open_database(arguments.database)
    print(make_token(), make_token(), flush=True)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, access_log=False, log_level="warning")
