"""A file of actions whose webhooks are those of webhook_receiver.py, and requests about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.helpers.client import ApiClient

# Paths of the receiver. The action's name is the path with - for the rest: status-500.
PATHS = (
    "cookie/who=alice",
    "hang-up",
    "ok",
    "status/500",
    "status/404",
    "redirect",
    "large/20000",
    "large/3",
    "odd",
    "slow/30",
    "close",
)
STRICT_PARAMETERS = """
[actions.parameters]
type = "object"
required = ["name"]
additionalProperties = false
[actions.parameters.properties]
name = {type = "string", maxLength = 5}
count = {type = "integer"}
tags = {type = "array", items = {type = "string"}}
"""


def action_table(name: str, url: str, more: str = "") -> str:
    """Return the table of an action whose secret is in the variable SECRET."""
    return f'[[actions]]\nname = "{name}"\ndescription = "x"\nurl = "{url}"\nsecret_env = "SECRET"\n{more}'


def write_actions(path: Path, url: str) -> Path:
    """Write an action for each path of a receiver, one with parameters, and one whose port is closed."""
    tables = [
        action_table(re.sub("[/=]", "-", kind), f"{url}/{kind}", "timeout = 2\n" if "slow" in kind else "")
        for kind in PATHS
    ]
    tables.append(action_table("held", f"{url}/held"))
    strict = action_table("strict", f"{url}/ok", STRICT_PARAMETERS)
    path.write_text("\n".join([*tables, strict, action_table("gone", "http://127.0.0.1:9")]))
    return path


def fire(client: ApiClient, session: dict[str, Any], name: str, **body: Any) -> Any:
    return client.post(f"/api/sessions/{session['id']}/actions/{name}", body)


def list_runs(client: ApiClient, session: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(f"/api/sessions/{session['id']}/webhook-runs").get_json()["items"]
    return items
