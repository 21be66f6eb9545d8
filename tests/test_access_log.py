"""The log of a server: one line for each request, with its id, and no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.long_documents import document, message_contents
from tests.helpers.process import PASSWORD, ServerProcess
from tests.helpers.raw_http import CLOSE, exchange, parse_responses, raw_request

IMPORT_LIMIT = 100_000


@pytest.fixture(scope="module")
def server(data_folder_template: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = data_folder_template.copy(tmp_path_factory.mktemp("shared") / "data")
    with folder.serve(LOG_FORMAT="json", MAX_IMPORT_BYTES=IMPORT_LIMIT) as server:
        yield server


@pytest.fixture(scope="module")
def token(data_folder_template: DataFolder) -> str:
    return data_folder_template.token


def request_lines(server: ServerProcess) -> list[str]:
    """Return the lines after the first; on a busy machine a request may hold the loop, which is a line of its own."""
    lines = server.log.read_text().splitlines()[1:]
    return [line for line in lines if "a request held the event loop" not in line]


def logged(server: ServerProcess, request_id: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in request_lines(server)]
    return [entry for entry in entries if entry["request_id"] == request_id]


@pytest.mark.parametrize(
    ("method", "path", "with_token", "status"),
    [
        ("GET", "/healthz", False, 200),
        ("GET", "/api/sessions", True, 200),
        ("GET", "/api/sessions", False, 401),
        ("POST", "/api/sessions", True, 201),
        ("DELETE", "/api/sessions/nowhere", True, 404),
        ("PUT", "/api/sessions", True, 405),
    ],
)
def test_each_request_is_logged_with_its_user(
    server: ServerProcess, token: str, method: str, path: str, with_token: bool, status: int
) -> None:
    request_id = f"line-{method}-{path}-{with_token}"
    _, me, _ = server.request("GET", "/api/auth/me", token=token)
    assert server.request(method, path, None, token if with_token else None, {"X-Request-Id": request_id})[0] == status
    wait_until(lambda: bool(logged(server, request_id)), "the line is there")
    (entry,) = logged(server, request_id)
    assert (entry["method"], entry["path"], entry["status"]) == (method, path, status)
    assert entry["user_id"] == (me["id"] if with_token else "-")
    assert entry["time"].endswith("Z")
    assert entry["ms"] >= 0


def test_too_large_a_body_is_logged_once(server: ServerProcess, token: str) -> None:
    headers = {"Content-Length": str(IMPORT_LIMIT * 2), "X-Request-Id": "large"}
    exchange(server, raw_request("POST", "/api/sessions/import", token=token, headers=headers))
    assert [entry["status"] for entry in logged(server, "large")] == [413]


def test_text_format_has_the_same_fields(data_folder: DataFolder) -> None:
    with ServerProcess(data_folder.path) as server:
        _, me, _ = server.request("GET", "/api/auth/me", token=data_folder.token, headers={"X-Request-Id": "as-text"})
        (line,) = request_lines(server)
    for part in (" INFO as-text ", "method=GET", "path=/api/auth/me", "status=200", "ms=", f"user_id={me['id']}"):
        assert part in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_not_logged_and_lines_cannot_be_forged(data_folder: DataFolder, form: str) -> None:
    with ServerProcess(data_folder.path, LOG_FORMAT=form) as server:
        wrong = "a wrong password"
        _, pair, _ = server.request("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD})
        server.request("POST", "/api/auth/login", {"username": "alice", "password": wrong})
        content = "what alice said"
        tokens = {"imports": data_folder.token, "reads": pair["access_token"]}
        _, imported, _ = server.request("POST", "/api/sessions/import", document(content), tokens["imports"])
        session = imported["session"]["id"]
        assert message_contents(server, tokens["reads"], session) == [content]
        server.request("PATCH", f"/api/sessions/{session}", {"title": content}, data_folder.token)
        server.request("PATCH", f"/api/sessions/{session}/system-prompt", {"system_prompt": content}, data_folder.token)
        server.request("POST", "/api/sessions/import", document(content, ""), data_folder.token)
        server.request(
            "GET", f"/api/sessions?access_token={data_folder.token}&q=what+alice+said", token=data_folder.token
        )
        server.request("POST", "/api/auth/refresh", token=pair["refresh_token"])
        server.request("GET", "/api/sessions", token=data_folder.token + "x")
        count = len(request_lines(server))
        server.request("GET", "/x%0aForged%0d%0aForged%E2%80%A8Forged%C2%85Forged", headers={"X-Request-Id": "f\tg"})
        log, lines = server.log.read_text(), request_lines(server)
    secrets = (
        PASSWORD,
        wrong,
        data_folder.token,
        pair["access_token"],
        pair["refresh_token"],
        content,
        "what+alice+said",
    )
    assert [secret for secret in secrets if secret in log] == []
    assert len(lines) == count + 1
    assert not any(line.startswith("Forged") for line in log.splitlines())


@pytest.mark.parametrize(
    ("sent", "is_adopted"),
    [("abc-123", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ('"},{"a":"', False), ("é", False)],
)
def test_a_sane_request_id_is_adopted(server: ServerProcess, sent: str, is_adopted: bool) -> None:
    for path in ("/healthz", "/api/sessions", "/nowhere"):
        (response,) = parse_responses(
            exchange(server, raw_request("GET", path, headers=CLOSE | {"X-Request-Id": sent})), "GET"
        )
        assert response.headers["X-Request-Id"]
        assert (response.headers["X-Request-Id"] == sent) is is_adopted
        assert bool(logged(server, sent)) is is_adopted
