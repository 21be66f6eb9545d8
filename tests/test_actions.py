"""Actions: their file, and what becomes of those that are fired."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from standardwebhooks import Webhook

import models
from app import create_app
from config import StartupError
from errors import ApiError
from services import actions, webhooks
from store import webhook_runs
from tests.helpers.client import ApiClient, message
from tests.helpers.clock import frozen_time
from tests.helpers.database import query_db, run_in_transaction
from tests.helpers.process import ROOT
from tests.helpers.webhook_receiver import SECRET, Handler, WebhookReceiver

UNKNOWN = "01a20000-0000-7000-8000-000000000000"
ENVIRON = {"SECRET": SECRET}
MOMENT = "2026-01-31T09:30:00.000Z"
KINDS = (
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


def write_actions(path: Path, url: str) -> Path:
    tables = [
        f'[[actions]]\nname = "{re.sub("[/=]", "-", kind)}"\ndescription = "Does {kind}."\nurl = "{url}/{kind}"\n'
        f'secret_env = "SECRET"\ntimeout = 0.5\n'
        for kind in KINDS
    ]
    strict = (
        '[[actions]]\nname = "strict"\ndescription = "Wants a name."\nsecret_env = "SECRET"\n' + f'url = "{url}/ok"\n'
    )
    strict += '[actions.parameters]\ntype = "object"\nrequired = ["name"]\nadditionalProperties = false\n'
    strict += '[actions.parameters.properties]\nname = {type = "string", maxLength = 5}\n'
    strict += 'count = {type = "integer"}\ntags = {type = "array", items = {type = "string"}}\n'
    gone = '[[actions]]\nname = "gone"\ndescription = "x"\nurl = "http://127.0.0.1:9"\nsecret_env = "SECRET"\n'
    path.write_text("\n".join([*tables, strict, gone]))
    return path


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def settings(
    settings: dict[str, Any], receiver: WebhookReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # must not be asked
    return settings | {"PARLEY_ACTIONS_FILE": str(write_actions(tmp_path / "actions.toml", receiver.url))}


def fire(caller: ApiClient, session: dict[str, Any], name: str, **body: Any) -> Any:
    return caller.post(f"/api/sessions/{session['id']}/actions/{name}", body)


def runs(caller: ApiClient, session: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = caller.get(f"/api/sessions/{session['id']}/webhook-runs").get_json()["items"]
    return items


def test_they_are_listed_without_their_urls_and_secrets(owner: ApiClient, anonymous: ApiClient) -> None:
    answer = owner.get("/api/actions")
    items = answer.get_json()["items"]
    assert [item["name"] for item in items][2:4] == ["ok", "status-500"]
    assert {tuple(item) for item in items} == {("name", "description", "parameters")}
    assert items[0]["parameters"] == {"type": "object"}
    assert b"127.0.0.1" not in answer.data
    assert SECRET.encode() not in answer.data
    assert anonymous.get("/api/actions").status_code == 401


def test_one_is_fired(owner: ApiClient, receiver: WebhookReceiver) -> None:
    session = owner.session()
    answer = fire(owner, session, "ok", input={"a": [1, "é", None], "big": 2**70})
    run = answer.get_json()
    assert answer.status_code == 201
    assert runs(owner, session) == [run]
    ((path, event, headers, body),) = receiver.received
    assert (path, event) == ("/ok", run["request"])
    assert f'"big":{2**70}' in body
    assert event["type"] == "ok"
    assert event["data"] == {
        "run_id": run["id"],
        "session_id": session["id"],
        "input": {"a": [1, "é", None], "big": 2**70},
    }
    assert headers["webhook-id"] == run["id"]
    assert "Authorization" not in headers
    assert (run["status"], run["response_status"], run["response_body"]) == ("succeeded", 200, '{"done": true}')
    assert (run["action"], run["error"]) == ("ok", None)
    assert run["started_at"] <= run["finished_at"]
    assert run["duration_ms"] >= 0


@pytest.mark.parametrize(
    ("name", "status", "error", "response_status", "response_body"),
    [
        ("status-500", "failed", "bad_status", 500, "no"),
        ("status-404", "failed", "bad_status", 404, "no"),
        ("redirect", "failed", "bad_status", 302, ""),
        ("large-20000", "succeeded", None, 200, "é" * 8_192),
        ("large-3", "succeeded", None, 200, "ééé"),
        ("odd", "succeeded", None, 200, "a\ufffdb\ufffd"),
        ("slow-30", "failed", "timeout", 200, "begun"),
        ("close", "failed", "unreachable", None, None),
        ("gone", "failed", "unreachable", None, None),
    ],
)
def test_how_it_went_is_in_the_run(
    owner: ApiClient, name: str, status: str, error: str | None, response_status: int | None, response_body: str | None
) -> None:
    session = owner.session()
    answer = fire(owner, session, name)
    run = answer.get_json()
    assert answer.status_code == 201
    assert (run["status"], run["error"]) == (status, error)
    assert (run["response_status"], run["response_body"]) == (response_status, response_body)
    assert runs(owner, session) == [run]


def test_no_cookie_comes_back(owner: ApiClient, other: ApiClient, receiver: WebhookReceiver) -> None:
    for caller in (owner, other, owner):
        assert fire(caller, caller.session(), "cookie-who-alice").get_json()["status"] == "succeeded"
    assert [headers.get("Cookie") for _, _, headers, _ in receiver.received] == [None] * 3


def test_each_call_has_a_connection_of_its_own(owner: ApiClient, receiver: WebhookReceiver) -> None:
    session = owner.session()
    for _ in range(30):  # as fast as it goes, right behind the closing of the one before
        assert fire(owner, session, "hang-up").get_json()["status"] == "succeeded"
    assert len(set(receiver.connections)) == len(receiver.received) == 30


def test_what_keeps_its_connections_for_a_moment_only(
    owner: ApiClient, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.05)  # that of the handler's socket
    session = owner.session()
    for number in range(20):
        time.sleep(0.045 + number % 5 * 0.003)  # just when it closes
        assert fire(owner, session, "ok").get_json()["status"] == "succeeded"


def test_the_query_of_a_url_is_sent_and_shown_nowhere(
    owner: ApiClient,
    receiver: WebhookReceiver,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    query = "sig=only%2Bfor?receivers&sp=/x"
    tables = [
        f'[[actions]]\nname = "{name}"\ndescription = "x"\nurl = "{url}?{query}"\nsecret_env = "SECRET"\n'
        for name, url in {
            "ok": f"{receiver.url}/ok",
            "no": f"{receiver.url}/status/500",
            "drop": f"{receiver.url}/close",
            "gone": "http://127.0.0.1:9",
            "away": f"{receiver.url}/redirect",
        }.items()
    ]
    path = tmp_path / "signed.toml"
    path.write_text("\n".join(tables))
    app = create_app(settings | {"PARLEY_ACTIONS_FILE": str(path), "PARLEY_LOG_LEVEL": "DEBUG"})
    for name in ("parley", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name).propagate = True
    caplog.set_level(logging.DEBUG)
    caller = ApiClient(app.test_client(), owner.token)
    app.extensions["services"].start()
    session = caller.session()
    shown = [caller.get("/api/actions").text, repr(app.extensions["services"].actions)]
    for name in ("ok", "no", "drop", "gone", "away"):
        shown.append(fire(caller, session, name).text)
    shown += [fire(caller, session, "ok", input=5).text, fire(caller, session, "nothing").text]
    for rest in ("", "/webhook-runs", "/export", "/export?format=markdown", "/prompt?content=x"):
        shown.append(caller.get(f"/api/sessions/{session['id']}{rest}").text)
    shown.append(str(query_db("SELECT * FROM webhook_runs")))
    app.extensions["services"].close()
    assert next(path for path, *_ in receiver.received) == f"/ok?{query}"
    assert len(receiver.received) == 4
    for text in (*shown, caplog.text):
        assert "sig=" not in text
        assert "receivers" not in text


def test_they_are_listed_oldest_first(owner: ApiClient) -> None:
    session = owner.session()
    names = ["ok", "large-3", "gone", "ok"]
    with frozen_time(MOMENT):
        fired = [fire(owner, session, name).get_json() for name in names]
    assert runs(owner, session) == fired
    assert runs(owner, owner.session()) == []


def test_none_of_it_is_in_the_export_and_all_of_it_goes_with_the_session(owner: ApiClient) -> None:
    session = owner.imported(message())
    fire(owner, session, "ok")
    assert set(owner.get(f"/api/sessions/{session['id']}/export").get_json()) == {
        "version",
        "exported_at",
        "session",
        "messages",
    }
    assert len(query_db("SELECT * FROM webhook_runs")) == 1
    owner.delete(f"/api/sessions/{session['id']}")
    assert query_db("SELECT * FROM webhook_runs") == []


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({}, {"input"}),
        ({"name": 5}, {"input.name"}),
        ({"name": "longer"}, {"input.name"}),
        ({"name": "x", "more": 1}, {"input"}),
        ({"name": "x", "count": 1.5, "tags": ["a", 2]}, {"input.count", "input.tags.1"}),
    ],
)
def test_an_input_that_is_not_what_the_action_takes(
    owner: ApiClient, receiver: WebhookReceiver, given: Any, paths: set[str]
) -> None:
    session = owner.session()
    for target in (session, {"id": UNKNOWN}):  # the body is looked at first
        answer = fire(owner, target, "strict", input=given)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
        assert set(answer.get_json()["details"]) == paths
    assert runs(owner, session) == []
    assert receiver.received == []
    assert fire(owner, session, "strict", input={"name": "x", "count": 2, "tags": ["a"]}).status_code == 201


@pytest.mark.parametrize("body", [[], {"input": []}, {"input": None}, {"input": "x"}, {"input": {"a": "\0"}}])
def test_a_body_that_is_none(owner: ApiClient, body: Any) -> None:
    session = owner.session()
    answer = owner.post(f"/api/sessions/{session['id']}/actions/ok", body)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "validation_error")
    assert runs(owner, session) == []


def test_no_body_is_an_empty_input(owner: ApiClient) -> None:
    session = owner.session()
    assert owner.post(f"/api/sessions/{session['id']}/actions/ok").get_json()["request"]["data"]["input"] == {}


def test_an_action_that_is_not_there(owner: ApiClient) -> None:
    session = owner.session()
    answer = fire(owner, session, "nothing")
    assert (answer.status_code, answer.get_json()) == (404, {"error": "action_not_found"})
    assert fire(owner, {"id": UNKNOWN}, "nothing").get_json() == {"error": "session_not_found"}


def test_who_may(owner: ApiClient, other: ApiClient, anonymous: ApiClient, receiver: WebhookReceiver) -> None:
    session = owner.session()
    assert fire(anonymous, session, "ok").status_code == 401
    assert fire(other, session, "ok").data == fire(other, {"id": UNKNOWN}, "ok").data
    assert fire(other, session, "ok").get_json() == {"error": "session_not_found"}
    assert receiver.received == []
    assert runs(owner, session) == []


def test_the_run_is_written_down_before_the_call(owner: ApiClient, receiver: WebhookReceiver, app: Flask) -> None:
    session = owner.session()
    seen: list[Any] = []
    webhooks = app.extensions["services"].webhooks
    call = webhooks._call

    async def watched(*arguments: Any) -> Any:
        seen.extend(await __import__("asyncio").to_thread(look))
        return await call(*arguments)

    def look() -> list[Any]:
        models.db.ensure_connection()
        found = query_db("SELECT status FROM webhook_runs")
        models.db.close()
        return found

    webhooks._call = watched
    fire(owner, session, "ok")
    assert seen == [("running",)]


def test_what_a_process_that_is_no_more_has_left(owner: ApiClient) -> None:
    session = owner.session()
    done = fire(owner, session, "ok").get_json()
    query_db(
        "INSERT INTO webhook_runs (id, session_id, action, status, request, started_at) "
        "VALUES (?, ?, 'ok', 'running', ?, ?)",
        UNKNOWN,
        session["id"],
        "{}",
        MOMENT,
    )
    run_in_transaction(webhook_runs.mark_interrupted)
    first, second = runs(owner, session)
    assert first == done
    assert (second["status"], second["response_status"], second["duration_ms"]) == ("interrupted", None, None)
    assert second["finished_at"] > MOMENT


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


def test_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    loaded = actions.load(str(tmp_path / "a.toml"), ENVIRON)
    assert [(action.name, action.timeout) for action in loaded.values()] == [("first", 10), ("second", 2.5)]
    assert actions.load(None) == actions.load("") == {}
    (tmp_path / "a.toml").write_text("")
    assert actions.load(str(tmp_path / "a.toml")) == {}


@pytest.mark.parametrize(
    ("line", "instead", "problem"),
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
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, line: int, instead: str, problem: str) -> None:
    lines = GOOD.split("\n")
    lines[line - 1] = instead
    path = tmp_path / "a.toml"
    path.write_text("\n".join(lines))
    with pytest.raises(StartupError) as refused:
        actions.load(str(path), ENVIRON | {"WRONG": "not-a-secret-at-all", "SHORT": "whsec_c2hvcnQ="})
    assert re.search(problem, refused.value.message), refused.value.message
    assert "not-a-secret-at-all" not in refused.value.message
    assert str(path) in refused.value.message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.toml", tmp_path):
        with pytest.raises(StartupError, match="cannot be read"):
            actions.load(str(path))
    (tmp_path / "a.toml").write_bytes(b"\n\n\xff")
    with pytest.raises(StartupError, match=r"a\.toml, line 3: Not UTF-8"):
        actions.load(str(tmp_path / "a.toml"))


def test_the_lines_of_a_file_from_windows(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(GOOD.replace("timeout = 2.5", "timeout = 25").replace("\n", "\r\n").encode())
    with pytest.raises(StartupError, match="line 14: timeout"):
        actions.load(str(tmp_path / "a.toml"), ENVIRON)


def test_a_secret_over_several_lines_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    assert actions.load(str(tmp_path / "a.toml"), {"SECRET": f" {SECRET[:20]}\n{SECRET[20:]}\n"})


@pytest.mark.parametrize(
    ("schema", "given", "problems"),
    [
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, {"a": 1}, {"input": ["Nested too deeply."]}),
        ({"additionalProperties": {"$ref": "#"}}, {}, {}),
        ({"additionalProperties": {"type": "string"}}, {str(n): n for n in range(1_000)}, 20),
    ],
    ids=["one that never ends", "one that ends", "many"],
)
def test_a_schema_that_is_a_trap(schema: dict[str, Any], given: dict[str, Any], problems: Any) -> None:
    check = actions.compile_schema(schema)
    action = actions.Action("a", "", schema, "", 1.0, Webhook(SECRET), check)
    found: Any = {}
    try:
        action.check_input(json.dumps(given))
    except ApiError as error:
        found = error.details
    assert (found if isinstance(problems, dict) else len(found)) == problems


def test_an_input_that_is_too_long(owner: ApiClient) -> None:
    answer = fire(owner, owner.session(), "ok", input={"a": "x" * 65_536})
    assert (answer.status_code, set(answer.get_json()["details"])) == (400, {"input"})
    assert fire(owner, owner.session(), "ok", input={"a": "x" * 65_000}).status_code == 201


def test_one_user_leaves_room_for_others(
    owner: ApiClient, other: ApiClient, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MAX_CALLS_PER_USER", 0)
    answer = fire(owner, owner.session(), "ok")
    assert (answer.status_code, answer.get_json()) == (429, {"error": "rate_limited"})
    assert answer.headers["Retry-After"] == "1"
    monkeypatch.setattr(webhooks, "MAX_CALLS_PER_USER", 1)
    for caller in (owner, other, owner):  # each gives its place back
        assert fire(caller, caller.session(), "ok").status_code == 201


def test_the_example_is_a_good_one() -> None:
    loaded = actions.load(str(ROOT / "examples" / "actions.toml"), {"RESTART_SECRET": SECRET})
    loaded.get_action("restart_service").check_input(json.dumps({"service": "checkout"}))
