"""Checks responses against openapi.json."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from werkzeug.test import TestResponse

DOCUMENT = json.loads((Path(__file__).parent.parent.parent / "openapi.json").read_text())
OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (path, method, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
]
"""Path, method and description of each operation."""
PATHS = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in DOCUMENT["paths"]}

# Larger ones would make the suite slow, and show nothing new.
MAX_CHECKED_BYTES = 100_000


def find(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """Return the described path, literal ones first, and the operation of a request; None if there is none."""
    for template in sorted(PATHS, key=lambda template: "{" in template):
        if PATHS[template].fullmatch(path) and method.lower() in DOCUMENT["paths"][template]:
            return template, DOCUMENT["paths"][template][method.lower()]
    return None


def resolved(described: dict[str, Any]) -> dict[str, Any]:
    """Return the component that a reference names; anything else as it is."""
    if "$ref" not in described:
        return described
    _, kind, name = described["$ref"].removeprefix("#/").split("/")
    component: dict[str, Any] = DOCUMENT["components"][kind][name]
    return component


@cache
def validator(schema: str) -> Draft202012Validator:
    """Return the validator of a schema in JSON."""
    return Draft202012Validator(
        json.loads(schema) | {"components": DOCUMENT["components"]}, format_checker=FormatChecker()
    )


def component(name: str) -> Draft202012Validator:
    """Return the validator of a named schema."""
    return validator(json.dumps({"$ref": f"#/components/schemas/{name}"}))


def error_codes(response: dict[str, Any]) -> list[str]:
    """Return the codes that a described response may have."""
    codes: list[str] = resolved(response)["content"]["application/json"]["schema"]["properties"]["error"]["enum"]
    return codes


def check(method: str, path: str, response: TestResponse) -> None:
    """Check a response against the description of its operation: its status, headers, error code and body."""
    streamed = response.is_streamed and response.direct_passthrough
    if response.mimetype == "application/json" and not streamed:
        assert response.data.endswith(b"\n"), f"{method} {path}: no line break ends the response"
    found = find(method, path.partition("?")[0])
    if found is None or response.status_code == 405 or streamed:
        return
    template, operation = found
    status, request = str(response.status_code), f"{method} {template}"
    described = operation["responses"].get(status)
    if response.status_code >= 400:
        code = response.get_json()["error"]
        listed = error_codes(described) if described else []
        assert code in listed, f"{request} fails with {code}: add it to the @errors of its view"
    assert described, f"{request} returns {status}: describe it with @response or @other_response"
    described = resolved(described)
    for name, header in described["headers"].items():
        value = response.headers.get(name)
        assert value is not None or not resolved(header).get("required"), f"{request}: {status} lacks {name}"
        if value is not None:
            assert re.search(resolved(header)["schema"].get("pattern", ""), value), f"{name}: {value}"
    content = described.get("content")
    if content is None:
        assert response.data == b""
    elif response.mimetype != "application/json":
        assert response.mimetype in content
    elif len(response.data) <= MAX_CHECKED_BYTES:
        assert response.content_type in content
        validator(json.dumps(content[response.content_type]["schema"])).validate(response.get_json())
