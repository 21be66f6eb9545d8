"""Group commit: the requests that wait to write share one transaction."""

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
from server.fair_queue import FairQueue
from server.task import Response, Task

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class WriteBatcher:
    """A thread that serves the requests that write: those that are waiting, in one transaction.

    A commit waits for the disk, 0.3 ms and more. With one commit for a batch, eight busy clients
    append twice as many messages a second. Each request has a savepoint of its own, so that one
    that fails undoes nothing of the others; and no response is sent before the commit.
    """

    MAX_BATCH = 32  # requests in one transaction
    # If the last batch had more requests than are waiting, their clients are about to send the next ones:
    # a batch waits for them this long, since one commit for eight costs what one for three does. Eight
    # busy clients get 15 % more responses with it; one that is alone waits five times at most after a burst.
    GATHER_TIMEOUT = 0.0005
    # With this much to parse, others wait for a batch for 5 ms: 32 requests with wide metadata took 100.
    MAX_BATCH_BYTES = 65_536

    def __init__(self, app: WSGIApplication, serve: Callable[[Channel], None]) -> None:
        self._queue: FairQueue[Channel] = FairQueue()
        self._app, self._serve = app, serve
        self._working = False
        threading.Thread(target=self._run, name="write-batcher", daemon=True).start()

    def put(self, channel: Channel) -> None:
        """Queue the first request of a channel."""
        self._queue.put(channel.client_key, channel)

    @property
    def is_busy(self) -> bool:
        """Whether a request is waiting or being served."""
        return self._working or len(self._queue) > 0

    def close(self) -> None:
        """End the thread when the queue is empty."""
        self._queue.close()

    def _run(self) -> None:
        expected = 1
        while found := self._queue.get():
            self._working = True
            if expected > 1 and not self._queue.wait_for_length(expected - 1, self.GATHER_TIMEOUT):
                expected //= 2  # some of them send nothing more
            channels = [found[1]]
            size = _body_length(found[1])
            while len(channels) < self.MAX_BATCH and size < self.MAX_BATCH_BYTES and (more := self._queue.get_nowait()):
                channels.append(more[1])
                size += _body_length(more[1])
            expected = max(len(channels), expected)
            if len(channels) > 1:
                self._commit_group(channels)
            for each in channels:
                try:
                    self._serve(each)
                except Exception:
                    errors.log.exception("a request could not be served")
            self._working = False

    def _commit_group(self, channels: list[Channel]) -> None:
        """Run the requests of all channels in one transaction and store their responses.

        Without a commit there are none: then each request is served again, and fails for the same
        reason as the group (``group_error``) or runs alone, to find its own.
        """
        tasks = [Task(channel, channel.requests[0]) for channel in channels if channel.connected]
        group_error = None
        try:
            db.ensure_connection()
            with db.write_transaction():
                responses = [self._run_task(task) for task in tasks]
        except errors.ApiError as error:
            group_error = error
        except Exception as error:
            errors.log.warning("no commit for a group of %d requests: %s", len(tasks), error)
            code = database.error_code(error)
            # E.g. a busy database would be busy again, after as long a wait for each.
            # On a full disk, requests that free space succeed alone.
            group_error = None if code in ("internal_error", "disk_full") else errors.ApiError(code)
        else:
            for task, response in zip(tasks, responses, strict=True):
                task.request.response = response
            return
        for task in tasks:
            task.request.group_error = group_error
            task.request.get_body_stream().seek(0)

    def _run_task(self, task: Task) -> Response:
        response = Response.of(self._app, task.get_environment())
        if not db.has_open_transaction():  # e.g. SQLite rolls all of it back if the disk is full
            raise peewee.OperationalError("the transaction is gone")
        return response


def raise_group_error() -> None:
    """Before a request whose group could not be committed: fail for the same reason.

    Raises:
        ApiError: the reason for which the group's commit failed.

    """
    error: errors.ApiError | None = request.environ.get("parley.group_error")
    if error:
        raise error


def _body_length(channel: Channel) -> int:
    return int(channel.requests[0].headers.get("CONTENT_LENGTH", 0))
