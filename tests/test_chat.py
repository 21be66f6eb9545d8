"""Chats over the API: the stream, its JSON form, errors of the model's API, and what is stored."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask

from database import db
from services import chat_reader, drafts
from store import drafts as store_drafts
from tests.helpers.chats import JSON, STALE, list_messages, parse_events, plant_draft, start_chat
from tests.helpers.client import ApiClient, message
from tests.helpers.clock import wait_until
from tests.helpers.database import query_db
from tests.helpers.fake_llm import MODEL, USAGE
from tests.helpers.process import FakeLlm

KEY = "sk-only-for-tests"


@pytest.fixture
def settings(settings: dict[str, Any], fake_llm: FakeLlm) -> dict[str, Any]:
    return settings | {
        "PARLEY_LLM_BASE_URL": fake_llm.url,
        "PARLEY_LLM_API_KEY": KEY,
        "PARLEY_LLM_MODEL": "asked-for",
        "PARLEY_LLM_TIMEOUT_SECONDS": 20,
    }


class TestStream:
    def test_stream_and_stored_messages(self, owner: ApiClient) -> None:
        session = owner.session()
        response = owner.post(f"/api/sessions/{session['id']}/chat", {"content": "what is up", "metadata": {"tab": 1}})
        assert (response.status_code, response.mimetype) == (200, "text/event-stream")
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "no-store" in response.headers["Cache-Control"]
        events = parse_events(response.data)
        question, reply = list_messages(owner, session)
        assert events == [
            ("message", question),
            *(("delta", {"content": word}) for word in ("what ", "is ", "up ")),
            ("message", reply),
            ("done", {}),
        ]
        assert (question["role"], question["content"], question["metadata"]) == ("user", "what is up", {"tab": 1})
        assert (reply["role"], reply["content"]) == ("assistant", "what is up ")
        assert type(reply["metadata"].pop("duration_ms")) is int
        assert reply["metadata"] == {"model": MODEL, "finish_reason": "stop", "usage": USAGE}
        assert owner.get("/api/sessions").get_json()["items"][0]["updated_at"] == reply["created_at"]
        assert query_db("SELECT * FROM drafts") == []

    def test_usage_that_is_not_sent_is_not_in_the_metadata(self, owner: ApiClient) -> None:
        _, reply = start_chat(owner, owner.session(), "say x", "no-usage", headers=JSON).get_json()["messages"]
        assert set(reply["metadata"]) == {"model", "finish_reason", "duration_ms"}

    def test_byte_order_mark_is_removed(self, owner: ApiClient) -> None:
        session = owner.session()
        assert parse_events(start_chat(owner, session, "bom", "say x").data)[1] == ("delta", {"content": "first "})
        assert list_messages(owner, session)[1]["content"] == "first x"

    def test_long_completion_is_cut(self, owner: ApiClient) -> None:
        session = owner.session()
        events = parse_events(start_chat(owner, session, f"repeat 600 0 {'é' * 99}").data)
        assert events[-1] == ("done", {})
        reply = list_messages(owner, session)[1]
        assert reply["content"] == "é" * 50_000
        assert "".join(data["content"] for name, data in events if name == "delta") == reply["content"]
        assert reply["metadata"]["finish_reason"] == "length"

    def test_nul_is_replaced(self, owner: ApiClient) -> None:
        script = 'raw {"model": "m\\u0000", "choices": [{"delta": {"content": "a\\u0000b"}}], "usage": {"a\\u0000": 1}}'
        _, reply = start_chat(owner, owner.session(), script, "no-usage", headers=JSON).get_json()["messages"]
        assert reply["content"] == "a\ufffdb"
        assert "usage" not in reply["metadata"]

    def test_comments_keep_a_silent_stream_alive(self, owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat_reader, "KEEP_ALIVE_INTERVAL", 0)
        body = start_chat(owner, owner.session(), "say x", "wait 0.5", "say y").data
        assert b"\n\n: " in body
        assert [name for name, _ in parse_events(body)] == ["message", "delta", "delta", "message", "done"]

    def test_no_transaction_is_open_during_a_chat(self, owner: ApiClient) -> None:
        response = start_chat(owner, owner.session(), "say x", "wait 0.5")
        pieces = response.iter_encoded()
        next(pieces)
        assert not db.in_transaction()
        assert owner.post("/api/sessions").status_code == 201
        assert parse_events(b"".join(pieces))[-1] == ("done", {})
        response.close()

    def test_stop_before_the_model_is_asked(
        self, owner: ApiClient, app: Flask, fake_llm: FakeLlm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The question can be seen, and its chat be stopped, while its prompt is built."""
        services, session = app.extensions["services"], owner.session()

        def build(*arguments: Any, **options: Any) -> list[Any]:
            services.chats.get(owner.user_id, session["id"]).stop("stopped")
            return []

        monkeypatch.setattr(services.prompt, "build", build)
        calls = len(fake_llm.calls())
        events = parse_events(start_chat(owner, session, "hello").data)
        assert events == [("message", list_messages(owner, session)[0]), ("done", {})]
        assert len(fake_llm.calls()) == calls
        assert query_db("SELECT * FROM drafts") == []

    def test_chat_that_cannot_start_leaves_its_question_and_a_free_session(
        self, owner: ApiClient, app: Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = owner.session()
        with monkeypatch.context() as patch:
            patch.setattr(app.extensions["services"].prompt, "build", lambda *_, **__: 1 / 0)
            assert start_chat(owner, session, "hello").status_code == 500
        wait_until(lambda: not app.extensions["services"].chats.active)
        retried = owner.post(f"/api/sessions/{session['id']}/chat", {"retry": True})
        assert parse_events(retried.data)[-1] == ("done", {})
        assert [each["content"] for each in list_messages(owner, session)] == ["hello", "hello "]

    def test_deleting_the_session_ends_the_chat(self, owner: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(drafts, "SAVE_INTERVAL", 0.05)
        session = owner.session()
        response = start_chat(owner, session, "repeat 1000 0.01 x")
        pieces = response.iter_encoded()
        assert b"event: message" in next(pieces)
        owner.delete(f"/api/sessions/{session['id']}")
        assert parse_events(b"".join(pieces))[-1] == ("error", {"error": "session_not_found"})
        response.close()
        assert owner.get("/api/sessions").get_json() == {"items": []}


class TestRequest:
    @pytest.mark.parametrize(
        ("accept", "status"),
        [
            ("application/json", 201),
            ("application/json, text/event-stream;q=0.5", 201),
            ("text/event-stream", 200),
            ("application/json, text/event-stream", 200),
            ("application/json; charset=utf-8", 201),
            ("Application/JSON;Charset=UTF-8", 201),
            ("application/json; indent=2; version=1", 201),
            ("application/json; charset=utf-8; q=0.9, text/event-stream; charset=utf-8; q=0.1", 201),
            ("application/json; charset=utf-8; Q=0.1, text/event-stream; q=0.9", 200),
            ("text/*;q=0.5, application/json;charset=utf-8;q=0.6", 201),
            ("*/*;q=0.1, application/json;charset=utf-8", 201),
            ("application/json;charset=utf-8;q=0", 200),
            ("text/html, application/json;charset=utf-8", 201),
            ("application/json-seq", 200),
            ("text/event-stream; charset=utf-8", 200),
            ("application/json;charset=utf-8, text/event-stream;charset=utf-8", 200),
            ("*/*", 200),
            ("text/html", 200),
            ("", 200),
        ],
    )
    def test_response_type(self, owner: ApiClient, accept: str, status: int) -> None:
        session = owner.session()
        response = start_chat(owner, session, "hello", headers={"Accept": accept})
        assert response.status_code == status
        if status == 201:
            assert response.get_json() == {"messages": list_messages(owner, session)}
        else:
            assert parse_events(response.data)[-1] == ("done", {})
        assert [message["content"] for message in list_messages(owner, session)] == ["hello", "hello "]

    @pytest.mark.parametrize(
        "body",
        [
            ...,
            None,
            {},
            [],
            {"content": ""},
            {"content": None},
            {"content": 5},
            {"content": "x" * 50_001},
            {"content": "\0"},
            {"content": "x", "metadata": []},
            {"content": "x", "metadata": {"a": "\0"}},
        ],
    )
    def test_rejects_invalid_bodies(self, owner: ApiClient, body: Any) -> None:
        session = owner.session()
        response = owner.post(f"/api/sessions/{session['id']}/chat", body)
        assert (response.status_code, response.get_json()["error"]) == (400, "validation_error")
        assert list_messages(owner, session) == []


class TestUpstream:
    def test_upstream_is_sent_the_prompt(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        session = owner.imported(message("first"), message("second", role="assistant"), message("third", role="system"))
        owner.patch(f"/api/sessions/{session['id']}/system-prompt", {"system_prompt": "Be brief."})
        prompt = owner.get(f"/api/sessions/{session['id']}/prompt?content=hello").get_json()["messages"]
        assert prompt == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "second"},
            {"role": "system", "content": "third"},
            {"role": "user", "content": "hello"},
        ]
        _ = start_chat(owner, session, "hello").data
        call = fake_llm.calls()[-1]
        assert call["request"]["messages"] == prompt
        assert (call["path"], call["request"]["model"]) == ("/v1/chat/completions", "asked-for")
        assert call["authorization"] == f"Bearer {KEY}"

    def test_key_is_never_shown(self, owner: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
        logging.getLogger("parley").propagate = True
        session = owner.session()
        body = start_chat(owner, session, "status 401").data + owner.get(f"/api/sessions/{session['id']}").data
        assert KEY.encode() not in body
        assert "status 401 test" in caplog.text
        assert KEY not in caplog.text

    @pytest.mark.parametrize(
        ("script", "text"),
        [
            (["status 401"], None),
            (["status 429"], None),
            (["status 500"], None),
            (["redirect"], None),
            (["html"], None),
            (["break"], None),
            (["say half", "break"], "half"),
            (["say half", "end"], "half"),
            (["say half", "error"], "half"),
            (["say half", "line 10000000"], "half"),
            (["gzip", "say half"], None),
            (["say half", "raw {"], "half"),
            (["say half", "raw []"], "half"),
            (["say half", 'raw {"choices": 5}'], "half"),
            (["say half", 'raw {"choices": [{"delta": {"content": 5}}]}'], "half"),
            (["say "], None),  # has no text
        ],
    )
    def test_errors(self, owner: ApiClient, script: list[str], text: str | None) -> None:
        check_failure(owner, script, "upstream_error", text)


class TestUpstreamTimeout:
    @pytest.fixture
    def settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings | {"PARLEY_LLM_TIMEOUT_SECONDS": 3}  # a busy machine may need one to receive "half"

    @pytest.mark.parametrize(
        ("script", "text"),
        [
            (["say half", "wait 30"], "half"),
            *(
                pytest.param(script, text, marks=pytest.mark.slow)
                for script, text in (
                    (["wait 30"], None),
                    (["say half", "drip 0.1"], "half"),
                    (["repeat 1000 0.05 ha"], "ha"),
                )
            ),
        ],
    )
    def test_timeouts(self, owner: ApiClient, app: Flask, script: list[str], text: str | None) -> None:
        app.extensions["services"].start()  # the first HTTP client may take as long to create
        check_failure(owner, script, "upstream_timeout", text)


def check_failure(client: ApiClient, script: list[str], code: str, text: str | None) -> None:
    """Check that a chat fails with a code in both forms, and that the text it begins with, if any, is stored."""
    session = client.session()
    events = parse_events(start_chat(client, session, *script).data)
    question, *replies = list_messages(client, session)
    assert events[0] == ("message", question)
    assert events[-1] == ("error", {"error": code})
    assert {name for name, _ in events[1:-1]} <= {"delta"}
    assert "".join(data["content"] for _, data in events[1:-1]) == "".join(reply["content"] for reply in replies)
    assert [reply["metadata"]["finish_reason"] for reply in replies] == (["error"] if text else [])
    assert all(reply["content"].startswith(text or "-") for reply in replies)

    response = start_chat(client, session, *script, headers=JSON)
    status = {"upstream_error": 502, "upstream_timeout": 504}[code]
    assert (response.status_code, response.get_json()["error"]) == (status, code)
    assert response.get_json()["details"]["messages"] == list_messages(client, session)[1 + len(replies) :]
    assert query_db("SELECT * FROM drafts") == []


class TestDrafts:
    def test_drafts_of_a_dead_process_become_messages(self, owner: ApiClient) -> None:
        started, silent = owner.imported(message()), owner.imported(message())
        plant_draft(started, age=STALE)
        plant_draft(silent, "", age=STALE, model=None)
        store_drafts.finish_stale()
        assert query_db("SELECT * FROM drafts") == []
        assert len(list_messages(owner, silent)) == 1
        _, reply = list_messages(owner, started)
        assert (reply["role"], reply["content"]) == ("assistant", "half of")
        assert reply["metadata"] == {"model": "m", "finish_reason": "interrupted"}

    def test_left_over_draft_becomes_a_message_when_the_next_chat_starts(self, owner: ApiClient) -> None:
        session = owner.session()
        plant_draft(session, age=STALE)
        assert parse_events(start_chat(owner, session, "hello").data)[-1] == ("done", {})
        assert [message["content"] for message in list_messages(owner, session)] == ["half of", "hello", "hello "]


class TestUnreachableUpstream:
    @pytest.fixture
    def settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings | {"PARLEY_LLM_BASE_URL": "http://127.0.0.1:9/v1"}

    def test_error(self, owner: ApiClient) -> None:
        session = owner.session()
        assert parse_events(start_chat(owner, session, "x").data)[-1] == ("error", {"error": "upstream_error"})
        assert [message["role"] for message in list_messages(owner, session)] == ["user"]


class TestNotConfigured:
    @pytest.fixture
    def settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings | {"PARLEY_LLM_BASE_URL": None}

    def test_error_and_nothing_stored(self, owner: ApiClient) -> None:
        session = owner.session()
        response = start_chat(owner, session, "x")
        assert (response.status_code, response.get_json()) == (503, {"error": "llm_not_configured"})
        assert "Retry-After" not in response.headers
        assert list_messages(owner, session) == []
