"""The file of actions: what it may have in it, and the lines of what is wrong with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from config import StartupError
from errors import ApiError
from services import actions
from tests.helpers.process import ROOT
from tests.helpers.webhook_receiver import SECRET

ENVIRON = {"SECRET": SECRET}

GOOD = """
# A comment with [[actions]] in it.
[[actions]]
name = "first"
description = "One."
url = "https://hooks.example/first"
secret_env = "SECRET"

[[actions]]
name = "second"
description = "Another."
url = "http://10.0.0.1:9000"
secret_env = "SECRET"
timeout = 2.5

[actions.parameters]
type = "object"
"""


def test_loads_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    loaded = actions.load(str(tmp_path / "a.toml"), ENVIRON)
    assert [(action.name, action.timeout) for action in loaded.values()] == [("first", 10), ("second", 2.5)]
    assert actions.load(None) == actions.load("") == {}
    (tmp_path / "a.toml").write_text("")
    assert actions.load(str(tmp_path / "a.toml")) == {}


@pytest.mark.parametrize(
    ("line", "replacement", "error"),
    [
        (3, "[[actions]", "line 3"),
        (3, "[[action]]", "line 3.*action"),
        (4, "name = 5", "line 4: name: Not a valid string"),
        (4, 'name = "a b"', "line 4: name: Not a name"),
        (4, "", "line 3: name: Missing"),
        (5, 'description = ""', "line 5: description"),
        (6, 'url = "ftp://host"', "line 6: url"),
        (6, 'url = "http://"', "line 6: url"),
        (6, 'url = "http://host/?token=not-a-secret-at-all#x"', "line 6: url"),
        (6, 'url = "http://?token=not-a-secret-at-all"', "line 6: url"),
        (6, 'url = "http://host/?a b=not-a-secret-at-all"', "line 6: url"),
        (6, 'url = "http://host/?é=not-a-secret-at-all"', "line 6: url"),
        (6, 'url = "ftp://host/?token=not-a-secret-at-all"', "line 6: url"),
        (6, 'url = "http://host/?token=not-a-secret-at-all\n"', "line 6: url|Illegal character"),
        (6, "url = ", "line 6"),
        (7, 'secret_env = "MISSING"', "line 7: secret_env: MISSING is not in the environment"),
        (7, 'secret_env = "WRONG"', "line 7: secret_env: WRONG is not a secret"),
        (7, 'secret_env = "SHORT"', "line 7: secret_env: SHORT is not a secret"),
        (6, 'url = ""', "line 6: url"),
        (5, 'descripton = "One."', "line 5: descripton: Unknown field"),
        (5, 'description = """One.\n[[actions]]\nurl"""\nurl = "x"', "line 9"),
        (5, 'description = """One.\n[[actions]]\nurl = "x" """\nmore = 1', "line 8: more: Unknown field"),
        (5, 'description = "One.\u2028"\nmore = 1', "line 6: more: Unknown field"),
        (9, "[actions.auth]\nname = 1\n[[actions]]", "line 9: auth: Unknown field"),
        (2, "other = 1", "line 2: other: Not known"),
        (3, "[actions]", "line 9"),
        (8, 'method = "GET"', "line 8: method: Unknown field"),
        (10, 'name = "first"', "line 10: name: There are two"),
        (14, "timeout = 11", "line 14: timeout"),
        (14, "timeout = 0", "line 14: timeout"),
        (14, "timeout = nan", "line 14: timeout"),
        (14, 'timeout = "soon"', "line 14: timeout"),
        (17, 'type = "objekt"', "line 16: parameters: parameters.type"),
        (17, 'type = "array"', "line 16: parameters: Not of type object"),
        (17, "default = 2026-01-31", "line 16: parameters: Object of type date"),
        (17, '"$ref" = "http://127.0.0.1:9/schema"', "line 16: parameters"),
        (17, '"$ref" = "#/nowhere"', "line 16: parameters"),
        (17, '"$ref" = "#"', "line 16: parameters"),
        (17, '"$ref" = 5', "line 16: parameters"),
        (17, 'properties.a."$ref" = "#/nowhere"', "line 16: parameters"),
        (17, 'properties.a.items."$ref" = "http://127.0.0.1:9/schema"', "line 16: parameters"),
        (17, 'properties.a."$dynamicRef" = "#nowhere"', "line 16: parameters"),
        (17, '"$schema" = 5', "line 16: parameters"),
        (17, '"$schema" = []', "line 16: parameters"),
        (17, f"maxProperties = {2**70}", "line 16: parameters"),
        (17, f"default = {'[' * 300}{']' * 300}", "line 16: parameters|recursion"),
        (17, f"default = {'[' * 5000}{']' * 5000}", "recursion"),
        (17, 'pattern = "("', "line 16: parameters"),
    ],
)
def test_rejects_a_wrong_file_with_its_line(tmp_path: Path, line: int, replacement: str, error: str) -> None:
    lines = GOOD.split("\n")
    lines[line - 1] = replacement
    path = tmp_path / "a.toml"
    path.write_text("\n".join(lines))
    with pytest.raises(StartupError) as rejected:
        actions.load(str(path), ENVIRON | {"WRONG": "not-a-secret-at-all", "SHORT": "whsec_c2hvcnQ="})
    assert re.search(error, rejected.value.message), rejected.value.message
    assert "not-a-secret-at-all" not in rejected.value.message
    assert str(path) in rejected.value.message


def test_rejects_an_unreadable_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.toml", tmp_path):
        with pytest.raises(StartupError, match="cannot be read"):
            actions.load(str(path))
    (tmp_path / "a.toml").write_bytes(b"\n\n\xff")
    with pytest.raises(StartupError, match=r"a\.toml, line 3: Not UTF-8"):
        actions.load(str(tmp_path / "a.toml"))


def test_counts_the_lines_of_a_file_with_crlf(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(GOOD.replace("timeout = 2.5", "timeout = 25").replace("\n", "\r\n").encode())
    with pytest.raises(StartupError, match="line 14: timeout"):
        actions.load(str(tmp_path / "a.toml"), ENVIRON)


def test_joins_a_secret_that_is_wrapped(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    assert actions.load(str(tmp_path / "a.toml"), {"SECRET": f" {SECRET[:20]}\n{SECRET[20:]}\n"})


@pytest.mark.parametrize(
    ("schema", "value", "errors"),
    [
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, {"a": 1}, {"input": ["Nested too deeply."]}),
        ({"additionalProperties": {"$ref": "#"}}, {}, {}),
        ({"additionalProperties": {"type": "string"}}, {str(n): n for n in range(1_000)}, 20),
    ],
    ids=["endless reference", "recursive reference", "many errors"],
)
def test_input_check_ends_whatever_the_schema(schema: dict[str, Any], value: dict[str, Any], errors: Any) -> None:
    action = actions.Action("a", "", schema, "", 1.0, Webhook(SECRET), actions.compile_schema(schema))
    found: Any = {}
    try:
        action.check_input(json.dumps(value))
    except ApiError as error:
        found = error.details
    assert (found if isinstance(errors, dict) else len(found)) == errors


def test_loads_the_example() -> None:
    loaded = actions.load(str(ROOT / "examples" / "actions.toml"), {"RESTART_SECRET": SECRET})
    loaded.get_action("restart_service").check_input(json.dumps({"service": "checkout"}))
