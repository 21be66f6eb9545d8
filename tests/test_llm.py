"""What a model's API may send, and the connections to it."""

from __future__ import annotations

import json
import time
from typing import Any

import orjson
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from services.completion import Completion, Utf16Joiner
from services.llm import Llm
from tests.helpers.chats import JSON, list_messages, parse_events, start_chat
from tests.helpers.client import ApiClient
from tests.helpers.clock import wait_until
from tests.helpers.fake_llm import MODEL
from tests.helpers.process import FakeLlm


@pytest.fixture
def settings(settings: dict[str, Any], fake_llm: FakeLlm) -> dict[str, Any]:
    # Long enough that a test which waits for it fails.
    return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url, "PARLEY_LLM_TIMEOUT_SECONDS": 20}


def chunk(*choices: Any, **more: Any) -> str:
    return "raw " + json.dumps({"choices": list(choices)} | more)


def choice(index: Any, content: str | None, **more: Any) -> dict[str, Any]:
    return {"index": index, "delta": {"content": content}} | more


def complete(owner: ApiClient, *script: str) -> dict[str, Any]:
    """Return the assistant's message that a script results in, the same in both forms of the response."""
    session = owner.session()
    events = parse_events(start_chat(owner, session, *script).data)
    assert events[-1] == ("done", {})
    reply: dict[str, Any] = list_messages(owner, session)[-1]
    assert "".join(data["content"] for name, data in events if name == "delta") == reply["content"]
    whole = start_chat(owner, session, *script, headers=JSON).get_json()["messages"][1]
    for message in (reply, whole):
        del message["metadata"]["duration_ms"]
    assert (whole["content"], whole["metadata"]) == (reply["content"], reply["metadata"])
    return reply


class TestChoices:
    @pytest.mark.parametrize(
        "script",
        [
            [chunk(choice(0, "a"), choice(1, "X")), chunk(choice(1, "X"), choice(0, "b")), chunk(choice(1, "X"))],
            [chunk(choice(1, "X")), chunk(choice(0, "a")), chunk(choice(2, "X")), chunk(choice(0, "b"))],
            [chunk(choice(1, "X", finish_reason="length")), chunk(choice(0, "ab"))],
            [chunk(choice(0, "a"), choice(0, "b"))],
            [chunk(choice(None, "a"), choice(None, "X")), chunk({"delta": {"content": "b"}})],
            [chunk(), chunk(choice(0, "a")), chunk(usage=None), chunk(choice(0, None)), chunk(choice(0, "b"))],
        ],
    )
    def test_first_choice_is_used_whatever_its_position(self, owner: ApiClient, script: list[str]) -> None:
        reply = complete(owner, *script)
        assert (reply["content"], reply["metadata"]["finish_reason"]) == ("ab", "stop")

    def test_finish_reason_of_another_choice_is_ignored(self, owner: ApiClient) -> None:
        session = owner.session()
        script = (chunk(choice(0, "half")), chunk(choice(1, "X", finish_reason="stop")), "end")
        assert parse_events(start_chat(owner, session, *script).data)[-1] == ("error", {"error": "upstream_error"})


class TestNames:
    @pytest.mark.parametrize("name", ["", " ", "\t\n", "\u2003"])
    def test_blank_model_is_ignored(self, owner: ApiClient, fake_llm: FakeLlm, app: Flask, name: str) -> None:
        reply = complete(owner, chunk(choice(0, "a"), model=name))
        assert reply["metadata"]["model"] == MODEL  # the one of the chunks around it
        assert Llm(app.config | {"PARLEY_LLM_MODEL": name}, app.extensions["services"].runner).model is None

    def test_half_of_a_surrogate_pair_is_replaced(self, owner: ApiClient) -> None:
        reply = Completion()
        reply.read_chunk('{"model": " m\\ud800 ", "choices": [{"finish_reason": "\\udc00"}]}')
        assert (reply.model, reply.finish_reason) == ("m\ufffd", "\ufffd")


