"""What is done beside the requests: what is old is deleted, and what ended processes have left is finished."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import peewee
import pytest
from flask import Flask

import timestamps
from database import db
from errors import ApiError
from models import IdempotencyRecord
from server import housekeeping
from server.housekeeping import Job
from store import deletion, expiry, idempotency, imports, moves, webhook_runs
from tests.helpers.client import ApiClient, message
from tests.helpers.clock import wait_until
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.idempotency import send_with_key


def list_runs(caller: ApiClient, session: dict[str, Any]) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = caller.get(f"/api/sessions/{session['id']}/webhook-runs").get_json()["items"]
    return runs


def start_run(caller: ApiClient, session: dict[str, Any], run_id: str, minutes_ago: int) -> dict[str, Any]:
    """Start a run and return it as the store does."""
    run: dict[str, Any] = run_in_transaction(
        webhook_runs.start, caller.user_id, session["id"], run_id, "an action", "{}"
    )
    started_at = timestamps.timestamp_before_now(minutes=minutes_ago)
    query_db("UPDATE webhook_runs SET started_at = ? WHERE id = ?", started_at, run_id)
    return run


IDS = [f"01a20000-0000-7000-8000-00000000000{number}" for number in range(3)]


class TestWebhookRuns:
    def test_a_run_that_has_gone_on_for_too_long_is_interrupted(self, owner: ApiClient) -> None:
        session = owner.session()
        for run_id, minutes_ago in zip(IDS, (2, 0), strict=False):
            start_run(owner, session, run_id, minutes_ago)
        webhook_runs.mark_stale()
        old, new = list_runs(owner, session)
        assert (old["status"], new["status"]) == ("interrupted", "running")
        assert old["finished_at"] > old["started_at"]
        webhook_runs.mark_stale()
        assert list_runs(owner, session) == [old, new]

    def test_outcome_that_is_stored_late_corrects_it(self, owner: ApiClient) -> None:
        """The call had ended, but the database did not take its outcome for a while."""
        session = owner.session()
        run = start_run(owner, session, IDS[0], minutes_ago=2)
        webhook_runs.mark_stale()
        outcome = {"response_status": 200, "response_body": "well", "error": None}
        outcome |= {"finished_at": timestamps.now(), "duration_ms": 5}
        run_in_transaction(webhook_runs.finish, run, status="succeeded", **outcome)
        (stored,) = list_runs(owner, session)
        assert (stored["status"], stored["response_body"], stored["duration_ms"]) == ("succeeded", "well", 5)

    def test_all_are_interrupted_at_the_start_of_the_only_process(
        self, owner: ApiClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = owner.session()
        start_run(owner, session, IDS[0], minutes_ago=0)
        for is_shared, status in ((True, "running"), (False, "interrupted")):
            monkeypatch.setattr(db.obj, "is_shared", is_shared)
            housekeeping.recover()
            assert [run["status"] for run in list_runs(owner, session)] == [status]


@pytest.fixture
def orphans(owner: ApiClient) -> list[str]:
    """The ids of sessions without an owner: of an import that goes on, and of one that must have ended."""
    ids = [owner.imported(message(), title=title)["id"] for title in ("going on", "ended")]
    owner.imported(message(), title="imported")
    for session_id, minutes_ago in zip(ids, (59, 61), strict=True):
        updated_at = timestamps.timestamp_before_now(minutes=minutes_ago)
        query_db("UPDATE sessions SET user_id = NULL, updated_at = ? WHERE id = ?", updated_at, session_id)
    return ids


class TestImports:
    def test_what_an_import_has_left_is_deleted_after_an_hour(self, owner: ApiClient, orphans: list[str]) -> None:
        imports.delete_stale_orphans()
        assert deletion.rows_to_erase.is_set()
        deletion.erase()
        assert query_db("SELECT title FROM sessions ORDER BY title") == [("going on",), ("imported",)]

    def test_at_the_start_of_the_only_process_all_of_it_is(
        self, owner: ApiClient, orphans: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for is_shared, count in ((True, 3), (False, 1)):
            monkeypatch.setattr(db.obj, "is_shared", is_shared)
            housekeeping.recover()
            deletion.erase()
            assert query_db("SELECT count(*) FROM sessions") == [(count,)]


class TestOldRows:
    @pytest.mark.parametrize("batch", [2, 256])
    def test_expired_keys_are_deleted_in_batches(
        self, owner: ApiClient, batch: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(expiry, "BATCH_ROWS", batch)
        monkeypatch.setattr(idempotency, "END_OF_BATCH", expiry.end_of_batch(IdempotencyRecord.created_at, 86_400))
        for number in range(7):
            send_with_key(owner, "/api/sessions", {}, f"key {number}")
            minutes_ago = 1_439 if number == 3 else 1_441 + number
            created_at = timestamps.timestamp_before_now(minutes=minutes_ago)
            query_db("UPDATE retries SET created_at = ? WHERE key = ?", created_at, f"key {number}")
        transactions = count_transactions(monkeypatch)
        idempotency.delete_expired()
        assert query_db("SELECT key FROM retries") == [("key 3",)]
        assert len(transactions) == (3 if batch == 2 else 1)

    def test_a_user_keeps_the_newest_move(self, owner: ApiClient, other: ApiClient) -> None:
        for caller in (owner, other):
            session = caller.session("old")
            for title in ("one", "two", "three"):
                caller.patch(f"/api/sessions/{session['id']}", {"title": title})
        query_db("UPDATE moves SET new_updated_at = ?", "2026-01-01T00:00:00.000Z")
        moves.delete_old()
        assert query_db("SELECT seq FROM moves") == [(3,), (3,)]


def count_transactions(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that gets an item for each write transaction from now on."""
    opened: list[None] = []
    real = db.obj.write_transaction

    def write_transaction(*arguments: Any, **named: Any) -> Any:
        opened.append(None)
        return real(*arguments, **named)

    monkeypatch.setattr(db.obj, "write_transaction", write_transaction)
    return opened


