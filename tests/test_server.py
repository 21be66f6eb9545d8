"""A real server: how it starts, stops and dies, and what it answers to clients that behave badly."""

from __future__ import annotations

import http.client
import io
import json
import select
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.helpers.process import ROOT, ServerProcess, create_user, environment

PASSWORD = "correct horse"
BODY_LIMIT, IMPORT_LIMIT = 20_000, 100_000
CLOSE = {"Connection": "close"}


class Home(NamedTuple):
    """A data folder with one user in it, and a token of theirs."""

    data: Path
    token: str


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Received(io.BytesIO):
    """Bytes that came over a connection, in the place of the socket that HTTPResponse reads."""

    def makefile(self, mode: str) -> Received:
        return self

    def close(self) -> None:
        """Stay open for the next answer."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    data = tmp_path_factory.mktemp("template") / "data"
    return Home(data, create_user(data))


@pytest.fixture
def home(template: Home, tmp_path: Path) -> Home:
    return Home(shutil.copytree(template.data, tmp_path / "data"), template.token)


@pytest.fixture(scope="module")
def server(template: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = shutil.copytree(template.data, tmp_path_factory.mktemp("shared") / "data")
    settings = {"LOG_FORMAT": "json", "MAX_BODY_BYTES": BODY_LIMIT, "MAX_IMPORT_BYTES": IMPORT_LIMIT}
    with ServerProcess(data, **settings) as server:
        yield server


@pytest.fixture(scope="module")
def token(template: Home) -> str:
    return template.token


def request(
    method: str, path: str, body: bytes = b"", token: str | None = None, headers: dict[str, str] | None = None
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: parley"]
    sent = {"Content-Type": "application/json", "Content-Length": str(len(body))} if body else {}
    sent |= {"Authorization": f"Bearer {token}"} if token else {}
    lines += [f"{name}: {value}" for name, value in (sent | (headers or {})).items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def talk(server: ServerProcess, sent: bytes) -> bytes:
    """Send everything before reading anything, then read until the server closes the connection."""
    with server.connect() as connection:
        connection.sendall(sent)
        return rest(connection)


def rest(connection: socket.socket) -> bytes:
    return b"".join(iter(partial(connection.recv, 65_536), b""))


def parse(raw: bytes, *methods: str) -> list[Answer]:
    """Return the answers to requests with these methods; there are no bytes besides."""
    received: Any = Received(raw)
    answers = []
    for method in methods:
        response = http.client.HTTPResponse(received, method=method)
        response.begin()
        answers.append(Answer(response.status, response.headers, response.read()))
    assert received.read() == b""
    return answers


def refusal(raw: bytes) -> tuple[int, str]:
    """Return status and code of the one answer, an error as all errors are, and the last on its connection."""
    (answer,) = parse(raw, "POST")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Connection"] == "close"
    assert answer.json.keys() == {"error"}
    return answer.status, answer.json["error"]


def document(*contents: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": content} for content in contents]
    return {"version": 1, "session": {"title": "imported"}, "messages": messages}


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def refuses_connections(server: ServerProcess) -> bool:
    try:
        server.connect().close()
    except ConnectionError:
        return True
    return False


def contents(server: ServerProcess, token: str, session_id: str) -> list[str]:
    status, session, _ = server.request("GET", f"/api/sessions/{session_id}", token=token)
    assert status == 200
    return [message["content"] for message in session["messages"]]


def start_in_vain(data: Path, **settings: Any) -> str:
    """Start a server that refuses to, and return what it says."""
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment(data, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
    )
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stdout
    return done.stdout


class TestStart:
    def test_one_line_says_where_and_how_to_make_a_user(self, tmp_path: Path) -> None:
        with ServerProcess(tmp_path / "data") as server:
            assert server.stop() == 0
        (line,) = server.log.read_text().splitlines()
        assert server.url in line
        assert str(tmp_path / "data" / "parley.db") in line
        assert "flask users add NAME" in line

    def test_with_a_user_it_does_not_say_how_to_make_one(self, home: Home) -> None:
        with ServerProcess(home.data) as server:
            assert server.stop() == 0
        (line,) = server.log.read_text().splitlines()
        assert line == f"Parley listens on {server.url}, database {home.data / 'parley.db'}"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PORT", "abc"),
            ("PORT", "65536"),
            ("JWT_SECRET_KEY", "a-short-secret"),
            ("DATABASE_URL", "mysql://alice:a-short-secret@127.0.0.1/x"),
            ("THREADS", "0"),
            ("SQLITE_SYNCHRONOUS", "OFF"),
            ("LOG_FORMAT", "xml"),
        ],
    )
    def test_a_wrong_setting_is_named(self, tmp_path: Path, name: str, value: str) -> None:
        said = start_in_vain(tmp_path / "data", **{name: value})
        assert f"PARLEY_{name}" in said
        assert "a-short-secret" not in said
        assert len(said.splitlines()) == 1

    def test_all_wrong_settings_are_named_at_once(self, tmp_path: Path) -> None:
        said = start_in_vain(tmp_path / "data", PORT="abc", THREADS="x")
        assert "PARLEY_PORT" in said
        assert "PARLEY_THREADS" in said

    def test_a_port_in_use(self, tmp_path: Path, server: ServerProcess) -> None:
        said = start_in_vain(tmp_path / "data", PORT=server.address[1])
        assert f"127.0.0.1:{server.address[1]}" in said
        assert len(said.splitlines()) == 1

    def test_a_data_folder_that_is_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "data"
        file.write_text("mine")
        said = start_in_vain(file)
        assert str(file) in said
        assert len(said.splitlines()) == 1
        assert file.read_text() == "mine"

    def test_a_secret_file_that_is_missing(self, tmp_path: Path) -> None:
        said = start_in_vain(tmp_path / "data", JWT_SECRET_KEY_FILE=tmp_path / "nowhere")
        assert str(tmp_path / "nowhere") in said
        assert len(said.splitlines()) == 1

    def test_a_secret_from_a_file(self, home: Home, tmp_path: Path) -> None:
        kept = home.data / "jwt_secret"
        secret = kept.replace(tmp_path / "secret")
        with ServerProcess(home.data, JWT_SECRET_KEY_FILE=secret) as server:
            assert server.request("GET", "/api/auth/me", token=home.token)[0] == 200
        assert not kept.exists()

    def test_a_database_from_a_newer_version_is_left_alone(self, home: Home) -> None:
        database = home.data / "parley.db"
        with closing(sqlite3.connect(database)) as connection, connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(schema_migration)")]
            row = connection.execute("SELECT * FROM schema_migration").fetchone()
            values = dict(zip(columns, row, strict=True)) | {"name": "9999_future"}
            values.pop("id", None)
            marks = ", ".join("?" * len(values))
            connection.execute(
                f"INSERT INTO schema_migration ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
            )
        before = database.read_bytes()
        said = start_in_vain(home.data)
        assert "newer" in said
        assert "9999_future" in said
        assert database.read_bytes() == before


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_request_in_flight_is_finished_and_no_other_begun(self, home: Home, number: int) -> None:
        body = json.dumps(document("kept")).encode()
        with (
            ServerProcess(home.data) as server,
            server.connect() as idle,
            server.connect() as silent,
            server.connect() as busy,
        ):
            idle.sendall(request("GET", "/healthz"))
            assert idle.recv(65_536).startswith(b"HTTP/1.1 200")
            expecting = request("POST", "/api/sessions/import", body, home.token, {"Expect": "100-continue"})
            busy.sendall(expecting.removesuffix(body))
            assert busy.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            server.process.send_signal(number)
            until(lambda: refuses_connections(server), "connections are refused")
            assert idle.recv(1) == silent.recv(1) == b""
            busy.sendall(body)
            (answer,) = parse(rest(busy), "POST")
            assert (answer.status, answer.json["imported_messages"]) == (201, 1)
            assert server.process.wait(timeout=10) == 0
        with ServerProcess(home.data) as server:
            assert contents(server, home.token, answer.json["session"]["id"]) == ["kept"]

    def test_what_was_sent_before_the_signal_is_answered(self, home: Home) -> None:
        log_in = json.dumps({"username": "alice", "password": PASSWORD}).encode()
        with ServerProcess(home.data) as server, ExitStack() as stack:
            kept = stack.enter_context(server.connect())
            kept.sendall(request("GET", "/healthz"))
            assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
            server.process.send_signal(signal.SIGSTOP)
            fresh = [stack.enter_context(server.connect()) for _ in range(10)]
            for connection in (kept, *fresh):
                connection.sendall(request("POST", "/api/auth/login", log_in, headers=CLOSE))
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGCONT)
            answers = [parse(rest(connection), "POST")[0] for connection in (kept, *fresh)]
            assert [answer.status for answer in answers] == [200] * 11
            assert server.process.wait(timeout=10) == 0

    def test_idle_connections_do_not_delay_it(self, home: Home) -> None:
        with ServerProcess(home.data) as server, ExitStack() as stack:
            for _ in range(20):
                idle = stack.enter_context(server.connect())
                idle.sendall(request("GET", "/healthz"))
                assert idle.recv(65_536).startswith(b"HTTP/1.1 200")
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(timeout=10) == 0

    def test_after_a_kill_everything_acknowledged_is_there(self, home: Home) -> None:
        secret = home.data / "jwt_secret"
        before = secret.read_text()
        with ServerProcess(home.data) as server:
            _, pair, _ = server.request("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD})
            _, made, _ = server.request("POST", "/api/sessions", {"title": "made"}, home.token)
            _, imported, _ = server.request("POST", "/api/sessions/import", document("a", "b"), home.token)
            _, listed, _ = server.request("GET", "/api/sessions", token=home.token)
            assert len(listed["items"]) == 2
            server.stop(signal.SIGKILL)
        with ServerProcess(home.data) as server:
            for token in (home.token, pair["access_token"]):
                assert server.request("GET", "/api/sessions", token=token)[1] == listed
            assert contents(server, home.token, made["id"]) == []
            assert contents(server, home.token, imported["session"]["id"]) == ["a", "b"]
            assert server.request("POST", "/api/auth/refresh", token=pair["refresh_token"])[0] == 200
        assert secret.read_text() == before
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE((home.data / "parley.db").stat().st_mode) == 0o600


def plain(size: int) -> tuple[dict[str, str], bytes]:
    return {"Content-Length": str(size)}, b"x" * size


def chunked(size: int) -> tuple[dict[str, str], bytes]:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    return {"Transfer-Encoding": "chunked"}, chunk * (size // 65_536 + 1) + b"0\r\n\r\n"


class TestTooLarge:
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
    def test_who_sends_it_all_is_answered(
        self,
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
        raw = talk(server, request("POST", path, token=token if with_token else None, headers=headers) + body)
        assert refusal(raw) == expected

    def test_who_asks_first_need_not_send_it(self, server: ServerProcess, token: str) -> None:
        headers = {"Content-Length": str(IMPORT_LIMIT + 1), "Expect": "100-continue"}
        for method, given, expected in (("POST", token, 413), ("POST", None, 401)):
            raw = talk(server, request(method, "/api/sessions/import", token=given, headers=headers))
            assert raw.startswith(b"HTTP/1.1 %d " % expected)
            assert refusal(raw)[0] == expected

    @pytest.mark.parametrize(("over", "status"), [(0, 201), (1, 413)])
    @pytest.mark.parametrize(("path", "limit"), [("/api/sessions", BODY_LIMIT), ("/api/sessions/import", IMPORT_LIMIT)])
    def test_the_limit_itself(
        self, server: ServerProcess, token: str, path: str, limit: int, over: int, status: int
    ) -> None:
        body = b'{"session":{},"messages":[]}'.ljust(limit + over)
        assert server.request("POST", path, body, token)[0] == status


HEAD = b"Host: parley\r\n"
MALFORMED = {
    "garbage": (b"garbage\r\n\r\n", 400),
    "binary": (bytes(range(128, 256)) + b"\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "method": (b"get /healthz HTTP/1.1\r\n\r\n", 400),
    "no version": (b"GET /healthz HTTP/x\r\n\r\n", 400),
    "raw byte": (b"GET /\xff HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    "address": (b"GET http://[::1 HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    "header": (b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n", 400),
    "folded": (b"GET /healthz HTTP/1.1\r\n folded: x\r\n\r\n", 400),
    "bare CR": (b"GET /healthz HTTP/1.1\r\nA: b\rc\r\n\r\n", 400),
    "length in words": (b"POST /api/sessions HTTP/1.1\r\nContent-Length: abc\r\n\r\n", 400),
    "length below 0": (b"POST /api/sessions HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "two lengths": (b"POST /api/sessions HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "endless length": (b"POST /api/sessions HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400),
    "chunk size": (b"POST /api/sessions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "chunk end": (b"POST /api/sessions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n", 400),
    "chunks, and much more": (
        b"POST /api/sessions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + b"x" * 1_000_000, 400
    ),
    "long head": (b"GET /healthz HTTP/1.1\r\nA: " + b"x" * 300_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 200_000 + b"\r\n", 431),
    "long line": (b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\n\r\n", 431),
    "encoding": (b"POST /api/sessions HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
}  # fmt: skip
CODES = {400: "bad_request", 431: "headers_too_large", 501: "not_implemented"}


@pytest.mark.parametrize(("sent", "status"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_http(server: ServerProcess, sent: bytes, status: int) -> None:
    assert refusal(talk(server, sent)) == (status, CODES[status])
    assert server.request("GET", "/healthz")[0] == 200
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    "path",
    [
        "/%ff", "/%00", "/%2f", "/%zz", "/%", "/%c0%af", "/%ed%a0%80", "//", "///", "//api/sessions",
        "/api/sessions/%ff", "/api/sessions/%00", "/api/sessions/%2f", "/api/sessions/%zz", "/api/sessions/%c0%af",
        "/api/sessions/%00/export", "/api/sessions/%ff/export", "/api/sessions/%F0%9F%92%A9", "/api/sessions?%ff=%00",
        "/api%2fsessions", "/api/../api/sessions", "/docs/%00", "/docs/%ff", "/docs/..%2f..%2fapp.py",
        "http://127.0.0.1/%ff", "/api/sessions/" + "x" * 100_000,
    ],
)  # fmt: skip
def test_odd_paths_are_never_our_mistake(server: ServerProcess, token: str, path: str) -> None:
    methods = ("GET", "HEAD", "DELETE", "OPTIONS")
    sent = b"".join(
        request(method, path, token=token, headers=CLOSE if method == methods[-1] else None) for method in methods
    )
    for answer in parse(talk(server, sent), *methods):
        assert answer.status in (200, 204, 400, 404, 405)
        if answer.status >= 400 and answer.body:
            assert answer.json.keys() == {"error"}
    assert "internal error" not in server.log.read_text()


class TestConnections:
    def test_pipelined_requests_are_answered_in_their_order(self, server: ServerProcess, token: str) -> None:
        kinds = [
            ("GET", "/healthz", b"", 200),
            ("POST", "/api/sessions", b'{"title":"pipelined"}', 201),
            ("GET", "/api/sessions", b"", 200),
            ("HEAD", "/api/sessions", b"", 200),
            ("POST", "/api/sessions/import", json.dumps(document("x")).encode(), 201),
            ("PATCH", "/api/sessions/nowhere", b'{"title":"x"}', 404),
            ("POST", "/api/sessions", b"{", 400),
        ] * 4
        sent = b"".join(
            request(method, path, body, token, {"X-Request-Id": str(number)})
            for number, (method, path, body, _) in enumerate(kinds)
        )
        methods = [method for method, *_ in kinds]
        answers = parse(talk(server, sent + request("GET", "/healthz", headers=CLOSE)), *methods, "GET")
        assert [answer.status for answer in answers] == [*(status for *_, status in kinds), 200]
        assert [answer.headers["X-Request-Id"] for answer in answers[:-1]] == [str(n) for n in range(len(kinds))]

    def test_one_connection_serves_many_requests(self, server: ServerProcess, token: str) -> None:
        with closing(http.client.HTTPConnection(*server.address, timeout=30)) as connection:
            connection.connect()
            port = connection.sock.getsockname()
            for _ in range(50):
                connection.request("GET", "/api/sessions", headers={"Authorization": f"Bearer {token}"})
                with connection.getresponse() as answer:
                    assert (answer.status, bool(answer.read())) == (200, True)
            assert connection.sock.getsockname() == port

    def test_http_1_0_is_answered_and_closed(self, server: ServerProcess) -> None:
        (answer,) = parse(talk(server, b"GET /healthz HTTP/1.0\r\n\r\n"), "GET")
        assert (answer.status, answer.json) == (200, {"status": "ok"})

    def test_head_is_get_without_the_body(self, server: ServerProcess, token: str) -> None:
        _, imported, _ = server.request("POST", "/api/sessions/import", document("x"), token)
        session = f"/api/sessions/{imported['session']['id']}"
        for path in ("/healthz", "/readyz", "/openapi.json", "/docs", "/api/sessions", session, f"{session}/export"):
            sent = request("HEAD", path, token=token) + request("GET", path, token=token, headers=CLOSE)
            head, get = parse(talk(server, sent), "HEAD", "GET")
            assert head.status == get.status == 200
            assert head.body == b"" != get.body
            assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.body))


def logged(server: ServerProcess, request_id: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in server.log.read_text().splitlines()[1:]]
    return [entry for entry in entries if entry["request_id"] == request_id]


class TestLog:
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
    def test_a_line_a_request(
        self, server: ServerProcess, token: str, method: str, path: str, with_token: bool, status: int
    ) -> None:
        request_id = f"line-{method}-{path}-{with_token}"
        given = token if with_token else None
        _, me, _ = server.request("GET", "/api/auth/me", token=token)
        assert server.request(method, path, None, given, {"X-Request-Id": request_id})[0] == status
        until(lambda: bool(logged(server, request_id)), "the line is there")
        (entry,) = logged(server, request_id)
        assert (entry["method"], entry["path"], entry["status"]) == (method, path, status)
        assert entry["user_id"] == (me["id"] if with_token else "-")
        assert entry["time"].endswith("Z")
        assert entry["ms"] >= 0

    def test_a_line_for_what_was_too_large(self, server: ServerProcess, token: str) -> None:
        headers = {"Content-Length": str(IMPORT_LIMIT * 2), "X-Request-Id": "large"}
        talk(server, request("POST", "/api/sessions/import", token=token, headers=headers))
        assert [entry["status"] for entry in logged(server, "large")] == [413]

    def test_as_text(self, home: Home) -> None:
        with ServerProcess(home.data) as server:
            _, me, _ = server.request("GET", "/api/auth/me", token=home.token, headers={"X-Request-Id": "as-text"})
            (line,) = server.log.read_text().splitlines()[1:]
        for part in (" INFO as-text ", "method=GET", "path=/api/auth/me", "status=200", "ms=", f"user_id={me['id']}"):
            assert part in line

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_it_tells_no_secrets_and_cannot_be_forged(self, home: Home, form: str) -> None:
        with ServerProcess(home.data, LOG_FORMAT=form) as server:
            wrong = "a wrong password"
            _, pair, _ = server.request("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD})
            server.request("POST", "/api/auth/login", {"username": "alice", "password": wrong})
            said = "what alice said"
            tokens = {"imports": home.token, "reads": pair["access_token"]}
            _, imported, _ = server.request("POST", "/api/sessions/import", document(said), tokens["imports"])
            session = imported["session"]["id"]
            assert contents(server, tokens["reads"], session) == [said]
            server.request("PATCH", f"/api/sessions/{session}", {"title": said}, home.token)
            server.request("PATCH", f"/api/sessions/{session}/system-prompt", {"system_prompt": said}, home.token)
            server.request("POST", "/api/sessions/import", document(said, ""), home.token)
            server.request("GET", f"/api/sessions?access_token={home.token}&q=what+alice+said", token=home.token)
            server.request("POST", "/api/auth/refresh", token=pair["refresh_token"])
            server.request("GET", "/api/sessions", token=home.token + "x")
            count = len(server.log.read_text().splitlines())
            server.request(
                "GET", "/x%0aForged%0d%0aForged%E2%80%A8Forged%C2%85Forged", headers={"X-Request-Id": "f\tg"}
            )
            log = server.log.read_text()
        secrets = (PASSWORD, wrong, home.token, pair["access_token"], pair["refresh_token"], said, "what+alice+said")
        assert [secret for secret in secrets if secret in log] == []
        assert len(log.splitlines()) == count + 1
        assert not any(line.startswith("Forged") for line in log.splitlines())

    @pytest.mark.parametrize(
        ("given", "kept"),
        [("abc-123", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ('"},{"a":"', False), ("é", False)],
    )
    def test_the_request_id(self, server: ServerProcess, given: str, kept: bool) -> None:
        for path in ("/healthz", "/api/sessions", "/nowhere"):
            (answer,) = parse(talk(server, request("GET", path, headers=CLOSE | {"X-Request-Id": given})), "GET")
            assert answer.headers["X-Request-Id"]
            assert (answer.headers["X-Request-Id"] == given) is kept
            assert bool(logged(server, given)) is kept


@pytest.mark.parametrize(
    ("proxies", "then"),
    [
        (0, {"1.1.1.1": 429, "2.2.2.2": 429, "1.1.1.1, 2.2.2.2": 429}),
        (1, {"1.1.1.1": 429, "2.2.2.2": 401, "1.1.1.1, 2.2.2.2": 401, "2.2.2.2, 1.1.1.1": 429}),
        (1, {"1.1.1.1:4711": 429, "1.1.1.1:4712": 429, "2.2.2.2:4711": 401, "::ffff:1.1.1.1": 429}),
    ],
)
def test_whose_word_the_address_is(home: Home, proxies: int, then: dict[str, int]) -> None:
    with ServerProcess(home.data, TRUSTED_PROXIES=proxies) as server:

        def log_in(address: str) -> int:
            body = {"username": "alice", "password": "a wrong password"}
            status: int = server.request("POST", "/api/auth/login", body, headers={"X-Forwarded-For": address})[0]
            return status

        assert [log_in("1.1.1.1") for _ in range(10)] == [401] * 10
        assert {address: log_in(address) for address in then} == then


def test_addresses_of_one_network_are_one_guesser(home: Home) -> None:
    with ServerProcess(home.data, TRUSTED_PROXIES=1) as server:

        def log_in(address: str) -> int:
            body = {"username": "alice", "password": "a wrong password"}
            status: int = server.request("POST", "/api/auth/login", body, headers={"X-Forwarded-For": address})[0]
            return status

        tried = ["2001:db8::1", "[2001:db8::2]:443", "2001:DB8:0:0:ffff::", "[2001:db8::3]", "2001:db8::%eth0"] * 2
        assert [log_in(address) for address in tried] == [401] * 10
        then = {"2001:db8::9": 429, "[2001:db8::a]:1": 429, "2001:db8:0:1::1": 401, "9.9.9.9": 401}
        assert {address: log_in(address) for address in then} == then


def test_after_the_signal_answers_say_that_they_are_the_last(home: Home) -> None:
    with ServerProcess(home.data) as server, server.connect() as connection:
        server.process.send_signal(signal.SIGSTOP)
        pipelined = request("POST", "/api/sessions", b"{}", home.token) + request(
            "GET", "/api/sessions", token=home.token
        )
        connection.sendall(pipelined + request("GET", "/healthz"))
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        created, listed, last = parse(rest(connection), "POST", "GET", "GET")
        assert [answer.status for answer in (created, listed, last)] == [201, 200, 200]
        assert [answer.headers["Connection"] for answer in (created, listed, last)] == [None, None, "close"]
        assert server.process.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("/api/sessions", {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}),
        ("/api/sessions/import", {"POST", "OPTIONS"}),
        ("/api/sessions/0190", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("/api/sessions/0190/messages", {"GET", "HEAD", "POST", "OPTIONS"}),
    ],
)
def test_what_a_path_is_said_to_take_it_takes(server: ServerProcess, token: str, path: str, methods: set[str]) -> None:
    _, _, asked = server.request("OPTIONS", path, token=token)
    assert set(asked["Allow"].split(", ")) == methods
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        status, _, headers = server.request(method, path, None, token)
        assert (status != 405) is (method in methods)
        if status == 405:
            assert set(headers["Allow"].split(", ")) == methods


def test_a_large_body_keeps_no_small_ones_waiting(home: Home) -> None:
    """What takes long to parse is parsed where nobody waits: others' writes are answered meanwhile."""
    wide = json.dumps({"role": "user", "content": "x", "metadata": {f"key {n}": n for n in range(40_000)}}).encode()
    with ServerProcess(home.data) as server, ExitStack() as stack:
        _, session, _ = server.request("POST", "/api/sessions", {"title": "x"}, home.token)
        path = f"/api/sessions/{session['id']}/messages"
        sent = [stack.enter_context(server.connect()) for _ in range(12)]
        whole = request("POST", path, wide, home.token)
        for connection in sent:
            connection.sendall(whole[:-1])
        for connection in sent:  # so that all are there at once, however long sending them took
            connection.sendall(whole[-1:])
        other = server.request("POST", "/api/sessions", {"title": "small"}, home.token)
        assert other[0] == 201
        waiting = [connection for connection in sent if not select.select([connection], [], [], 0)[0]]
        assert len(waiting) > 6  # it has not waited for all of them
        for connection in sent:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 201")


