"""Two requests that write at the same time: the result is that of one after the other, in either order.

The first stops in its transaction, and the second comes (``interleave``). On SQLite that waits for its turn. With
several writers it goes on up to the first lock, and each of these tests fails if that is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
from flask import Flask

from database import db
from store import deletion, idempotency, imports, messages, sessions
from store import logins as stored_logins
from tests.helpers.client import PASSWORD, ApiClient, error_of, invoke, log_in, message, new_login
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.documents import DOCUMENT, import_items
from tests.helpers.idempotency import send_with_key
from tests.helpers.interleaving import interleave, run_and_close
from web import idempotency as web_idempotency

NEW_PASSWORD = "another long password"


def of_thread(app: Flask, caller: ApiClient) -> ApiClient:
    """Return a client of the same user for another thread."""
    return ApiClient(app.test_client(), caller.token, caller.user_id)


def titles(caller: ApiClient) -> list[str]:
    return [session["title"] for session in caller.get("/api/sessions").get_json()["items"]]


class TestLogin:
    @pytest.fixture
    def changes(self, app: Flask, owner: ApiClient) -> dict[str, Callable[[], Any]]:
        """What ends all logins of the owner but the one that does it, if any."""
        body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        changing = of_thread(app, owner)
        return {
            "change": lambda: changing.post("/api/auth/password", body),
            "passwd": lambda: invoke(app, "users", "passwd", "owner", "--password", NEW_PASSWORD),
            "remove": lambda: invoke(app, "users", "remove", "owner", "--yes"),
        }

    @pytest.mark.parametrize("change", ["change", "passwd", "remove"])
    def test_does_not_survive_the_end_of_its_password(
        self, app: Flask, anonymous: ApiClient, changes: dict[str, Callable[[], Any]], change: str
    ) -> None:
        """The password is found to be current, and is changed before the login is stored."""
        response, _ = interleave(stored_logins, "has_password", lambda: log_in(anonymous), changes[change])
        if response.status_code == 200:
            token = ApiClient(app.test_client(), response.get_json()["access_token"])
            assert error_of(token.get("/api/auth/me")) == (401, "token_revoked")
        else:
            assert error_of(response) == (401, "invalid_credentials")
        assert log_in(anonymous).status_code == 401

    @pytest.mark.parametrize("change", ["change", "passwd", "remove"])
    def test_is_refused_with_a_password_that_is_being_changed(
        self, app: Flask, anonymous: ApiClient, changes: dict[str, Callable[[], Any]], change: str
    ) -> None:
        _, response = interleave(stored_logins, "delete_all", changes[change], lambda: log_in(anonymous))
        assert error_of(response) == (401, "invalid_credentials")
        kept = 1 if change == "change" else 0
        assert query_db("SELECT count(*) FROM logins") == [(kept,)]


class TestApiToken:
    def test_is_not_created_for_a_user_who_is_being_removed(self, app: Flask, owner: ApiClient) -> None:
        _, created = interleave(
            stored_logins,
            "delete_all",
            lambda: run_in_transaction(deletion.delete_user, owner.user_id),
            lambda: invoke(app, "users", "token", "owner"),
        )
        assert created.exit_code == 1
        assert "There is no user 'owner'" in created.output

    def test_does_not_survive_the_removal_of_its_user(self, app: Flask, owner: ApiClient) -> None:
        created, _ = interleave(
            stored_logins,
            "create",
            lambda: invoke(app, "users", "token", "owner"),
            lambda: run_in_transaction(deletion.delete_user, owner.user_id),
        )
        token = ApiClient(app.test_client(), created.output.strip())
        assert error_of(token.get("/api/auth/me")) == (401, "token_revoked")


def test_of_two_refreshes_with_one_token_one_gets_a_pair(app: Flask, anonymous: ApiClient, owner: ApiClient) -> None:
    _, token = new_login(anonymous, owner)
    other = of_thread(app, token)
    first, second = interleave(
        stored_logins.ROTATION,
        "execute",
        lambda: token.post("/api/auth/refresh"),
        lambda: other.post("/api/auth/refresh"),
    )
    assert first.status_code == 200
    assert error_of(second) == (409, "refresh_raced")
    new_token = ApiClient(app.test_client(), first.get_json()["refresh_token"])
    assert new_token.post("/api/auth/refresh").status_code == 200


@pytest.mark.parametrize("change", [{"title": "two"}, None])
def test_if_match_lets_only_one_through(app: Flask, owner: ApiClient, change: Any) -> None:
    session, other = owner.session("old"), of_thread(app, owner)
    path = f"/api/sessions/{session['id']}"
    headers = {"If-Match": owner.get(path).headers["ETag"]}

    def second() -> Any:
        return other.patch(path, change, headers=headers) if change else other.delete(path, headers=headers)

    renamed, refused = interleave(
        sessions, "get_for_update", lambda: owner.patch(path, {"title": "one"}, headers=headers), second
    )
    assert renamed.status_code == 200
    assert error_of(refused) == (412, "precondition_failed")
    assert titles(owner) == ["one"]


def test_a_deleted_session_is_not_renamed(app: Flask, owner: ApiClient) -> None:
    session, other = owner.session("old"), of_thread(app, owner)
    path = f"/api/sessions/{session['id']}"
    deleted, renamed = interleave(
        sessions, "get_for_update", lambda: owner.delete(path), lambda: other.patch(path, {"title": "new"})
    )
    assert deleted.status_code == 204
    assert error_of(renamed) == (404, "session_not_found")


@pytest.mark.parametrize("batch_size", [100, 1])
def test_an_export_that_is_sent_twice_at_once_is_imported_once(
    app: Flask, owner: ApiClient, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "IMPORT_BATCH_SIZE", batch_size)
    document = DOCUMENT | {"messages": [message("one"), message("two")]}
    other = of_thread(app, owner)
    statement = sessions.INSERT if batch_size > 1 else imports.ASSIGN_OWNER
    reports = interleave(
        statement, "execute", lambda: import_items(owner, document), lambda: import_items(other, document)
    )
    assert [report["sessions"][0]["status"] for report in reports] == ["imported", "skipped"]
    assert reports[1]["sessions"][0]["session_id"] == reports[0]["sessions"][0]["session_id"]
    assert len(titles(owner)) == 1


def test_messages_are_dated_and_numbered_in_the_order_in_which_they_are_stored(app: Flask, owner: ApiClient) -> None:
    session, other = owner.session(), of_thread(app, owner)
    path = f"/api/sessions/{session['id']}/messages"
    first, second = interleave(
        messages,
        "append",
        lambda: send_with_key(owner, path, message("one")),
        lambda: other.post(path, message("two")),
    )
    assert [first.status_code, second.status_code] == [201, 201]
    stored = owner.get(f"/api/sessions/{session['id']}").get_json()
    assert [each["content"] for each in stored["messages"]] == ["one", "two"]
    times = [session["updated_at"], *(each["created_at"] for each in stored["messages"])]
    assert times == sorted(set(times))
    assert stored["updated_at"] == times[-1]


class TestKeys:
    """The same request twice, by two processes, whose threads do not know of each other."""

    @pytest.fixture(autouse=True)
    def _separate_processes(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(web_idempotency.KeyLocks, "hold", lambda *arguments: nullcontext())

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("", {"title": "new"}),
            ("/{id}/messages", message()),
            ("/import", DOCUMENT),
        ],
    )
    @pytest.mark.parametrize("expired", [False, True])
    def test_the_second_gets_the_response_of_the_first(
        self, app: Flask, owner: ApiClient, path: str, body: Any, expired: bool
    ) -> None:
        target, other = f"/api/sessions{path.format(id=owner.session()['id'])}", of_thread(app, owner)
        if expired:  # the row of a key that is too old is still there
            send_with_key(owner, "/api/sessions", {"title": "old"})
            query_db("UPDATE retries SET created_at = '2026-01-01T00:00:00.000Z'")
        before = query_db("SELECT count(*) FROM sessions") + query_db("SELECT count(*) FROM messages")
        first, second = interleave(
            idempotency, "save", lambda: send_with_key(owner, target, body), lambda: send_with_key(other, target, body)
        )
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.get_json() == first.get_json()
        after = query_db("SELECT count(*) FROM sessions") + query_db("SELECT count(*) FROM messages")
        assert sum(count for (count,) in after) - sum(count for (count,) in before) == (2 if "import" in path else 1)

    def test_another_request_with_the_same_key_is_a_conflict(self, app: Flask, owner: ApiClient) -> None:
        other = of_thread(app, owner)
        first, second = interleave(
            idempotency,
            "save",
            lambda: send_with_key(owner, "/api/sessions", {"title": "one"}),
            lambda: send_with_key(other, "/api/sessions", {"title": "two"}),
        )
        assert first.status_code == 201
        assert error_of(second) == (409, "conflict")
        assert titles(owner) == ["one"]


class TestDeletion:
    """Of all sessions, while others are written: what is deleted never comes back, and nothing of it remains."""

    @staticmethod
    def assert_only_this_remains(owner: ApiClient, expected: list[str]) -> None:
        assert titles(owner) == expected
        deletion.erase()
        assert query_db("SELECT title FROM sessions") == [(title,) for title in expected]
        if not expected:
            for table in ("messages", "webhook_runs", "drafts"):
                assert query_db(f"SELECT count(*) FROM {table}") == [(0,)]
        assert titles(owner) == expected

    @pytest.fixture
    def session(self, owner: ApiClient) -> dict[str, Any]:
        return owner.imported(message(), title="old")

    def test_counts_each_session_once(self, app: Flask, owner: ApiClient, session: dict[str, Any]) -> None:
        other = of_thread(app, owner)
        responses = interleave(
            deletion.NEXT_GENERATION,
            "get",
            lambda: owner.delete("/api/sessions"),
            lambda: other.delete("/api/sessions"),
        )
        assert [response.get_json() for response in responses] == [{"deleted": 1}, {"deleted": 0}]
        self.assert_only_this_remains(owner, [])

    @pytest.mark.parametrize(
        ("path", "body", "ends_with"),
        [("/{id}/messages", message(), []), ("", {"title": "new"}, ["new"]), ("/import", DOCUMENT, ["t"])],
    )
    @pytest.mark.parametrize("deletion_is_first", [True, False])
    def test_beside_a_request_that_creates(
        self,
        app: Flask,
        owner: ApiClient,
        session: dict[str, Any],
        path: str,
        body: Any,
        ends_with: list[str],
        deletion_is_first: bool,
    ) -> None:
        target, other = f"/api/sessions{path.format(id=session['id'])}", of_thread(app, owner)

        def delete() -> Any:
            return other.delete("/api/sessions")

        def create() -> Any:
            return send_with_key(owner, target, body)

        if deletion_is_first:
            deleted, created = interleave(deletion.NEXT_GENERATION, "get", delete, create)
        else:
            created, deleted = interleave(idempotency, "save", create, delete)
        assert deleted.status_code == 200
        assert created.status_code in (201, 404)
        remaining = titles(owner)
        assert remaining in ([], ends_with if deletion_is_first else [])
        self.assert_only_this_remains(owner, remaining)

    def test_of_the_same_sessions_in_another_order(self, app: Flask, owner: ApiClient) -> None:
        ids, other = [owner.session()["id"] for _ in range(4)], of_thread(app, owner)
        first, second = interleave(
            deletion.MARK_SESSION,
            "execute",
            lambda: owner.delete("/api/sessions", json={"ids": ids}),
            lambda: other.delete("/api/sessions", json={"ids": ids[::-1]}),
        )
        assert (first.get_json(), second.get_json()) == ({"deleted": 4}, {"deleted": 0})
        self.assert_only_this_remains(owner, [])

    def test_of_sessions_with_chats_waits_in_no_circle(self, app: Flask, owner: ApiClient) -> None:
        """It waits for no session once it has a draft, which whoever has the session may wait for."""
        ids = sorted(owner.session()["id"] for _ in range(2))
        for session_id in ids:
            query_db(f"INSERT INTO drafts (session_id, content, saved_at) VALUES ('{session_id}', '', '')")
        deleting, appending = of_thread(app, owner), of_thread(app, owner)
        selected, all_others, appended = interleave(
            deletion.DELETE_DRAFT,
            "execute",
            lambda: owner.delete("/api/sessions", json={"ids": ids}),
            lambda: deleting.delete("/api/sessions"),
            lambda: appending.post(f"/api/sessions/{ids[1]}/messages", message()),
        )
        assert (selected.get_json(), all_others.get_json()) == ({"deleted": 2}, {"deleted": 0})
        assert error_of(appended) == (404, "session_not_found")
        self.assert_only_this_remains(owner, [])

    def test_two_processes_erase_at_once(
        self, app: Flask, owner: ApiClient, session: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deletion, "STEP_ROWS", 2)
        owner.imported(*(message() for _ in range(9)))
        owner.delete("/api/sessions")
        interleave(deletion.DELETED_OF_USER, "execute", deletion.erase, deletion.erase)
        self.assert_only_this_remains(owner, [])

    @pytest.mark.postgresql
    def test_two_processes_that_erase_wait_in_no_circle(self, owner: ApiClient, session: dict[str, Any]) -> None:
        """One leaves the sessions to the other that has begun to erase them."""
        owner.delete("/api/sessions")
        with db.write_transaction(), ThreadPoolExecutor(1) as pool:
            assert deletion.DELETED_OF_USER.execute(user_id=owner.user_id).fetchall() == [(session["id"],)]
            pool.submit(run_and_close, deletion.erase).result()
        self.assert_only_this_remains(owner, [])