class TestThread:
    @pytest.mark.parametrize(
        "error",
        [ApiError("database_busy"), peewee.OperationalError("the connection is lost"), ZeroDivisionError("a bug")],
    )
    def test_goes_on_after_an_error(
        self, app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        """The other jobs run, and the one that has failed runs again."""
        calls: list[str] = []
        ended = threading.Event()

        def failing() -> None:
            calls.append("failing")
            if calls.count("failing") > 2:
                ended.set()
                raise SystemExit  # of this test, to end the thread
            raise error

        jobs = (Job("a failing job", failing, 0.01), Job("another", lambda: calls.append("another"), 0.0))
        monkeypatch.setattr(housekeeping, "JOBS", jobs)
        thread = threading.Thread(target=quietly(housekeeping.run))
        thread.start()
        wait_until(ended.is_set)
        thread.join(10)
        assert calls[:2] == ["failing", "another"]
        records = [record for record in caplog.records if record.message.startswith("a failing job")]
        assert len(records) == 2
        is_bug = not isinstance(error, ApiError)
        assert {record.levelname for record in records} == {"ERROR" if is_bug else "WARNING"}

    def test_every_job_runs_on_a_new_database(self, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
        for job in housekeeping.JOBS:
            housekeeping.run_job(job)
        assert caplog.records == []

    def test_a_job_with_nothing_to_do_writes_nothing(self, owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
        """A database that another process has locked holds up no request because of it."""
        session = owner.imported(message())
        start_run(owner, session, IDS[0], minutes_ago=0)
        send_with_key(owner, "/api/sessions", {})
        transactions = count_transactions(monkeypatch)
        for job in housekeeping.JOBS:
            housekeeping.run_job(job)
        assert transactions == []


def quietly(function: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            function()
        except SystemExit:
            pass
        finally:
            db.close()

    return run
