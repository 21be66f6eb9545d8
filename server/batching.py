"""Group commit: all requests that wait to write, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import peewee
from flask import request

import database
import errors
from database import db
from server.channel import Channel
from server.fair import FairQueue
from server.task import Response, Task

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class Writer:
    """A thread that serves what writes, all requests that are waiting in one transaction.

    A commit waits for the disk, 0.3 ms and more. With one for all, eight busy clients append
    twice as many messages a second. Each request has a savepoint of its own, so that one that is
    refused undoes nothing of the others; and none is answered before the commit.
    """

    MOST = 32  # requests in one transaction
    # Where the last group had more requests than are waiting, their clients are about to send the next:
    # a group waits for them so long, since one commit for eight costs what one for three does. Eight
    # busy clients got 15 % more answers with it; one that is alone never waits.
    GATHER_SECONDS = 0.0005
    # With this much to parse, others wait for a group for 5 ms: 32 of wide metadata took 100.
    MOST_BYTES = 65_536

    def __init__(self, app: WSGIApplication, serve: Callable[[Channel], None]) -> None:
        self._queue: FairQueue[Channel] = FairQueue()
        self._app, self._serve = app, serve
        self._working = False
        threading.Thread(target=self._run, name="writer", daemon=True).start()

    def put(self, channel: Channel) -> None:
        """Have the first request of a channel served."""
        self._queue.put(channel.key, channel)

    @property
    def is_busy(self) -> bool:
        """Whether there is a request that is not served yet."""
        return self._working or len(self._queue) > 0

    def close(self) -> None:
        """Let the thread end when it has done what is left."""
        self._queue.close()

    def _run(self) -> None:
        expected = 1
        while found := self._queue.get():
            self._working = True
            if expected > 1:
                self._queue.wait_for_length(expected - 1, self.GATHER_SECONDS)
            channels = [found[1]]
            size = _body_length(found[1])
            while len(channels) < self.MOST and size < self.MOST_BYTES and (more := self._queue.get_nowait()):
                channels.append(more[1])
                size += _body_length(more[1])
            expected = max(len(channels), expected - 1)
            if len(channels) > 1:
                self._answer_together(channels)
            for each in channels:
                try:
                    self._serve(each)
                except Exception:
                    errors.log.exception("a request could not be served")
            self._working = False

    def _answer_together(self, channels: list[Channel]) -> None:
        """Prepare the answers of all. Where it does not come to the commit there are none: the
        requests are refused for the same reason, or served each on its own to find its own."""
        tasks = [Task(channel, channel.requests[0]) for channel in channels if channel.connected]
        group_error = None
        try:
            db.ensure_connection()
            with db.write_transaction():
                answers = [self._answer(task) for task in tasks]
        except errors.ApiError as error:
            group_error = error
        except Exception as error:
            errors.log.warning("no commit for %d requests at once: %s", len(tasks), error)
            code = database.error_code(error)
            # E.g. busy: it would be again, after as long a wait for each.
            # On a full disk what frees room gets through, alone.
            group_error = None if code in ("internal_error", "disk_full") else errors.ApiError(code)
        else:
            for task, answer in zip(tasks, answers, strict=True):
                task.request.response = answer
            return
        for task in tasks:
            task.request.group_error = group_error
            task.request.get_body_stream().seek(0)

    def _answer(self, task: Task) -> Response:
        answer = Response.of(self._app, task.get_environment())
        if not db.has_open_transaction():  # e.g. SQLite undoes all of it if the disk is full
            raise peewee.OperationalError("the transaction is gone")
        return answer


def raise_group_error() -> None:
    """Before a request whose group could not be committed: fail for the same reason.

    Raises:
        ApiError: what kept the group from its commit.

    """
    error: errors.ApiError | None = request.environ.get("parley.group_error")
    if error:
        raise error


def _body_length(channel: Channel) -> int:
    return int(channel.requests[0].headers.get("CONTENT_LENGTH", 0))
