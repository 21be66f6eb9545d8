"""Holds an answer against what openapi.json says of it."""

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

# More would make the suite slow, and says nothing new.
LONGEST = 100_000

seen: set[tuple[str, str, str]] = set()
"""Path, method and status of what has been held against the description so far."""


def find(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """Return the described path, literal ones first, and operation that a request is for."""
    for template in sorted(PATHS, key=lambda template: "{" in template):
        if PATHS[template].fullmatch(path) and method.lower() in DOCUMENT["paths"][template]:
            return template, DOCUMENT["paths"][template][method.lower()]
    return None


def resolved(described: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference stands for."""
    if "$ref" not in described:
        return described
    _, kind, name = described["$ref"].removeprefix("#/").split("/")
    component: dict[str, Any] = DOCUMENT["components"][kind][name]
    return component


@cache
def validator(schema: str) -> Draft202012Validator:
    """Return what checks an instance of a schema, given as JSON."""
    return Draft202012Validator(
        json.loads(schema) | {"components": DOCUMENT["components"]}, format_checker=FormatChecker()
    )


def component(name: str) -> Draft202012Validator:
    """Return what checks an instance of a named schema."""
    return validator(json.dumps({"$ref": f"#/components/schemas/{name}"}))


def check(method: str, path: str, answer: TestResponse) -> None:
    if answer.mimetype == "application/json" and not (answer.is_streamed and answer.direct_passthrough):
        assert answer.data.endswith(b"\n"), f"{method} {path} leaves a terminal's prompt behind its answer"
    found = find(method, path.partition("?")[0])
    if found is None or answer.status_code == 405 or (answer.is_streamed and answer.direct_passthrough):
        return
    template, operation = found
    status = str(answer.status_code)
    assert status in operation["responses"], f"{method} {template} does not say that it may answer {status}"
    response = resolved(operation["responses"][status])
    for name, header in response["headers"].items():
        value = answer.headers.get(name)
        assert value is not None or not resolved(header).get("required"), f"{method} {template}: {status} lacks {name}"
        if value is not None:
            assert re.search(resolved(header)["schema"].get("pattern", ""), value), f"{name}: {value}"
    content = response.get("content")
    if content is None:
        assert answer.data == b""
    elif answer.mimetype != "application/json":
        assert answer.mimetype in content
    elif len(answer.data) <= LONGEST:
        assert answer.content_type in content
        validator(json.dumps(content[answer.content_type]["schema"])).validate(answer.get_json())
    seen.add((template, method.lower(), status))
