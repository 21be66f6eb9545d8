"""Clients that write and read all along, whatever happens to the servers, and the check of what they were told."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any
from urllib.parse import quote

from tests.helpers.clock import wait_until
from tests.helpers.process import ServerProcess

# Whatever happens to the database, a request has its response by then: who waits longer takes it for a hang.
BOUND_SECONDS = 40.0
DATABASE_ERRORS = frozenset([(503, "database_unavailable"), (503, "database_busy")])
PAGE_SIZE = 7
PAUSE_SECONDS = 0.02


@dataclass
class Message:
    """A message that was acknowledged: when it was sent for the first time, and when its response came."""

    id: str
    content: str
    sent_at: float
    acknowledged_at: float


@dataclass
class Session:
    """A session that is written to: what was acknowledged of it, and what its reader has seen of it."""

    id: str
    token: str
    acknowledged: list[Message] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    writers: list[Future[None]] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/api/sessions/{self.id}"


class Client:
    """Sends requests to any of the servers, which may be replaced.

    A response must come in time, and be one of the ``allowed`` errors if it is one. Its connection may be closed if
    servers are killed.
    """

    def __init__(self, servers: Sequence[ServerProcess], allowed: frozenset[tuple[int, str]], are_killed: bool):
        self.servers, self._allowed, self._are_killed = servers, allowed, are_killed
        self._connections: dict[str, http.client.HTTPConnection] = {}
        self.errors: Counter[tuple[int, str]] = Counter()

    def send(self, method: str, path: str, body: Any = None, token: str = "", key: str = "") -> tuple[int, Any]:
        """Send a request once and return the status and the body of its response, of an error its code.

        The status is 0 if there is no response since the server was killed.
        """
        server = random.choice(self.servers)
        connection = self._connections.setdefault(server.url, http.client.HTTPConnection(*server.address))
        connection.timeout = BOUND_SECONDS
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            with connection.getresponse() as response:
                content = response.read()
        except TimeoutError:
            raise AssertionError(f"no response: {method} {path}\n{server.log.read_text()[-5_000:]}") from None
        except (OSError, http.client.HTTPException) as error:
            self._connections.pop(server.url).close()
            if not self._are_killed:
                raise AssertionError(f"{method} {path}\n{server.log.read_text()[-5_000:]}") from error
            self.errors[0, type(error).__name__] += 1
            return 0, ""
        answer = json.loads(content) if content else {}
        if response.status < 400:
            return response.status, answer
        status, code = response.status, answer["error"]
        log = server.log.read_text()[-5_000:]
        assert (status, code) in self._allowed, f"{method} {path}: {status} {content.decode()}\n{log}"
        assert status != 503 or response.headers["Retry-After"]
        self.errors[status, code] += 1
        return status, code

    def send_until_done(self, method: str, path: str, body: Any = None, token: str = "", key: str = "") -> Any:
        """Send a request, with its key, until its response is no error, and return its body."""
        while True:
            status, answer = self.send(method, path, body, token, key)
            if 200 <= status < 400:
                return answer
            time.sleep(PAUSE_SECONDS)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


class Load:
    """Writers and readers of some sessions of each user, during the block.

    Each message is sent with an Idempotency-Key, and again until it is acknowledged. Each session has a reader that
    pages through it to its end, and goes on from there.
    """

    def __init__(
        self,
        servers: Sequence[ServerProcess],
        tokens: Sequence[str],
        sessions: int = 2,
        writers: int = 2,
        allowed: frozenset[tuple[int, str]] = DATABASE_ERRORS,
        are_killed: bool = False,
    ):
        self._client_options = (servers, allowed, are_killed)
        self._clients: list[Client] = []
        self._done: Counter[str] = Counter()  # requests by client
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(len(tokens) * sessions * (writers + 1))
        self._writers = writers
        self._readers: list[Future[None]] = []
        create = self._new_client().send_until_done
        self.sessions = [
            Session(create("POST", "/api/sessions", {}, token, key=f"session {number}")["id"], token)
            for token in tokens
            for number in range(sessions)
        ]

    def __enter__(self) -> Load:
        for session in self.sessions:
            session.writers += [self._pool.submit(self._write, session, number) for number in range(self._writers)]
            self._readers.append(self._pool.submit(self._read, session))
        self.await_progress()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._pool.shutdown()
        for client in self._clients:
            client.close()

    @property
    def errors(self) -> Counter[tuple[int, str]]:
        """How often which error was the response, as status and code."""
        return sum((client.errors for client in self._clients), Counter[tuple[int, str]]())

    @property
    def acknowledged(self) -> int:
        """The number of messages that were acknowledged."""
        return sum(len(session.acknowledged) for session in self.sessions)

    def await_progress(self, requests: int = 3, timeout: float = 60) -> None:
        """Wait until each client has had so many more responses that are no errors."""
        before = self._done.copy()
        futures = [*self._readers, *(writer for session in self.sessions for writer in session.writers)]

        def has_progressed() -> bool:
            for future in futures:
                if future.done():
                    future.result()
            done = self._done.copy()
            return len(done) == len(futures) and all(done[name] - before[name] >= requests for name in done)

        wait_until(has_progressed, "each client has had responses", timeout)

    def await_error(self, requests: int = 1) -> None:
        """Wait until so many more responses were errors."""
        before = self.errors.total()
        wait_until(lambda: self.errors.total() >= before + requests, "there are errors")

    def await_recovery(self) -> None:
        """Wait until all is well again, and check that it remains so."""
        self.await_progress()
        before = self.errors
        self.await_progress(10)
        assert self.errors == before, "there are errors after the recovery"

    def finish(self) -> None:
        """End the clients, after what they are about to write and what is left to be read, and check all sessions."""
        self._stopping.set()
        for future in [*(writer for session in self.sessions for writer in session.writers), *self._readers]:
            future.result(timeout=3 * BOUND_SECONDS)
        client = self._new_client()
        for session in self.sessions:
            check(session, client.send_until_done("GET", session.path, token=session.token)["messages"])

    def _new_client(self) -> Client:
        client = Client(*self._client_options)
        self._clients.append(client)
        return client

    def _write(self, session: Session, number: int) -> None:
        client, path = self._new_client(), f"{session.path}/messages"
        for turn in count():
            if self._stopping.is_set():
                return
            content, sent_at = f"{turn} of writer {number}", time.monotonic()
            body = {"role": "user", "content": content}
            message = client.send_until_done("POST", path, body, session.token, key=f"{session.id}: {content}")
            assert message["content"] == content
            session.acknowledged.append(Message(message["id"], content, sent_at, time.monotonic()))
            self._done[f"writer {number} of {session.id}"] += 1
            time.sleep(random.random() * PAUSE_SECONDS)

    def _read(self, session: Session) -> None:
        """Page through a session; its last page is read again and again, at last after all writers have ended."""
        client, cursor, page = self._new_client(), "", list[str]()
        while True:
            is_complete = all(writer.done() for writer in session.writers)
            path = f"{session.path}/messages?limit={PAGE_SIZE}{cursor}"
            answer = client.send_until_done("GET", path, token=session.token)
            ids = [message["id"] for message in answer["items"]]
            assert ids[: len(page)] == page, "a message came before others that were read already"
            page = ids
            self._done[f"reader of {session.id}"] += 1
            if answer["next_cursor"]:
                session.seen += page
                cursor, page = f"&cursor={quote(answer['next_cursor'])}", []
            elif is_complete:
                session.seen += page
                return
            else:
                time.sleep(PAUSE_SECONDS)


def check(session: Session, messages: list[dict[str, Any]]) -> None:
    """Check a session's messages.

    All that were acknowledged are there, each once, in the order of their acknowledgements; their times rise strictly;
    and who has read all along has seen them in this order.
    """
    ids = [message["id"] for message in messages]
    acknowledged = {message.id: message for message in session.acknowledged}
    contents = Counter(message["content"] for message in messages)
    assert contents == Counter(message.content for message in session.acknowledged), "lost or doubled"
    assert len(set(ids)) == len(ids)
    assert set(ids) == set(acknowledged), "a response had the id of another message"
    last_sent_at = 0.0
    for message_id in ids:
        message = acknowledged[message_id]
        assert message.acknowledged_at >= last_sent_at, f"{message.content!r} comes after one that was sent later"
        last_sent_at = max(last_sent_at, message.sent_at)
    times = [message["created_at"] for message in messages]
    assert all(earlier < later for earlier, later in pairwise(times)), "times do not rise"
    assert session.seen == ids, "the reader has missed something"
