"""``DELETE /api/sessions`` with ids: those of them that are the caller's, and never all by mistake."""

from __future__ import annotations

import time
from typing import Any

import pytest

import limits
from store import deletion
from tests.helpers.chats import JSON, start_chat
from tests.helpers.client import UNKNOWN_ID, ApiClient, error_of, message
from tests.helpers.database import query_db
from tests.helpers.process import FakeLlm, ServerProcess

PATH = "/api/sessions"


def ids_of(client: ApiClient) -> set[str]:
    """Return the ids of a client's sessions."""
    return {item["id"] for item in client.get(PATH).get_json()["items"]}


def test_deletes_those_that_are_the_callers(owner: ApiClient, other: ApiClient) -> None:
    mine = [owner.imported(message(str(number)))["id"] for number in range(4)]
    theirs = other.session()["id"]
    deleted = owner.session()["id"]
    owner.delete(f"{PATH}/{deleted}")
    odd = [
        theirs,
        deleted,
        UNKNOWN_ID,
        mine[0],
        mine[0].upper(),
        f" {mine[2]}",
        "not a UUID",
        "",
        "é\U0001f600",
        "%",
        "*",
    ]
    response = owner("DELETE", PATH, {"ids": [mine[0], mine[1], *odd]})
    assert (response.status_code, response.get_json()) == (200, {"deleted": 2})
    assert ids_of(owner) == set(mine[2:])
    assert ids_of(other) == {theirs}
    for gone in mine[:2]:
        assert error_of(owner.get(f"{PATH}/{gone}")) == (404, "session_not_found")
    assert owner("DELETE", PATH, {"ids": mine[:2]}).get_json() == {"deleted": 0}
    deletion.erase()
    assert len(query_db("SELECT * FROM sessions")) == 3
    assert len(query_db("SELECT * FROM messages")) == 2


@pytest.mark.parametrize(
    "body",
    [
        *({}, [], "", 0, False, "all", {"ids": None}, {"ids": []}, {"ids": {}}, {"ids": UNKNOWN_ID}),
        *({"ids": [None]}, {"ids": [1]}, {"ids": [[]]}, {"ids": ["\0"]}, {"id": [UNKNOWN_ID]}),
        {"ids": [UNKNOWN_ID] * (limits.MAX_DELETED_SESSIONS + 1)},
    ],
    ids=lambda body: str(body)[:40],
)
def test_a_wrong_body_deletes_nothing(owner: ApiClient, body: Any) -> None:
    mine = {owner.session()["id"] for _ in range(2)}
    assert error_of(owner("DELETE", PATH, body)) == (400, "validation_error")
    assert ids_of(owner) == mine


@pytest.mark.parametrize(
    ("data", "content_type", "error"),
    [
        (b"null", "application/json", (400, "validation_error")),
        (b'{"ids": ["\\ud800"]}', "application/json", (400, "invalid_json")),
        (b" ", "application/json", (400, "invalid_json")),
        (b"{", "application/json", (400, "invalid_json")),
        (b'{"ids": [}', "application/json", (400, "invalid_json")),
        (b'{"ids": []}', None, (415, "unsupported_media_type")),
        (b"ids=x", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
        (b'{"ids": ["%s"]}' % (b"x" * 1_100_000), "application/json", (413, "payload_too_large")),
    ],
)
def test_a_body_that_cannot_be_read_deletes_nothing(
    owner: ApiClient, data: bytes, content_type: str | None, error: tuple[int, str]
) -> None:
    mine = {owner.session()["id"] for _ in range(2)}
    assert error_of(owner.delete(PATH, data=data, content_type=content_type)) == error
    assert ids_of(owner) == mine


def test_without_a_body_all_are_deleted(owner: ApiClient, other: ApiClient) -> None:
    for _ in range(3):
        owner.session()
    theirs = other.session()["id"]
    assert owner.delete(PATH, data=b"").get_json() == {"deleted": 3}
    assert ids_of(owner) == set()
    assert ids_of(other) == {theirs}


def test_over_sockets_only_an_absent_body_deletes_all(server: ServerProcess, token: str) -> None:
    """A body that the server does not read, e.g. since it is too large, is not an absent one."""

    def count() -> int:
        return len(server.request("GET", PATH, token=token)[1]["items"])

    def delete(body: Any, **headers: str) -> tuple[int, Any]:
        return server.request("DELETE", PATH, body, token=token, headers=headers)[:2]

    server.request("DELETE", PATH, token=token)
    ids = [server.request("POST", PATH, token=token)[1]["id"] for _ in range(3)]
    assert delete(b"null")[0] == delete(b"{}")[0] == delete({"ids": []})[0] == 400
    assert delete(b"x" * 2_000_000)[0] == 413
    assert count() == 3
    for raw, status in (
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 600 + b"0\r\n\r\n", b"413"),
        (b"Content-Length: 2\r\n\r\n{}", b"400"),
        (b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}", b"400"),
        (b"Content-Length: 9\r\n\r\n{}", b""),  # broken off
    ):
        with server.connect() as connection:
            head = f"DELETE {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n" + raw)
            if status:
                received = b""
                while piece := connection.recv(65_536):
                    received += piece
                assert f"HTTP/1.1 {status.decode()}".encode() in received
    time.sleep(0.2)
    assert count() == 3
    assert delete({"ids": [*ids[:2], *["x" * 36] * 998]}) == (200, {"deleted": 2})
    assert count() == 1
    assert delete(None) == (200, {"deleted": 1})


class TestChat:
    @pytest.fixture
    def settings(self, settings: dict[str, Any], fake_llm: FakeLlm) -> dict[str, Any]:
        return settings | {"PARLEY_LLM_BASE_URL": fake_llm.url}

    @pytest.mark.slow
    def test_in_a_selected_session_ends_as_in_one_that_is_deleted_alone(self, owner: ApiClient) -> None:
        ends = []
        for body, path in ((..., "{path}/{id}"), ("ids", "{path}")):
            session = owner.imported(*(message(str(number)) for number in range(100)))
            response = start_chat(owner, session, "drip 30", buffered=False)
            events = response.iter_encoded()
            next(events)
            given = {"ids": [session["id"]]} if body == "ids" else ...
            assert owner("DELETE", path.format(path=PATH, id=session["id"]), given).status_code in (200, 204)
            ends.append(b"".join(events).rpartition(b"event:")[2])
            assert error_of(start_chat(owner, session, "say x", headers=JSON)) == (404, "session_not_found")
        assert ends[0] == ends[1]
        assert b"session_not_found" in ends[0]


def test_listed_without_a_body_deletes_nothing(owner: ApiClient) -> None:
    mine = [owner.session()["id"] for _ in range(3)]
    assert error_of(owner.delete(f"{PATH}?listed=true")) == (400, "validation_error")
    assert ids_of(owner) == set(mine)
    assert owner("DELETE", f"{PATH}?listed=true", {"ids": mine[:1]}).get_json() == {"deleted": 1}
    assert ids_of(owner) == set(mine[1:])