class TestEventStreams:
    """The tests of the decoder itself are in test_sse.py."""

    @pytest.mark.parametrize("end", ["\n", "\r", "\r\n"], ids=["LF", "CR", "CRLF"])
    def test_event_is_decoded_with_its_last_byte(self, owner: ApiClient, fake_llm: FakeLlm, end: str) -> None:
        text = f'data: {{"choices": [{{"delta": {{"content": "well"}}}}]}}{end}{end}data: [DONE]{end}{end}'
        calls = len(fake_llm.calls())
        events = parse_events(start_chat(owner, owner.session(), f"bytes {text.encode().hex()}", "wait 30").data)
        assert [name for name, _ in events] == ["message", "delta", "message", "done"]
        wait_until(lambda: fake_llm.calls()[calls]["disconnected_at"])  # so it has not waited for more

    @pytest.mark.parametrize(
        "kind", ["Text/Event-Stream", "text/event-stream;CHARSET=latin-1", "text/event-stream; charset=utf-16"]
    )
    def test_charset_is_ignored(self, owner: ApiClient, kind: str) -> None:
        line = 'data: {"choices": [{"delta": {"content": "é 😀"}}]}\n\n'.encode()
        pieces = [f"bytes {line[at : at + 1].hex()}" for at in range(len(line))]
        assert complete(owner, f"header Content-Type: {kind}", *pieces)["content"] == "é 😀"

    @pytest.mark.parametrize(
        "end", ["data: [DONE]", "data:[DONE]", "data:  [DONE] ", "data: [DONE]\t", "data:\ndata: [DONE]"]
    )
    def test_done_may_have_white_space_around_it(self, owner: ApiClient, end: str) -> None:
        reply = complete(owner, "say a", f"bytes {end.encode().hex()}0a0a", "raw no JSON")
        assert (reply["content"], reply["metadata"]["finish_reason"]) == ("a", "stop")

    @pytest.mark.parametrize("coding", ["identity", "Identity"])
    def test_identity_coding_is_accepted(self, owner: ApiClient, coding: str) -> None:
        assert complete(owner, f"header Content-Encoding: {coding}", "say a")["content"] == "a"

    def test_field_names_are_case_sensitive(self, owner: ApiClient) -> None:
        line = b'DATA: {"choices": [{"delta": {"content": "X"}}]}\n\n'
        assert complete(owner, f"bytes {line.hex()}", "say a")["content"] == "a"


class TestSurrogates:
    @pytest.mark.parametrize(
        ("script", "expected"),
        [
            (["\\ud83d", "\\ude00"], "😀"),
            (["a\\ud83d", "", "\\ude00b"], "a😀b"),
            (["\\ud83d\\ud83d", "\\ude00"], "\ufffd😀"),
            (["\\ude00a", "\\ud83d"], "\ufffda\ufffd"),
            (["\\ud83d", "a"], "\ufffda"),
        ],
    )
    def test_halves_are_joined_or_replaced(self, owner: ApiClient, script: list[str], expected: str) -> None:
        raw = [f'raw {{"choices": [{{"delta": {{"content": "{part}"}}}}]}}' for part in script]
        assert complete(owner, *raw)["content"] == expected

    @given(st.lists(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=5)))
    def test_text_is_joined_however_it_is_cut(self, parts: list[str]) -> None:
        joiner = Utf16Joiner()
        pieces = [joiner.join(part) for part in parts] + [joiner.end()]
        assert all(orjson.dumps(piece) for piece in pieces)  # each is valid by itself
        whole = "".join(parts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        assert "".join(pieces) == whole


class TestConnections:
    def test_connection_is_reused(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        before = len(fake_llm.calls())
        for _ in range(5):
            assert parse_events(start_chat(owner, owner.session(), "say x").data)[-1] == ("done", {})
            time.sleep(0.1)
        calls = fake_llm.calls()[before:]
        assert len(calls) == 5
        assert len({tuple(call["connection"]) for call in calls}) == 1

    def test_chat_does_not_wait_for_the_end_of_the_stream(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        calls = len(fake_llm.calls())
        assert parse_events(start_chat(owner, owner.session(), "say x", "linger 30").data)[-1] == ("done", {})
        wait_until(lambda: fake_llm.calls()[calls]["disconnected_at"])  # so the stream was not read to its end

    def test_request_is_sent_again_if_a_reused_connection_is_closed(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        calls = len(fake_llm.calls())
        for _ in range(3):
            assert parse_events(start_chat(owner, owner.session(), "say x", "drop-next").data)[-1] == ("done", {})
            time.sleep(0.1)
        assert len({tuple(call["connection"]) for call in fake_llm.calls()[calls:]}) == 3

    def test_request_is_not_sent_again_if_a_new_connection_is_closed(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        calls = len(fake_llm.calls())
        assert parse_events(start_chat(owner, owner.session(), "slam").data)[-1] == (
            "error",
            {"error": "upstream_error"},
        )
        assert len(fake_llm.calls()) == calls + 1

    def test_cookies_are_not_stored(self, owner: ApiClient, other: ApiClient, fake_llm: FakeLlm) -> None:
        calls = len(fake_llm.calls())
        for client in (owner, other, owner):
            start_chat(client, client.session(), "header Set-Cookie: who=alice; Path=/", "say x").get_data()
        assert [call["cookie"] for call in fake_llm.calls()[calls:]] == [None] * 3
