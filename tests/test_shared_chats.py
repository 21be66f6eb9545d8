"""Chats of several processes, by the rows of their drafts. The test itself plays the other process, through the store.

Drills with two real processes are in test_shared_chat_drills.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask

from database import db
from services import chat_reader, chats, remote_chat
from services import drafts as saver
from store import drafts
from store.drafts import LEASE_SECONDS, Started
from tests.helpers.chats import JSON, STALE, list_messages, parse_events, plant_draft, start_chat
from tests.helpers.client import ApiClient, add_user, error_of, message
from tests.helpers.clock import wait_until
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.idempotency import send_with_key
from tests.helpers.interleaving import interleave
from tests.helpers.process import FakeLlm

CONFLICT, TOO_MANY = (409, "conflict"), (503, "too_many_streams")


@pytest.fixture
def settings(settings: dict[str, Any], fake_llm: FakeLlm) -> dict[str, Any]:
    return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url, "PARLEY_LLM_TIMEOUT_SECONDS": 20}


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_chat, "REFRESH_INTERVAL", 0.02)
    monkeypatch.setattr(chat_reader, "POLL_INTERVAL", 0.02)


def chat_path(session: dict[str, Any]) -> str:
    return f"/api/sessions/{session['id']}/chat"


def count_drafts() -> int:
    return len(query_db("SELECT * FROM drafts"))


def parsed(stored: Any) -> Any:
    """Return a message as a client gets it."""
    return orjson.loads(orjson.dumps(stored))


class OtherProcess:
    """A process with a chat: what it does to the database, step by step."""

    def __init__(self, client: ApiClient, session: dict[str, Any], text: str = ""):
        self.user_id, self.session_id = str(client.user_id), session["id"]
        self.started: Started = run_in_transaction(drafts.start, self.user_id, self.session_id, "ask", "{}")
        self.question = parsed(self.started.question)
        self.text = ""
        if text:
            self.save(text)

    def save(self, more: str = "") -> dict[str, str]:
        """Save the draft with more text, and return which chats are to be stopped."""
        self.text += more
        ids = {"user_id": self.user_id, "session_id": self.session_id, "answer_id": self.started.answer_id}
        reasons: dict[str, str] = run_in_transaction(drafts.save_all, [ids | {"content": self.text, "model": "m"}])
        return reasons

    def finish(self, more: str = "", reason: str = "stop", error: str | None = None) -> Any:
        """End the chat and return its answer."""
        text, metadata = self.text + more, json.dumps({"finish_reason": reason})
        ids = self.user_id, self.session_id, self.started
        return parsed(run_in_transaction(drafts.finish, *ids, text, metadata, error))

    def die(self) -> None:
        """End as after a kill, some time ago."""
        query_db("UPDATE drafts SET saved_at = '' WHERE session_id = ?", self.session_id)


class TestOneChatInASession:
    def test_another_process_has_one(self, owner: ApiClient) -> None:
        session = owner.imported(message())
        plant_draft(session)
        assert error_of(start_chat(owner, session, "hello")) == CONFLICT
        assert error_of(owner.post(chat_path(session), {"retry": True})) == CONFLICT
        assert (count_drafts(), len(list_messages(owner, session))) == (1, 1)

    def test_a_repeated_request_whose_chat_goes_on_elsewhere(self, owner: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session)
        body = {"content": "ask"}
        stored = json.dumps({"id": process.question["id"]}, separators=(",", ":"))
        assert error_of(send_with_key(owner, chat_path(session), body)) == CONFLICT
        process.finish("done")
        send_with_key(owner, chat_path(session), body).get_data()
        query_db("UPDATE retries SET answer = ?", stored)  # as the other one has it in the meantime
        assert error_of(send_with_key(owner, chat_path(session), body)) == CONFLICT

    @pytest.mark.parametrize(("age", "left"), [(LEASE_SECONDS - 5, 1), (LEASE_SECONDS + 1, 0)])
    def test_only_what_nobody_saves_is_finished(self, owner: ApiClient, age: float, left: int) -> None:
        session = owner.imported(message())
        answer_id = plant_draft(session, age=age)
        drafts.finish_stale()
        drafts.finish_stale()
        assert count_drafts() == left
        answers = list_messages(owner, session)[1:]
        assert [(answer["id"], answer["content"], answer["metadata"]["finish_reason"]) for answer in answers] == (
            [] if left else [(answer_id, "half of", "interrupted")]
        )

    def test_a_process_that_has_the_database_for_itself_finishes_all(self, owner: ApiClient) -> None:
        session = owner.imported(message())
        plant_draft(session)
        run_in_transaction(drafts.expire)
        drafts.finish_stale()
        assert [each["content"] for each in list_messages(owner, session)] == ["hello", "half of"]

    def test_two_that_finish_it_at_once_make_one_answer(self, owner: ApiClient) -> None:
        sessions = [owner.imported(message()) for _ in range(8)]
        for session in sessions:
            plant_draft(session, age=STALE)

        def finish_stale(_: int) -> None:
            db.ensure_connection()
            drafts.finish_stale()
            db.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(finish_stale, range(4)))
        assert [len(list_messages(owner, session)) for session in sessions] == [2] * 8


@pytest.mark.postgresql
def test_a_draft_that_is_locked_holds_up_no_others(owner: ApiClient, other: ApiClient) -> None:
    """All of a process are saved together; one of them is in a transaction of another process, which may hang."""
    ending, going_on = OtherProcess(owner, owner.session(), "a"), OtherProcess(other, other.session(), "b")

    def save() -> list[tuple[Any, ...]]:
        values = {"content": "new", "model": "m"}
        both = [
            {"user_id": each.user_id, "session_id": each.session_id, "answer_id": each.started.answer_id} | values
            for each in (ending, going_on)
        ]
        assert run_in_transaction(drafts.save_all, both) == {}
        return query_db("SELECT session_id, content FROM drafts")

    answer, saved = interleave(drafts.TAKE, "get", ending.finish, save)
    assert dict(saved) == {ending.session_id: "a", going_on.session_id: "new"}
    assert answer["content"] == "a"


class TestThreeOfAUser:
    def test_chats_in_other_processes_count(self, app: Flask, owner: ApiClient, other: ApiClient) -> None:
        session, theirs = owner.session(), other.session()
        for number in range(3):
            plant_draft(owner.session(), age=number)
        assert error_of(start_chat(owner, session, "hello")) == TOO_MANY
        assert list_messages(owner, session) == []
        assert parse_events(start_chat(other, theirs, "hello").data)[-1] == ("done", {})

    def test_those_of_dead_processes_do_not(self, owner: ApiClient) -> None:
        for age in (0, 1, STALE, STALE):
            plant_draft(owner.session(), age=age)
        assert parse_events(start_chat(owner, owner.session(), "hello").data)[-1] == ("done", {})


class TestSaver:
    def test_a_silent_chat_renews_its_lease(self, owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(saver, "SAVE_INTERVAL", 0.05)
        session = owner.session()
        with closing(start_chat(owner, session, "wait 30")):
            ((first,),) = query_db("SELECT saved_at FROM drafts")
            wait_until(lambda: query_db("SELECT saved_at > ? FROM drafts", first)[0][0])
            drafts.finish_stale()
            assert count_drafts() == 1
        assert owner.delete(chat_path(session)).status_code == 204

    @pytest.mark.parametrize(("script", "answers"), [(["say half", "wait 30"], ["half"]), (["wait 30"], [])])
    def test_another_process_stops_the_chat(
        self, owner: ApiClient, monkeypatch: pytest.MonkeyPatch, script: list[str], answers: list[str]
    ) -> None:
        monkeypatch.setattr(saver, "SAVE_INTERVAL", 0.05)
        session = owner.session()
        with closing(start_chat(owner, session, *script)) as stream:
            pieces = stream.iter_encoded()
            begun = next(pieces) + (next(pieces) if answers else b"")
            query_db("UPDATE drafts SET stop_requested = 1")
            events = parse_events(begun + b"".join(pieces))
        assert events[-1] == ("done", {})
        stored = list_messages(owner, session)[1:]
        assert [each["content"] for each in stored] == answers
        assert {each["metadata"]["finish_reason"] for each in stored} <= {"stopped"}


class TestLateProcess:
    """A process that was suspended, or that could not reach the database, and whose chat has been finished for it."""

    @pytest.fixture(params=["never saved", "goes on to save"])
    def interrupt(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """A function that finishes all drafts as another process does."""
        monkeypatch.setattr(saver, "SAVE_INTERVAL", 60 if request.param == "never saved" else 0.05)

        def interrupt() -> None:
            with db.write_transaction():  # or it could be saved in between
                drafts.expire()
                drafts.finish_stale()
            assert not count_drafts()

        return interrupt

    @pytest.mark.parametrize("saved", ["", "half"])
    def test_the_whole_answer_is_there_once(self, owner: ApiClient, interrupt: Callable[[], None], saved: str) -> None:
        session = owner.session()
        body = {"content": "say half\nwait 0.5\nsay  and zucchini"}
        before = owner.get(f"/api/sessions/{session['id']}?messages=false").headers["ETag"]
        with closing(send_with_key(owner, chat_path(session), body)) as stream:
            pieces = stream.iter_encoded()
            begun = next(pieces) + next(pieces)
            query_db("UPDATE drafts SET content = ?", saved)
            interrupt()
            assert [each["content"] for each in list_messages(owner, session)[1:]] == ([saved] if saved else [])
            assert len(owner.get("/api/sessions?q=half").get_json()["items"]) == 1  # it is indexed
            events = parse_events(begun + b"".join(pieces))
        question, answer = list_messages(owner, session)
        assert (answer["content"], answer["metadata"]["finish_reason"]) == ("half and zucchini", "stop")
        assert events[0] == ("message", question)
        assert events[-2:] == [("message", answer), ("done", {})]
        replayed = send_with_key(owner, chat_path(session), body, Accept="application/json")
        assert (replayed.status_code, replayed.get_json()) == (201, {"messages": [question, answer]})
        assert owner.get(f"/api/sessions/{session['id']}?messages=false").headers["ETag"] != before
        assert "zucchini" in str(owner.get("/api/sessions?q=zucchini half").get_json()["items"][0]["match"])

    def test_it_keeps_its_place_in_a_conversation_that_went_on(self, owner: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, "half")
        process.die()
        start_chat(owner, session, "say next").get_data()
        answer = process.finish(" and half")
        contents = [each["content"] for each in list_messages(owner, session)]
        assert contents == ["ask", "half and half", "say next", "next"]
        assert list_messages(owner, session)[1] == answer

    def test_an_answer_that_was_asked_for_again_comes_once(self, owner: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, "half")
        process.die()
        with closing(owner.post(chat_path(session), {"retry": True})) as retried:
            pieces = retried.iter_encoded()
            next(pieces)
            process.finish(" and half")
            assert parse_events(b"".join(pieces))[-1] == ("done", {})
        assert [each["content"] for each in list_messages(owner, session)] == ["ask", "ask "]

    @pytest.mark.parametrize("saved", ["", "half"])
    def test_there_is_no_place_for_it(self, owner: ApiClient, saved: str) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, saved)
        process.die()
        owner.post(chat_path(session), {"retry": True}).get_data()
        with pytest.raises(Exception, match="conflict"):
            process.finish("whole")
        assert [each["content"] for each in list_messages(owner, session)] == ["ask", "ask "]

    def test_what_it_saves_does_not_touch_another_chat(self, owner: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session)
        process.die()
        drafts.finish_stale()
        restarted = run_in_transaction(drafts.restart, str(owner.user_id), session["id"])
        assert process.save("of the first") == {}
        assert query_db("SELECT answer_id, content FROM drafts") == [(restarted.answer_id, "")]


class TestAttach:
    def read(self, stream: Any) -> Iterator[tuple[str, Any]]:
        for piece in stream.iter_encoded():
            yield from parse_events(piece)

    def test_reader_gets_what_there_is_and_what_is_added(self, owner: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, "one \N{GRINNING FACE} ")
        with closing(owner.get(chat_path(session))) as stream:
            assert (stream.status_code, stream.mimetype) == (200, "text/event-stream")
            events = self.read(stream)
            assert next(events) == ("message", process.question)
            assert next(events) == ("delta", {"content": "one \N{GRINNING FACE} "})
            process.save("two ")
            assert next(events) == ("delta", {"content": "two "})
            process.save()
            answer = process.finish("three")
            assert list(events) == [("delta", {"content": "three"}), ("message", answer), ("done", {})]
        assert list_messages(owner, session) == [process.question, answer]
        assert error_of(owner.get(chat_path(session))) == (404, "chat_not_found")

    @pytest.mark.parametrize(
        ("text", "reason", "error"),
        [
            ("", "error", "upstream_error"),
            ("half", "error", "upstream_timeout"),
            ("", "error", "upstream_timeout"),
            ("half", "stopped", None),
            ("", "stopped", None),
            ("half", "interrupted", "upstream_error"),
        ],
    )
    def test_the_end_is_that_of_a_local_reader(
        self, owner: ApiClient, text: str, reason: str, error: str | None
    ) -> None:
        session = owner.session()
        process = OtherProcess(owner, session)
        with closing(owner.get(chat_path(session))) as stream:
            events = self.read(stream)
            assert next(events) == ("message", process.question)
            answer = process.finish(text, reason, error)
            expected = [("delta", {"content": text})] if text else []
            if error:
                expected.append(("error", {"error": error}))
            else:
                expected += [*([("message", answer)] if answer else []), ("done", {})]
            assert list(events) == expected

    @pytest.mark.parametrize(("error", "status"), [(None, 200), ("upstream_timeout", 504)])
    def test_json_client_gets_both_messages(self, app: Flask, owner: ApiClient, error: str | None, status: int) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, "half")

        def attach() -> tuple[int, Any]:
            response = ApiClient(app.test_client(), owner.token).get(chat_path(session), headers=JSON)
            db.close()
            return response.status_code, response.get_json()

        with ThreadPoolExecutor(1) as pool:
            attached = pool.submit(attach)
            wait_until(lambda: query_db("SELECT * FROM retries"))  # where its outcome will be
            process.finish(" and half", error=error)
            messages = {"messages": list_messages(owner, session)}
            expected = {"error": error, "details": messages} if error else messages
            assert attached.result(20) == (status, expected)

    def test_an_outcome_is_that_of_the_chat_that_was_attached_to(self, owner: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, "first")
        with closing(owner.get(chat_path(session))) as stream:
            events = self.read(stream)
            assert [next(events)[0] for _ in range(2)] == ["message", "delta"]
            process.finish(reason="error", error="upstream_timeout")
            assert parse_events(owner.post(chat_path(session), {"retry": True}).data)[-1] == ("done", {})
            assert list(events) == [("error", {"error": "upstream_timeout"})]

    def test_a_chat_whose_process_dies_ends_as_an_interrupted_one(self, owner: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, "half")
        with ExitStack() as stack:
            streams = [stack.enter_context(closing(owner.get(chat_path(session)))) for _ in range(2)]
            attached = [self.read(stream) for stream in streams]
            assert [next(events)[0] for events in attached for _ in range(2)] == ["message", "delta"] * 2
            process.die()
            for events in attached:
                assert list(events) == [("error", {"error": "upstream_error"})]
        _, answer = list_messages(owner, session)
        assert (answer["content"], answer["metadata"]["finish_reason"]) == ("half", "interrupted")
        assert count_drafts() == 0

    def test_deleting_the_session_ends_the_readers(self, owner: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, "half")
        with closing(owner.get(chat_path(session))) as stream:
            events = self.read(stream)
            assert [next(events)[0] for _ in range(2)] == ["message", "delta"]
            owner.delete(f"/api/sessions/{session['id']}")
            assert list(events) == [("error", {"error": "session_not_found"})]
        assert process.save("more") == {session["id"]: "interrupted"}

    @pytest.mark.sqlite
    def test_a_database_that_is_away_for_a_moment_ends_nothing(
        self, owner: ApiClient, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, "half")
        file = Path(settings["PARLEY_DATA_DIR"]) / "parley.db"
        monkeypatch.setattr(chat_reader, "KEEP_ALIVE_INTERVAL", 0)  # a comment for each look that finds nothing
        with closing(owner.get(chat_path(session))) as stream:
            pieces = stream.iter_encoded()
            assert [parse_events(next(pieces))[0][0] for _ in range(2)] == ["message", "delta"]
            file.rename(file.with_suffix(".away"))
            assert [next(pieces)[:1] for _ in range(5)] == [b":"] * 5
            file.with_suffix(".away").rename(file)
            db.ensure_connection()
            process.finish(" and half")
            assert parse_events(b"".join(pieces))[-1] == ("done", {})

            OtherProcess(owner, session)
        monkeypatch.setattr(remote_chat, "OUTAGE_TIMEOUT", 0.1)
        with closing(owner.get(chat_path(session))) as stream:
            pieces = stream.iter_encoded()
            next(pieces)
            file.rename(file.with_suffix(".away"))
            assert parse_events(b"".join(pieces)) == [("error", {"error": "database_unavailable"})]
        file.with_suffix(".away").rename(file)
        db.ensure_connection()

    def test_eight_of_a_user_and_nobody_elses(self, owner: ApiClient, other: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session)
        with ExitStack() as stack:
            for _ in range(chats.MAX_ATTACHED_PER_USER):
                stack.enter_context(closing(owner.get(chat_path(session))))
            assert error_of(owner.get(chat_path(session))) == TOO_MANY
            assert error_of(other.get(chat_path(session))) == (404, "session_not_found")
        process.finish("done")
        assert error_of(owner.get(chat_path(session))) == (404, "chat_not_found")
        OtherProcess(owner, session)
        with closing(owner.get(chat_path(session))) as stream:
            assert stream.status_code == 200

    def test_there_is_nothing_to_attach_to_where_nobody_saves(self, owner: ApiClient) -> None:
        session = owner.session()
        OtherProcess(owner, session, "half").die()
        for method in ("GET", "DELETE"):
            assert error_of(owner(method, chat_path(session))) == (404, "chat_not_found")


class TestStop:
    @pytest.fixture
    def stop(self, app: Flask, owner: ApiClient) -> Iterator[Callable[[dict[str, Any]], Any]]:
        """A function that stops a chat in another thread, and returns the future of the status."""

        def stop(session: dict[str, Any]) -> int:
            response = ApiClient(app.test_client(), owner.token).delete(chat_path(session))
            db.close()
            return response.status_code

        with ThreadPoolExecutor(1) as pool:
            yield lambda session: pool.submit(stop, session)

    @pytest.mark.parametrize("text", ["half", ""])
    def test_it_waits_until_the_other_process_has_stored_the_answer(
        self, owner: ApiClient, stop: Callable[[dict[str, Any]], Any], text: str
    ) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, text)
        stopping = stop(session)
        wait_until(lambda: process.save() == {session["id"]: "stopped"})
        assert not stopping.done()
        process.finish(reason="stopped")
        assert stopping.result(20) == 204
        assert [each["content"] for each in list_messages(owner, session)] == ["ask", *filter(None, [text])]

    def test_a_process_that_does_not_answer_is_not_waited_for_long(
        self, owner: ApiClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chats, "STOP_TIMEOUT", 0.1)
        session = owner.session()
        process = OtherProcess(owner, session, "half")
        assert owner.delete(chat_path(session)).status_code == 204
        assert process.save() == {session["id"]: "stopped"}

    def test_nobody_else_can(self, app: Flask, owner: ApiClient) -> None:
        session = owner.session()
        process = OtherProcess(owner, session, "half")
        assert error_of(add_user(app, "third").delete(chat_path(session))) == (404, "session_not_found")
        assert process.save() == {}