def test_a_database_that_is_moved_away(home: Home) -> None:
    database, elsewhere = home.data / "parley.db", home.data / "elsewhere.db"
    unavailable = (503, {"error": "database_unavailable"})
    with ServerProcess(home.data) as server:
        assert server.request("POST", "/api/sessions", {"title": "kept"}, home.token)[0] == 201
        database.rename(elsewhere)
        for method, path, body in (
            ("GET", "/readyz", None),
            ("GET", "/api/sessions", None),
            ("POST", "/api/sessions", {"title": "lost"}),
            ("POST", "/api/sessions/import", document("lost")),
            ("POST", "/api/auth/login", {"username": "alice", "password": PASSWORD}),
        ):
            assert server.request(method, path, body, home.token)[:2] == unavailable
        assert server.request("GET", "/healthz")[0] == 200
        assert not database.exists()
        elsewhere.rename(database)
        assert server.request("GET", "/readyz")[0] == 200
        _, listed, _ = server.request("GET", "/api/sessions", token=home.token)
        assert [session["title"] for session in listed["items"]] == ["kept"]
        assert server.request("POST", "/api/sessions", {"title": "again"}, home.token)[0] == 201


def test_a_database_that_another_process_has_locked(home: Home) -> None:
    writes: list[tuple[str, Any]] = [
        ("/api/sessions", {"title": "x"}),
        ("/api/sessions/import", document("x")),
        ("/api/auth/login", {"username": "alice", "password": PASSWORD}),
    ]
    with (
        ServerProcess(home.data) as server,
        ThreadPoolExecutor(len(writes)) as pool,
        closing(sqlite3.connect(home.data / "parley.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        pending = [pool.submit(server.request, "POST", path, body, home.token) for path, body in writes]
        for _ in range(20):
            assert server.request("GET", "/api/sessions", token=home.token)[:2] == (200, {"items": []})
        assert not any(write.done() for write in pending)
        _, waiting = wait(pending, timeout=9)  # as long as one alone waits, and not one after the other
        assert not waiting
        for write in pending:
            status, answer, headers = write.result()
            assert (status, answer) == (503, {"error": "database_busy"})
            assert int(headers["Retry-After"]) > 0
        other.execute("ROLLBACK")
        assert [server.request("POST", path, body, home.token)[0] for path, body in writes] == [201, 201, 200]
