"""Settings of the server that the page's tests share: with a model, documentation, and actions of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.actions import action_table
from tests.helpers.full_settings import full_settings

RUNBOOK = "# Payments\n\n## Payment queue\n\nWhen the payment queue is full, pause the importer.\n"
DEPLOY_PARAMETERS = """
[actions.parameters]
type = "object"
required = ["service", "level", "replicas"]
additionalProperties = false
[actions.parameters.properties]
service = {type = "string", pattern = "^[a-z-]+$", description = "Its name, e.g. checkout."}
level = {enum = ["low", "high"]}
replicas = {type = "integer", minimum = 1, maximum = 9, title = "Copies", default = 2}
ratio = {type = "number", exclusiveMaximum = 1}
dry = {type = "boolean"}
code = {type = "string", minLength = 2, maxLength = 5}
reason = {type = "string", maxLength = 500}
hosts = {type = "array", items = {type = "string"}, maxItems = 2}
days = {type = "array", items = {enum = ["Mon", "Tue"]}, uniqueItems = true}
extra = {oneOf = [{type = "string"}, {type = "array"}]}
[actions.parameters.properties.window]
type = "object"
required = ["start"]
properties = {start = {type = "string"}, minutes = {type = "integer"}}
"""
# No form can be made of it.
COMPLEX_PARAMETERS = """
[actions.parameters]
type = "object"
anyOf = [{required = ["a"]}, {required = ["b"]}]
"""


def page_settings(folder: Path, llm_url: str, webhook_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the settings; the actions and the docs are written to a folder."""
    settings = full_settings(folder, llm_url, webhook_url, monkeypatch)
    with Path(settings["PARLEY_ACTIONS_FILE"]).open("a") as file:
        for table in (
            action_table("deploy", f"{webhook_url}/ok", DEPLOY_PARAMETERS),
            action_table("complex", f"{webhook_url}/ok", COMPLEX_PARAMETERS),
            action_table("unstable", f"{webhook_url}/status/500"),
            action_table("held", f"{webhook_url}/held"),
        ):
            file.write(f"\n{table}")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "checkout.md").write_text(RUNBOOK)
    return settings | {"PARLEY_SYSTEM_PROMPT": "You are on call.", "PARLEY_DOCS_DIR": str(docs)}
