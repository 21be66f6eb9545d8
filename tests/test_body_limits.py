"""Bodies that are too large: rejected, with a response that the client can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.helpers.data_folder import DataFolder
from tests.helpers.process import ServerProcess
from tests.helpers.raw_http import exchange, parse_error, raw_request

BODY_LIMIT, IMPORT_LIMIT = 20_000, 100_000


@pytest.fixture(scope="module")
def server(data_folder_template: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = data_folder_template.copy(tmp_path_factory.mktemp("limits") / "data")
    with folder.serve(MAX_BODY_BYTES=BODY_LIMIT, MAX_IMPORT_BYTES=IMPORT_LIMIT) as server:
        yield server


@pytest.fixture(scope="module")
def token(data_folder_template: DataFolder) -> str:
    return data_folder_template.token


def plain(size: int) -> tuple[dict[str, str], bytes]:
    return {"Content-Length": str(size)}, b"x" * size


def chunked(size: int) -> tuple[dict[str, str], bytes]:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    return {"Transfer-Encoding": "chunked"}, chunk * (size // 65_536 + 1) + b"0\r\n\r\n"


@pytest.mark.parametrize("encode", [plain, chunked])
@pytest.mark.parametrize(
    ("path", "size", "with_token", "expected"),
    [
        ("/api/sessions/import", IMPORT_LIMIT + 5_000_000, True, (413, "payload_too_large")),
        ("/api/sessions/import", IMPORT_LIMIT + 5_000_000, False, (401, "missing_token")),
        ("/api/sessions", IMPORT_LIMIT + 5_000_000, True, (413, "payload_too_large")),
        ("/api/auth/login", IMPORT_LIMIT + 5_000_000, False, (413, "payload_too_large")),
        ("/api/nowhere", IMPORT_LIMIT + 5_000_000, True, (404, "not_found")),
    ],
)
def test_client_that_sends_it_all_receives_the_error(
    server: ServerProcess,
    token: str,
    encode: Callable[[int], tuple[dict[str, str], bytes]],
    path: str,
    size: int,
    with_token: bool,
    expected: tuple[int, str],
) -> None:
    headers, body = encode(size)
    headers["Content-Type"] = "application/json"
    raw = exchange(server, raw_request("POST", path, token=token if with_token else None, headers=headers) + body)
    assert parse_error(raw) == expected


def test_client_that_expects_100_continue_receives_the_error_instead(server: ServerProcess, token: str) -> None:
    headers = {"Content-Length": str(IMPORT_LIMIT + 1), "Expect": "100-continue"}
    for sent_token, expected in ((token, 413), (None, 401)):
        raw = exchange(server, raw_request("POST", "/api/sessions/import", token=sent_token, headers=headers))
        assert raw.startswith(b"HTTP/1.1 %d " % expected)
        assert parse_error(raw)[0] == expected


@pytest.mark.parametrize(("over", "status"), [(0, 201), (1, 413)])
@pytest.mark.parametrize(("path", "limit"), [("/api/sessions", BODY_LIMIT), ("/api/sessions/import", IMPORT_LIMIT)])
def test_body_of_exactly_the_limit_is_accepted(
    server: ServerProcess, token: str, path: str, limit: int, over: int, status: int
) -> None:
    body = b'{"session":{},"messages":[]}'.ljust(limit + over)
    assert server.request("POST", path, body, token)[0] == status
