"""A request that waits for something else holds no connection of the pool meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from flask import Flask

from database import db
from tests.helpers.actions import action_table
from tests.helpers.client import ApiClient
from tests.helpers.clock import wait_until
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver

pytestmark = pytest.mark.postgresql  # elsewhere a connection costs nobody anything

WAITING = 4


@pytest.fixture
def settings(
    settings: dict[str, Any], receiver: WebhookReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Settings with a pool of two connections, of which this thread has one."""
    monkeypatch.setattr("database.postgresql.OTHER_CONNECTIONS", 0)
    monkeypatch.setenv("SECRET", SECRET)
    path = tmp_path / "actions.toml"
    path.write_text(action_table("held", f"{receiver.url}/held"))
    return settings | {"PARLEY_THREADS": 1, "PARLEY_ACTIONS_FILE": str(path)}


def fire(app: Flask, owner: ApiClient, session: dict[str, Any], **headers: str) -> tuple[int, Any]:
    try:
        path = f"/api/sessions/{session['id']}/actions/held"
        response = ApiClient(app.test_client(), owner.token).post(path, {}, headers=headers)
        return response.status_code, response.get_json()
    finally:
        db.close()


def get_in_thread(app: Flask, owner: ApiClient, session: dict[str, Any]) -> int:
    """Return the status of a request that needs a connection of its own."""

    def get() -> int:
        try:
            return ApiClient(app.test_client(), owner.token).get(f"/api/sessions/{session['id']}").status_code
        finally:
            db.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(get).result(30)


def test_while_webhooks_are_called(app: Flask, owner: ApiClient, receiver: WebhookReceiver) -> None:
    session = owner.session()
    with ThreadPoolExecutor(WAITING) as pool:
        calls = [pool.submit(fire, app, owner, session) for _ in range(WAITING)]
        wait_until(lambda: len(receiver.received) == WAITING)
        assert get_in_thread(app, owner, session) == 200
        receiver.release.set()
        assert [(status, run["status"]) for status, run in (call.result(30) for call in calls)] == [
            (201, "succeeded")
        ] * WAITING


def test_while_the_same_request_is_in_progress(app: Flask, owner: ApiClient, receiver: WebhookReceiver) -> None:
    session, barrier = owner.session(), Barrier(WAITING)

    def repeat() -> tuple[int, Any]:
        barrier.wait(30)
        return fire(app, owner, session, **{"Idempotency-Key": "a key"})

    with ThreadPoolExecutor(WAITING) as pool:
        calls = [pool.submit(repeat) for _ in range(WAITING)]
        receiver.wait_for_call()
        assert get_in_thread(app, owner, session) == 200
        receiver.release.set()
        responses = [call.result(30) for call in calls]
    assert responses == [responses[0]] * WAITING
    assert responses[0][0] == 201
    assert len(receiver.received) == 1
