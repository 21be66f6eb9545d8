"""Proxies: which one the environment names for a URL, and that a model is requested through it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from config import StartupError
from services.llm import Llm
from services.proxies import environment_proxy, is_loopback
from tests.helpers.chats import JSON, start_chat
from tests.helpers.client import ApiClient
from tests.helpers.process import ROOT, FakeLlm, environment


@pytest.fixture
def settings(settings: dict[str, Any], fake_llm: FakeLlm) -> dict[str, Any]:
    return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url}


def completion(client: ApiClient) -> Any:
    return start_chat(client, client.session(), "say x", headers=JSON).get_json()["messages"][1]["content"]


class TestEnvironmentProxy:
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
    def test_no_proxy_for_this_machine(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://proxy.example:3128")
        assert environment_proxy(url) is None

    def test_model_on_this_machine_is_requested_without_a_proxy(
        self, owner: ApiClient, fake_llm: FakeLlm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert completion(owner) == "x"

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
    def test_proxy_of_a_url(
        self, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, expected: str | None
    ) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert environment_proxy(url) == expected

    @pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
    @pytest.mark.parametrize(
        "value", ["socks5://secret@p:1080", "socks4://p", "ftp://p", "http://", "http://p:99999", "http://[p", "a b"]
    )
    def test_unusable_proxy_is_named_without_its_value(
        self, app: Flask, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        config = app.config | {"PARLEY_LLM_BASE_URL": "http://model.example/v1"}
        with pytest.raises(StartupError) as rejected:
            Llm(config, app.extensions["services"].runner).warm_up()
        assert rejected.value.message.startswith(f"{name}: ")
        assert "\n" not in rejected.value.message
        assert "secret" not in rejected.value.message

    def test_server_does_not_start_with_an_unusable_proxy(self, tmp_path: Path) -> None:
        environ = environment(tmp_path / "data", LLM_BASE_URL="http://model.example/v1") | {"ALL_PROXY": "socks5h://p"}
        run = subprocess.run(
            [sys.executable, "app.py"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 1
        assert re.fullmatch(r"Error: ALL_PROXY: .+\n", run.stderr)
        assert run.stdout == ""

    @pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "128.0.0.1", "::2", "localhost.example", "1", "é", ""])
    def test_other_hosts_are_not_loopback(self, host: str) -> None:
        assert not is_loopback(host)


class TestRequestThroughAProxy:
    @pytest.fixture
    def settings(self, settings: dict[str, Any], fake_llm: FakeLlm, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setenv("http_proxy", fake_llm.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        return settings | {"PARLEY_LLM_BASE_URL": "http://model.example:8000/v1"}

    def test_model_elsewhere_is_requested_through_the_proxy(self, owner: ApiClient, fake_llm: FakeLlm) -> None:
        assert completion(owner) == "x"
        assert fake_llm.calls()[-1]["path"] == "http://model.example:8000/v1/chat/completions"
