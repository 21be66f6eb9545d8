"""``GET /api/about``: the version, what is configured, and the limits."""

from __future__ import annotations

from typing import Any

import pytest

import limits
from app import create_app
from tests.helpers.client import ApiClient
from tests.helpers.process import ROOT
from tests.helpers.webhook_receiver import SECRET
from version import VERSION

LIMITS = {
    "title": limits.MAX_TITLE_LENGTH,
    "content": limits.MAX_CONTENT_LENGTH,
    "system_prompt": limits.MAX_SYSTEM_PROMPT_LENGTH,
    "import_bytes": 67_108_864,
    "body_bytes": 1_048_576,
}


def test_with_default_settings(anonymous: ApiClient) -> None:
    about = {"version": VERSION, "chat": False, "model": None, "actions": 0, "limits": LIMITS}
    response = anonymous.get("/api/about")
    assert (response.status_code, response.get_json()) == (200, about)


def test_with_model_actions_and_limits(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTART_SECRET", SECRET)
    more = {
        "PARLEY_LLM_BASE_URL": "http://127.0.0.1:9",
        "PARLEY_LLM_MODEL": "llama",
        "PARLEY_ACTIONS_FILE": str(ROOT / "examples/actions.toml"),
        "PARLEY_MAX_BODY_BYTES": 2_000,
    }
    about = ApiClient(create_app(settings | more).test_client(), None).get("/api/about").get_json()
    assert (about["chat"], about["model"], about["actions"]) == (True, "llama", 1)
    assert about["limits"] == LIMITS | {"body_bytes": 2_000}
