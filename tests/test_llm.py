"""What a model's API may say and how it may say it; on which connections, and past which proxies, it is asked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from config import StartupError
from services.completion import Completion, Utf16Joiner
from services.llm import Completion, Utf16Joiner
from services.outgoing import environment_proxy, is_loopback
from services.proxies import environment_proxy, is_loopback
from tests.helpers.client import ApiClient
from tests.helpers.fake_llm import MODEL
from tests.helpers.process import ROOT, FakeLlm, environment
from tests.test_chat import ask, events, stored

JSON = {"Accept": "application/json"}
DONE = b"data: [DONE]\n\n".hex()


@pytest.fixture
def settings(settings: dict[str, Any], fake_llm: FakeLlm) -> dict[str, Any]:
    # Long enough that whatever waits for it is seen to.
    return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url, "PARLEY_LLM_TIMEOUT_SECONDS": 20}


def chunk(*choices: Any, **more: Any) -> str:
    return "raw " + json.dumps({"choices": list(choices)} | more)


def choice(index: Any, content: str | None, **more: Any) -> dict[str, Any]:
    return {"index": index, "delta": {"content": content}} | more


def answered(owner: ApiClient, *script: str) -> dict[str, Any]:
    """Return the answer to a script, the same in both forms."""
    session = owner.session()
    came = events(ask(owner, session, *script).data)
    assert came[-1] == ("done", {})
    reply: dict[str, Any] = stored(owner, session)[-1]
    assert "".join(data["content"] for name, data in came if name == "delta") == reply["content"]
    whole = ask(owner, session, *script, headers=JSON).get_json()["messages"][1]
    for each in (reply, whole):
        del each["metadata"]["duration_ms"]
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
    def test_the_first_counts_wherever_it_stands(self, owner: ApiClient, script: list[str]) -> None:
        reply = answered(owner, *script)
        assert (reply["content"], reply["metadata"]["finish_reason"]) == ("ab", "stop")

    def test_how_another_ends_is_not_how_it_ends(self, owner: ApiClient) -> None:
        session = owner.session()
        script = (chunk(choice(0, "half")), chunk(choice(1, "X", finish_reason="stop")), "end")
        assert events(ask(owner, session, *script).data)[-1] == ("error", {"error": "upstream_error"})


class TestNames:
    @pytest.mark.parametrize("name", ["", " ", "\t\n", "\u2003"])
    def test_a_blank_one_is_none(self, owner: ApiClient, fake_llm: FakeLlm, app: Flask, name: str) -> None:
        reply = answered(owner, chunk(choice(0, "a"), model=name))
        assert reply["metadata"]["model"] == MODEL  # as the chunks around it say
        from services.llm import Llm

        assert Llm(app.config | {"PARLEY_LLM_MODEL": name}, app.extensions["services"].runner).model is None

    def test_half_a_surrogate_pair_in_one_is_replaced(self, owner: ApiClient) -> None:
        reply = Completion()
        reply.read_chunk('{"model": " m\\ud800 ", "choices": [{"finish_reason": "\\udc00"}]}')
        assert (reply.model, reply.finish_reason) == ("m\ufffd", "\ufffd")


class TestEventStreams:
    """The decoder's own tests are in test_sse.py."""

    @pytest.mark.parametrize("end", ["\n", "\r", "\r\n"], ids=["LF", "CR", "CRLF"])
    def test_an_answer_is_there_with_its_last_byte(self, owner: ApiClient, end: str) -> None:
        text = f'data: {{"choices": [{{"delta": {{"content": "well"}}}}]}}{end}{end}data: [DONE]{end}{end}'
        began = time.monotonic()
        came = events(ask(owner, owner.session(), f"bytes {text.encode().hex()}", "wait 15").data)
        assert [name for name, _ in came] == ["message", "delta", "message", "done"]
        assert time.monotonic() - began < 10

    @pytest.mark.parametrize(
        "kind", ["Text/Event-Stream", "text/event-stream;CHARSET=latin-1", "text/event-stream; charset=utf-16"]
    )
    def test_it_is_utf_8_whatever_its_type_says(self, owner: ApiClient, kind: str) -> None:
        line = 'data: {"choices": [{"delta": {"content": "é 😀"}}]}\n\n'.encode()
        pieces = [f"bytes {line[at : at + 1].hex()}" for at in range(len(line))]
        assert answered(owner, f"header Content-Type: {kind}", *pieces)["content"] == "é 😀"

    @pytest.mark.parametrize(
        "end", ["data: [DONE]", "data:[DONE]", "data:  [DONE] ", "data: [DONE]\t", "data:\ndata: [DONE]"]
    )
    def test_the_mark_of_the_end_may_have_white_space_round_it(self, owner: ApiClient, end: str) -> None:
        reply = answered(owner, "say a", f"bytes {end.encode().hex()}0a0a", "raw no JSON")
        assert (reply["content"], reply["metadata"]["finish_reason"]) == ("a", "stop")

    @pytest.mark.parametrize("coding", ["identity", "Identity"])
    def test_no_coding_by_its_name_is_none(self, owner: ApiClient, coding: str) -> None:
        assert answered(owner, f"header Content-Encoding: {coding}", "say a")["content"] == "a"

    def test_a_name_in_another_case_is_another_name(self, owner: ApiClient) -> None:
        line = b'DATA: {"choices": [{"delta": {"content": "X"}}]}\n\n'
        assert answered(owner, f"bytes {line.hex()}", "say a")["content"] == "a"


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
    def test_halves_are_joined_and_what_stays_half_is_replaced(
        self, owner: ApiClient, script: list[str], expected: str
    ) -> None:
        raw = [f'raw {{"choices": [{{"delta": {{"content": "{part}"}}}}]}}' for part in script]
        assert answered(owner, *raw)["content"] == expected

    @given(st.lists(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=5)))
    def test_any_text_in_any_pieces(self, parts: list[str]) -> None:
        joiner = Utf16Joiner()
        pieces = [joiner.join(part) for part in parts] + [joiner.end()]
        assert all(orjson.dumps(piece) for piece in pieces)  # each is valid by itself
        whole = "".join(parts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        assert "".join(pieces) == whole


class TestConnections:
    def test_one_is_used_again(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        asked = len(fake_llm.calls())
        for _ in range(5):
            assert events(ask(owner, owner.session(), "say x").data)[-1] == ("done", {})
            time.sleep(0.1)
        calls = fake_llm.calls()[asked:]
        assert len(calls) == 5
        assert len({tuple(call["connection"]) for call in calls}) == 1

    def test_nobody_waits_for_the_end_of_the_stream(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        asked = len(fake_llm.calls())
        began = time.monotonic()
        assert events(ask(owner, owner.session(), "say x", "linger 15").data)[-1] == ("done", {})
        assert time.monotonic() - began < 10
        deadline = time.monotonic() + 10
        while not fake_llm.calls()[asked]["left"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert fake_llm.calls()[asked]["left"]  # and it is not read for ever

    def test_one_that_is_closed_when_it_is_used_again_is_no_error(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        asked = len(fake_llm.calls())
        for _ in range(3):
            assert events(ask(owner, owner.session(), "say x", "drop-next").data)[-1] == ("done", {})
            time.sleep(0.1)
        assert len({tuple(call["connection"]) for call in fake_llm.calls()[asked:]}) == 3

    def test_who_does_not_answer_on_a_new_one_is_not_asked_again(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        asked = len(fake_llm.calls())
        assert events(ask(owner, owner.session(), "slam").data)[-1] == ("error", {"error": "upstream_error"})
        assert len(fake_llm.calls()) == asked + 1

    def test_no_cookie_comes_back(self, owner: ApiClient, other: ApiClient, fake_llm: FakeLlm) -> None:
        asked = len(fake_llm.calls())
        for caller in (owner, other, owner):
            ask(caller, caller.session(), "header Set-Cookie: who=alice; Path=/", "say x").get_data()
        assert [call["cookie"] for call in fake_llm.calls()[asked:]] == [None] * 3


class TestProxies:
    @pytest.fixture(autouse=True)
    def _no_proxies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)

    @pytest.mark.parametrize(
        "url",
        [
            *("http://127.0.0.1:11434/v1", "https://127.9.9.9", "http://localhost/v1", "http://LOCALHOST.:1/v1"),
            *("http://[::1]:8000/v1", "http://[::ffff:127.0.0.1]/v1", "http://127.1/v1", "http://2130706433/v1"),
            *("http://model.localhost/v1", "http://0.0.0.0:1/v1", "http://user:pass@127.0.0.1/v1"),
        ],
    )
    def test_none_for_this_machine(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://proxy.example:3128")
        assert environment_proxy(url) is None

    def test_a_model_on_this_machine_is_asked_past_the_proxy(
        self, owner: ApiClient, fake_llm: FakeLlm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody is there
        assert answered(owner, "say x")["content"] == "x"

    @pytest.mark.parametrize(
        ("environment", "url", "expected"),
        [
            ({"HTTP_PROXY": "http://p:1"}, "http://model.example/v1", "http://p:1"),
            ({"http_proxy": "http://p:1", "HTTP_PROXY": "http://q:1"}, "http://model.example/v1", "http://p:1"),
            ({"HTTP_PROXY": "http://p:1"}, "https://model.example/v1", None),
            ({"HTTPS_PROXY": "p:1"}, "https://model.example/v1", "http://p:1"),
            ({"ALL_PROXY": "https://p:1"}, "https://model.example/v1", "https://p:1"),
            ({"all_proxy": "http://q:1", "https_proxy": "http://p:1"}, "https://model.example/v1", "http://p:1"),
            ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "x, model.example"}, "http://model.example:8000/v1", None),
            ({"HTTP_PROXY": "http://p:1", "no_proxy": ".example"}, "http://model.example/v1", None),
            ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, "http://model.example/v1", None),
            ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "del.example"}, "http://model.example/v1", "http://p:1"),
            ({"HTTP_PROXY": "", "ALL_PROXY": ""}, "http://model.example/v1", None),
            ({"ALL_PROXY": "socks5://p:1", "HTTP_PROXY": "http://p:1"}, "http://model.example/v1", "http://p:1"),
            ({}, "http://10.0.0.1/v1", None),
        ],
    )
    def test_which_is_used(
        self, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, expected: str | None
    ) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert environment_proxy(url) == expected

    @pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
    @pytest.mark.parametrize(
        "value", ["socks5://secret@p:1080", "socks4://p", "ftp://p", "http://", "http://p:99999", "http://[p", "a b"]
    )
    def test_one_that_cannot_be_used_is_named(
        self, owner: ApiClient, app: Flask, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        app.extensions["services"].llm._url = "http://model.example/v1/chat/completions"
        with pytest.raises(StartupError) as refused:
            app.extensions["services"].start()
        assert refused.value.message.startswith(f"{name}: ")
        assert "\n" not in refused.value.message
        assert "secret" not in refused.value.message

    def test_it_ends_the_start_with_one_sentence(self, tmp_path: Path) -> None:
        environ = environment(tmp_path / "data", LLM_BASE_URL="http://model.example/v1") | {"ALL_PROXY": "socks5h://p"}
        run = subprocess.run(
            [sys.executable, "app.py"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 1
        assert re.fullmatch(r"Error: ALL_PROXY: .+\n", run.stderr)
        assert run.stdout == ""

    @pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "128.0.0.1", "::2", "localhost.example", "1", "é", ""])
    def test_other_hosts_are_not_this_machine(self, host: str) -> None:
        assert not is_loopback(host)


class TestThroughAProxy:
    @pytest.fixture
    def settings(self, settings: dict[str, Any], fake_llm: FakeLlm, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setenv("http_proxy", fake_llm.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        return settings | {"PARLEY_LLM_BASE_URL": "http://model.example:8000/v1"}

    def test_a_model_elsewhere_is_asked(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        assert answered(owner, "say x")["content"] == "x"
        assert fake_llm.calls()[-1]["path"] == "http://model.example:8000/v1/chat/completions"
