"""The newest question asked again: nothing is repeated, and an unfinished answer is replaced."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from services import documents
from services.markdown import document as markdown
from store import drafts, entries
from tests.helpers import openapi_checker
from tests.helpers.chats import JSON, STALE, list_messages, parse_events, plant_draft, start_chat
from tests.helpers.client import ApiClient, error_of, message
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.database import query_db
from tests.helpers.database_files import expire_leases
from tests.helpers.process import FakeLlm
from tests.helpers.streams import ChatServer, ChatStream

RETRY = {"retry": True}
UNFINISHED = ("interrupted", "stopped", "error")


@pytest.fixture
def settings(settings: dict[str, Any], fake_llm: FakeLlm) -> dict[str, Any]:
    return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url, "PARLEY_LLM_TIMEOUT_SECONDS": 20}


def retry(client: ApiClient, session: dict[str, Any], **options: Any) -> Any:
    return client.post(f"/api/sessions/{session['id']}/chat", RETRY, **options)


def unfinished(reason: str, content: str = "half") -> dict[str, Any]:
    return message(content, "assistant", metadata={"finish_reason": reason})


@pytest.mark.parametrize("reason", UNFINISHED)
def test_an_unfinished_answer_is_replaced(owner: ApiClient, fake_llm: FakeLlm, reason: str) -> None:
    session = owner.imported(message("first"), message("one", "assistant"), message("second"), unfinished(reason))
    path = f"/api/sessions/{session['id']}"
    before = owner.get(path)
    events = parse_events(retry(owner, session).data)
    first, one, question, answer = list_messages(owner, session)
    assert [first, one, question] == before.get_json()["messages"][:3]
    assert events == [("message", question), ("delta", {"content": "second "}), ("message", answer), ("done", {})]
    assert (answer["content"], answer["metadata"]["finish_reason"]) == ("second ", "stop")
    asked = fake_llm.calls()[-1]["request"]["messages"]
    assert [each["content"] for each in asked] == ["first", "one", "second"]
    after = owner.get(path, headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.get_json()["updated_at"]) == (200, answer["created_at"])
    assert after.get_json()["updated_at"] > session["updated_at"]
    assert error_of(retry(owner, session)) == (HTTPStatus.CONFLICT, "conflict")
    assert query_db("SELECT * FROM drafts") == []


def test_a_question_without_an_answer_is_asked(owner: ApiClient) -> None:
    session = owner.session()
    start_chat(owner, session, "status 500").get_data()
    owner.post(f"/api/sessions/{session['id']}/messages", message("well"))
    response = retry(owner, session, headers=JSON)
    _, question, answer = list_messages(owner, session)
    assert (response.status_code, response.get_json()) == (201, {"messages": [question, answer]})
    assert (question["content"], answer["content"]) == ("well", "well ")


def test_system_messages_are_neither_question_nor_answer(owner: ApiClient, fake_llm: FakeLlm) -> None:
    note = message("say noted", "system")
    session = owner.imported(message("asked"), note, unfinished("error"), note)
    assert parse_events(retry(owner, session).data)[-1] == ("done", {})
    assert [each["content"] for each in list_messages(owner, session)] == ["asked", "say noted", "say noted", "noted"]
    assert [each["content"] for each in fake_llm.calls()[-1]["request"]["messages"]] == ["asked", *["say noted"] * 2]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [message("only a note", "system")],
        [message("nobody asked", "assistant")],
        [unfinished("error")],
        [message(), message("finished", "assistant")],
        [message(), message("finished", "assistant", metadata={"finish_reason": "stop"})],
        [message(), message("cut", "assistant", metadata={"finish_reason": "length"})],
        [message(), message("odd", "assistant", metadata={"finish_reason": None})],
        [message(), message("odder", "assistant", metadata={"finish_reason": ["error"]})],
        [message(), unfinished("error"), message("finished", "assistant")],
        [message(), *[message("talk", "assistant")] * 40, unfinished("error")],
    ],
)
def test_there_is_nothing_to_ask_again(owner: ApiClient, messages: list[dict[str, Any]]) -> None:
    session = owner.imported(*messages)
    before = owner.get(f"/api/sessions/{session['id']}").get_json()
    assert error_of(retry(owner, session)) == (409, "conflict")
    assert owner.get(f"/api/sessions/{session['id']}").get_json() == before
    assert query_db("SELECT * FROM drafts") == []
    assert parse_events(start_chat(owner, session, "hello").data)[-1] == ("done", {})


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"retry": False}, {"content"}),
        ({"retry": True, "content": "x"}, {"content"}),
        ({"retry": True, "metadata": {}}, {"metadata"}),
        ({"retry": True, "content": "x", "metadata": {"a": 1}}, {"content", "metadata"}),
        ({"retry": True, "content": ""}, {"content"}),
        ({"retry": "true"}, {"retry"}),
        ({"retry": 1, "content": "x"}, {"retry"}),
        ({"retry": None}, {"retry"}),
    ],
)
def test_rejects_other_bodies(owner: ApiClient, body: Any, fields: set[str]) -> None:
    session = owner.imported(message())
    response = owner.post(f"/api/sessions/{session['id']}/chat", body)
    assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
    assert response.get_json()["details"].keys() == fields
    assert not openapi_checker.component("StartChat").is_valid(body)
    assert len(list_messages(owner, session)) == 1


def test_false_is_as_if_it_were_absent(owner: ApiClient) -> None:
    session = owner.session()
    response = owner.post(f"/api/sessions/{session['id']}/chat", {"content": "x", "retry": False, "metadata": {"a": 1}})
    assert parse_events(response.data)[-1] == ("done", {})
    assert list_messages(owner, session)[0]["metadata"] == {"a": 1}


def test_a_retry_without_text_leaves_the_old_answer(owner: ApiClient) -> None:
    session = owner.imported(message("status 500"), unfinished("stopped"))
    before = owner.get(f"/api/sessions/{session['id']}").get_json()
    assert parse_events(retry(owner, session).data)[1:] == [("error", {"error": "upstream_error"})]
    assert owner.get(f"/api/sessions/{session['id']}").get_json() == before


def test_a_retry_that_fails_again_replaces_what_had_come(owner: ApiClient) -> None:
    session = owner.imported(message("say quarter\nerror"), unfinished("stopped"))
    response = retry(owner, session, headers=JSON)
    assert error_of(response) == (502, "upstream_error")
    messages = list_messages(owner, session)
    assert response.get_json()["details"] == {"messages": messages}
    assert [each["content"] for each in messages[1:]] == ["quarter"]
    assert parse_events(retry(owner, session).data)[0] == ("message", messages[0])


def test_a_replaced_answer_is_found_no_more(owner: ApiClient) -> None:
    session = owner.imported(message("say zucchini"), unfinished("error", "aubergine"))
    assert len(owner.get("/api/sessions?q=aubergine").get_json()["items"]) == 1
    retry(owner, session).get_data()
    assert owner.get("/api/sessions?q=aubergine").get_json()["items"] == []
    (found,) = owner.get("/api/sessions?q=zucchini").get_json()["items"]
    assert found["id"] == session["id"]


def test_a_client_that_pages_gets_the_new_answer_for_the_old_one(owner: ApiClient) -> None:
    session = owner.imported(message("ask"), unfinished("error"))
    path = f"/api/sessions/{session['id']}/messages"
    page = owner.get(f"{path}?limit=1").get_json()
    retry(owner, session).get_data()
    rest = owner.get(f"{path}?limit=1&cursor={page['next_cursor']}").get_json()
    assert [each["content"] for each in rest["items"]] == ["ask "]


@pytest.mark.parametrize("read", [documents.session_with_messages, markdown.export])
def test_a_long_read_goes_on_when_its_last_message_is_replaced(owner: ApiClient, read: Any) -> None:
    texts = [message(f"{number} {'x' * 9_000}") for number in range(2 * entries.READ_PAGE_SIZE - 1)]
    session = owner.imported(*texts, message("ask"), unfinished("error"))
    _, document = read(str(owner.user_id), session["id"])
    pieces = iter(document)
    begun = next(pieces)
    retry(owner, session).get_data()
    whole = begun + b"".join(pieces)
    assert b"half" not in whole
    assert whole.count(b"ask") == 2  # the question and its new answer


def test_a_chat_in_progress_is_a_conflict(owner: ApiClient) -> None:
    session = owner.session()
    path = f"/api/sessions/{session['id']}/chat"
    with closing(start_chat(owner, session, "say x", "wait 30")) as stream:
        pieces = stream.iter_encoded()
        assert b"message" in next(pieces)
        assert b"delta" in next(pieces)
        assert error_of(retry(owner, session)) == (409, "conflict")
    assert owner.delete(path).status_code == 204
    with closing(retry(owner, session)) as stream:
        pieces = stream.iter_encoded()
        assert b"message" in next(pieces)
        assert b"delta" in next(pieces)
        assert error_of(retry(owner, session)) == error_of(start_chat(owner, session, "x")) == (409, "conflict")
    assert owner.delete(path).status_code == 204
    assert [each["metadata"].get("finish_reason") for each in list_messages(owner, session)] == [None, "stopped"]


def test_left_over_draft_is_an_answer_that_can_be_replaced(owner: ApiClient) -> None:
    session = owner.imported(message("ask"), message("note", "system"))
    question = list_messages(owner, session)[0]
    plant_draft(session, age=STALE, question_id=question["id"])
    retry(owner, session).get_data()
    assert [each["content"] for each in list_messages(owner, session)] == ["ask", "note", "note "]


def test_draft_of_a_dead_retry_replaces_the_answer_if_it_has_text(owner: ApiClient) -> None:
    for text, expected in (("", "half"), ("most of", "most of")):
        session = owner.imported(message("ask"), unfinished("error"))
        question, answer = list_messages(owner, session)
        plant_draft(session, text, age=STALE, question_id=question["id"], replaced_id=answer["id"])
        drafts.finish_stale()
        _, left = list_messages(owner, session)
        assert left["content"] == expected
        assert left["metadata"]["finish_reason"] == ("interrupted" if text else "error")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 5])
def test_killed_server_leaves_the_old_answer_or_the_new_one(tmp_path: Path, fake_llm: FakeLlm, seconds: float) -> None:
    """Never both, and never none: the draft is saved every two seconds."""
    folder = DataFolder(tmp_path / "data")
    (token,) = folder.tokens
    script = ("say a ", "repeat 1000 0.1 b ")
    with ChatServer(folder, LLM_BASE_URL=fake_llm.url) as server:
        session = server.create_session(token)
        with closing(ChatStream(server, token, session, *script)) as stream:
            stream.begin().readline()
            wait_until(lambda: stream.next_event()[1] == {"content": "b "})
            assert server.stop_chat(token, session) == 204
        question, old = server.list_messages(token, session)
        with closing(ChatStream(server, token, session, body=RETRY)) as stream:
            stream.begin()
            assert [stream.next_event() for _ in range(2)] == [("message", question), ("delta", {"content": "a "})]
            assert server.list_messages(token, session) == [question, old]
            time.sleep(seconds)
            server.stop(signal.SIGKILL)
    expire_leases(folder.path)
    with ChatServer(folder, LLM_BASE_URL=fake_llm.url) as server:
        first, answer = server.list_messages(token, session)
        assert first == question
        if seconds:
            assert answer["id"] != old["id"]
            assert answer["content"].startswith("a b b b ")
            assert answer["metadata"]["finish_reason"] == "interrupted"
        else:  # the new one if it was just being saved
            assert answer == old or answer["content"].startswith("a ")
        with closing(ChatStream(server, token, session, body=RETRY)) as stream:
            stream.begin()
            assert stream.next_event() == ("message", question)
            assert server.stop_chat(token, session) == 204


def test_without_a_model_nothing_changes(app: Flask, owner: ApiClient) -> None:
    session = owner.imported(message("ask"), unfinished("error"))
    app.extensions["services"].chats.llm = None
    assert error_of(retry(owner, session)) == (503, "llm_not_configured")
    assert len(list_messages(owner, session)) == 2
