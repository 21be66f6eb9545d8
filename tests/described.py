"""Holds an answer against what openapi.json says of it."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from werkzeug.test import TestResponse

DOCUMENT = json.loads((Path(__file__).parent.parent / "openapi.json").read_text())
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


@cache
def validator(reference: str) -> Draft202012Validator:
    return Draft202012Validator(
        {"$ref": reference, "components": DOCUMENT["components"]}, format_checker=FormatChecker()
    )


def check(method: str, path: str, answer: TestResponse) -> None:
    if answer.mimetype == "application/json" and not (answer.is_streamed and answer.direct_passthrough):
        assert answer.data.endswith(b"\n"), f"{method} {path} leaves a terminal's prompt behind its answer"
    found = find(method, path.partition("?")[0])
    if found is None or answer.status_code in (405, 500, 507) or (answer.is_streamed and answer.direct_passthrough):
        return
    template, operation = found
    status = str(answer.status_code)
    assert status in operation["responses"], f"{method} {template} does not say that it may answer {status}"
    content = operation["responses"][status].get("content")
    if content is None:
        assert answer.data == b""
    elif answer.mimetype != "application/json":
        assert answer.mimetype in content
    elif len(answer.data) <= LONGEST:
        assert answer.content_type in content
        validator(content[answer.content_type]["schema"]["$ref"]).validate(answer.get_json())
    seen.add((template, method.lower(), status))
