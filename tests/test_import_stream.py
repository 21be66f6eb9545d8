"""The report of a bulk import as lines: each while the import goes on, the counts last."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from services import transfer
from tests.helpers.client import ApiClient, message
from tests.helpers.clock import wait_until
from tests.helpers.data_folder import DataFolder
from tests.helpers.documents import DOCUMENT, NDJSON, export_lines, import_items
from tests.helpers.foreign_exports import gpt_conversation, gpt_node
from tests.helpers.process import ServerProcess
from tests.helpers.two_users import request_header
from tests.helpers.waits import ROUNDS

AS_LINES = {"Accept": NDJSON}


def body_of(*items: Any) -> bytes:
    return b"\n".join(item if isinstance(item, bytes) else json.dumps(item).encode() for item in items)


def import_lines(client: ApiClient, *items: Any, query: str = "") -> list[dict[str, Any]]:
    """Import items, and return the lines of the report."""
    response = client.post(f"/api/import{query}", data=body_of(*items), content_type=NDJSON, headers=AS_LINES)
    assert (response.status_code, response.mimetype) == (200, NDJSON)
    assert response.data.endswith(b"\n")
    return [json.loads(line) for line in response.data.splitlines()]


class TestReport:
    def test_lines_are_the_report_and_the_counts_come_last(self, owner: ApiClient, other: ApiClient) -> None:
        gpt = {"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": ["x", {"image": 1}]}}}}}
        bad = DOCUMENT | {"messages": [message("", role="tool")]}
        items = [DOCUMENT, DOCUMENT, b"{", bad, b"", {"version": 2}, gpt]
        whole = import_items(other, *items)
        lines = import_lines(owner, *items)
        for each in [*whole["sessions"], *lines]:
            each.pop("session_id", None)
        assert lines == [*whole["sessions"], {"counts": whole["counts"]}]
        assert len(export_lines(owner)) == 2
        assert lines[-2]["left_out"]

    def test_nothing_to_import_is_only_the_counts(self, owner: ApiClient) -> None:
        assert import_lines(owner, b"") == [{"counts": {"imported": 0, "skipped": 0, "refused": 0}}]

    def test_first_1000_refused_items_are_listed_and_the_rest_counted(self, owner: ApiClient) -> None:
        *listed, end = import_lines(owner, *[0] * 3_000, DOCUMENT)
        assert [each["line"] for each in listed] == [*range(1, 1_001), 3_001]
        assert end == {"counts": {"imported": 1, "skipped": 0, "refused": 3_000}, "not_listed": 2_000}

    def test_dry_run_writes_nothing(self, owner: ApiClient) -> None:
        planned = import_lines(owner, DOCUMENT, b"{", DOCUMENT, query="?dry_run=1")
        assert [each.get("status") for each in planned] == ["imported", "refused", "skipped", None]
        assert export_lines(owner) == []
        imported = import_lines(owner, DOCUMENT, b"{", DOCUMENT)
        for each in [*planned, *imported]:
            each.pop("session_id", None)
        assert planned == imported

    def test_file_that_breaks_off_ends_with_a_refused_line(self, owner: ApiClient) -> None:
        documents = [DOCUMENT | {"session": {"id": str(number)}} for number in range(3)]
        *_, last, end = import_lines(owner, json.dumps(documents).encode()[:-20])
        assert (last["status"], last["error"]) == ("refused", "invalid_json")
        assert end["counts"] == {"imported": 2, "skipped": 0, "refused": 1}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        (f"{NDJSON}, application/json", "application/json"),
        (f"{NDJSON};q=0", "application/json"),
        (NDJSON, NDJSON),
        (f"{NDJSON}; charset=utf-8", NDJSON),
        (f"{NDJSON}, */*;q=0.1", NDJSON),
    ],
)
def test_lines_are_sent_to_who_prefers_them(owner: ApiClient, accept: str | None, expected: str) -> None:
    headers = {} if accept is None else {"Accept": accept}
    response = owner.post("/api/import", data=body_of(DOCUMENT), content_type=NDJSON, headers=headers)
    assert response.mimetype == expected


@pytest.mark.parametrize(
    ("query", "content_type", "expected"),
    [("?dry_run=maybe", NDJSON, (400, "validation_error")), ("", "text/html", (415, "unsupported_media_type"))],
)
def test_errors_before_the_first_line_are_ordinary(
    owner: ApiClient, query: str, content_type: str, expected: tuple[int, str]
) -> None:
    response = owner.post(f"/api/import{query}", data=b"{}", content_type=content_type, headers=AS_LINES)
    assert (response.status_code, response.get_json()["error"]) == expected
    assert response.mimetype == "application/json"


@pytest.mark.parametrize("line", [1, 3])
def test_error_ends_the_report(
    owner: ApiClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, line: int
) -> None:
    import_item, calls = transfer._import_item, iter(range(1, 100))

    def fail_at_line(*arguments: Any) -> Any:
        if next(calls) == line:
            raise RuntimeError("a bug")
        return import_item(*arguments)

    monkeypatch.setattr(transfer, "_import_item", fail_at_line)
    documents = [DOCUMENT | {"session": {"id": str(number)}} for number in range(5)]
    headers = AS_LINES | {"X-Request-Id": "import-1"}
    with caplog.at_level(logging.ERROR):
        response = owner.post("/api/import", data=body_of(*documents), content_type=NDJSON, headers=headers)
    if line == 1:
        assert (response.status_code, response.get_json()) == (500, {"error": "internal_error"})
    else:
        *lines, end = [json.loads(each) for each in response.data.splitlines()]
        assert (response.status_code, end) == (200, {"error": "internal_error"})
        assert [each["status"] for each in lines] == ["imported"] * (line - 1)
        assert caplog.records[-1].__dict__["fields"] == {"request_id": "import-1"}
    assert "a bug" in caplog.text
    assert len(export_lines(owner)) == line - 1  # what is reported is stored


# The report names each refused message by its path: 10 MB, more than the system's buffers of a connection hold.
LONG_IDS = [f"{number:02}{'x' * 750}" for number in range(20)]
REFUSED = gpt_conversation(
    *(gpt_node(each, LONG_IDS[at - 1] if at else "root", "user", "\0") for at, each in enumerate(LONG_IDS))
)
LONG_REPORT = body_of(*[REFUSED] * 600, DOCUMENT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return DataFolder(tmp_path_factory.mktemp("imports") / "data", users=4)


@pytest.fixture(scope="module")
def server(folder: DataFolder) -> Iterator[ServerProcess]:
    with folder.serve() as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def send(server: ServerProcess, token: str, body: bytes, room: int = 0) -> socket.socket:
    """Send an import and read nothing; return the connection, with little ``room`` for the response."""
    connection = socket.socket()
    if room:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    connection.settimeout(30)
    connection.connect(server.address)
    fields = {"Content_Type": NDJSON, "Accept": NDJSON, "Content_Length": len(body)}
    connection.sendall(request_header("POST", "/api/import", token, **fields) + body)
    return connection


def read_report(connection: socket.socket) -> list[dict[str, Any]]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    with response:
        return [json.loads(line) for line in response]


def titles(server: ServerProcess, token: str) -> list[str]:
    return [each["title"] for each in server.request("GET", "/api/sessions", token=token)[1]["items"]]


def test_each_line_is_sent_while_the_import_goes_on(folder: DataFolder, server: ServerProcess) -> None:
    """The import waits for its client to read what is in between."""
    token = folder.tokens[0]
    first, last = ({"session": {"title": title}, "messages": [message("x")]} for title in ("first", "last"))
    with closing(send(server, token, body_of(first, *[REFUSED] * 600, last), room=4_096)) as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        with response:
            line = json.loads(response.readline())
            stored = titles(server, token)
            lines = [json.loads(line) for line in response]
    assert (line["line"], line["status"]) == (1, "imported")
    assert stored == ["first"]
    assert [each.get("line") for each in lines] == [*range(2, 603), None]
    assert lines[-1]["counts"] == {"imported": 2, "skipped": 0, "refused": 600}
    assert titles(server, token) == ["last", "first"]


@pytest.mark.slow
def test_client_that_reads_nothing_pauses_its_import_and_nobody_else(folder: DataFolder, server: ServerProcess) -> None:
    greedy, other = folder.tokens[1], folder.tokens[2]
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(send(server, greedy, LONG_REPORT, room=4_096))) for _ in range(4)]
        time.sleep(1)
        with closing(send(server, other, body_of(DOCUMENT))) as connection:
            assert len(read_report(connection)) == 2
        assert titles(server, greedy) == []
        assert read_report(connections[0])[-1]["counts"] == {"imported": 1, "skipped": 0, "refused": 600}
        assert titles(server, greedy) == ["t"]


@pytest.mark.slow
def test_client_that_leaves_ends_its_import_after_a_document(folder: DataFolder, server: ServerProcess) -> None:
    token = folder.tokens[3]
    with closing(send(server, token, LONG_REPORT, room=4_096)):
        time.sleep(1)
        assert titles(server, token) == []
    time.sleep(1)
    assert titles(server, token) == []
    messages = [message("x" * 100)] * 1_500
    for start in range(0, 60 * ROUNDS, 60):  # it may have ended before the client has left
        documents = [{"session": {"title": str(number)}, "messages": messages} for number in range(start, start + 60)]
        with closing(send(server, token, body_of(*documents))) as connection:
            assert connection.recv(1)
        wait_until(lambda: is_idle(server, token))
        stored = server.request("GET", "/api/sessions", token=token)[1]["items"]
        if len(stored) < 60:
            break
        server.request("DELETE", "/api/sessions", token=token)
    assert 0 < len(stored) < 60
    for each in stored:
        session = server.request("GET", f"/api/sessions/{each['id']}", token=token)[1]
        assert len(session["messages"]) == 1_500
    with closing(send(server, token, body_of(*documents))) as connection:
        counts = read_report(connection)[-1]["counts"]
    assert counts == {"imported": 60 - len(stored), "skipped": len(stored), "refused": 0}


def is_idle(server: ServerProcess, token: str) -> bool:
    """Return whether nothing is imported any more."""
    before = titles(server, token)
    time.sleep(0.5)
    return titles(server, token) == before
