"""Where the view of a request runs: on the event loop, in the write batcher, or in a thread pool."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waitress.adjustments import Adjustments
from werkzeug.exceptions import HTTPException

from server.parser import RequestParser
from server.routing import MAX_INLINE_HEADER_BYTES, Routing
from tests.helpers import engine
from web.decorators import batched, inline, runs_in
from web.spec import spec_of

# If the database is not near, what uses it runs in a pool instead.
LOOP, WRITER = ("loop", "writer") if engine.server is None else ("database", "database")
ROUTES = {
    "GET /": LOOP,
    "GET /static/<path:path>": "loop",
    "GET /healthz": "loop",
    "GET /readyz": LOOP,
    "GET /api/about": LOOP,
    "GET /openapi.json": "background",
    "GET /docs": "background",
    "GET /docs/": "background",
    "GET /docs/<path:path>": "background",
    "POST /api/auth/login": "login",
    "POST /api/auth/refresh": WRITER,
    "POST /api/auth/logout": WRITER,
    "POST /api/auth/password": "login",
    "GET /api/auth/me": LOOP,
    "GET /api/sessions": LOOP,
    "POST /api/sessions": WRITER,
    "DELETE /api/sessions": "background",
    "POST /api/sessions/import": "background",
    "GET /api/sessions/<session:session_id>": LOOP,
    "PATCH /api/sessions/<session:session_id>": WRITER,
    "DELETE /api/sessions/<session:session_id>": WRITER,
    "PATCH /api/sessions/<session_id>/system-prompt": WRITER,
    "GET /api/sessions/<session_id>/messages": LOOP,
    "POST /api/sessions/<session_id>/messages": WRITER,
    "GET /api/sessions/<session_id>/prompt": "background",
    "POST /api/sessions/<session_id>/chat": "chat",
    "GET /api/sessions/<session_id>/chat": "chat",
    "DELETE /api/sessions/<session_id>/chat": "chat",
    "GET /api/sessions/<session_id>/export": LOOP,
    "GET /api/sessions/<session_id>/webhook-runs": LOOP,
    "POST /api/sessions/<session_id>/actions/<name>": "webhook",
    "GET /api/actions": LOOP,
    "GET /api/export": "transfer",
    "POST /api/import": "transfer",
}


def request(method: str, target: str) -> Any:
    """Return a request as the server has parsed it."""
    parsed = RequestParser(Adjustments())
    parsed.received(f"{method} {target} HTTP/1.1\r\nHost: parley\r\n\r\n".encode())
    assert parsed.completed
    assert parsed.error is None
    return parsed


def runs_without_a_view(path: str) -> str:
    """Return where a request runs that no view handles; one of the API has its token checked all the same."""
    return LOOP if unquote(path).lstrip("/").startswith("api/") else "loop"


def example(rule: str) -> str:
    """Return a path of a rule."""
    parts = ["0190" if part.startswith("<") else part for part in rule.split("/")]
    return "/".join(parts)


@pytest.fixture
def routing(app: Flask) -> Routing:
    return Routing(app)


def test_every_route_is_in_the_table(app: Flask) -> None:
    routes = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) & {"GET", "POST", "PATCH", "PUT", "DELETE"}
    }
    assert routes == ROUTES.keys()


@pytest.mark.parametrize("route", ROUTES)
def test_each_view_runs_where_it_is_marked(routing: Routing, route: str) -> None:
    method, _, rule = route.partition(" ")
    assert routing.runs_in(request(method, example(rule))) == ROUTES[route]


@pytest.mark.parametrize("route", [route for route in ROUTES if route.startswith("GET ")])
def test_head_runs_where_get_does(routing: Routing, route: str) -> None:
    assert routing.runs_in(request("HEAD", example(route.removeprefix("GET ")))) == ROUTES[route]


@pytest.mark.parametrize("rule", sorted({route.partition(" ")[2] for route in ROUTES}))
def test_options_runs_where_no_view_is_needed(routing: Routing, rule: str) -> None:
    assert routing.runs_in(request("OPTIONS", example(rule))) == runs_without_a_view(rule)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/"),
        ("GET", "/static"),
        ("GET", "/nowhere"),
        ("GET", "//api/nowhere"),
        ("GET", "/%2Fapi/nowhere"),
        ("GET", "/api/sessions/"),
        ("POST", "/api/sessions/0190/chat/"),
        ("POST", "/api/sessions//chat"),
        ("PUT", "/api/sessions"),
        ("GET", "/api/sessions/import"),
        ("DELETE", "/api/sessions/import"),
        ("PUT", "/api/sessions/0190/chat"),
        ("GET", "/api/auth/login"),
        ("POST", "/openapi.json"),
    ],
)
def test_no_path_or_a_wrong_method_runs_where_no_view_is_needed(routing: Routing, method: str, target: str) -> None:
    assert routing.runs_in(request(method, target)) == runs_without_a_view(target)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "//api/auth/login", "login"),
        ("POST", "///api/sessions", WRITER),
        ("POST", "http://parley/api/auth/login", "login"),
        ("POST", "http://parley//api/auth/login", "login"),
        ("POST", "/api%2fauth%2flogin", "login"),
        ("POST", "/%61pi/auth/%6cogin", "login"),
        ("POST", "%2f%2fapi/auth/login", None),
        ("POST", "/%2fapi/auth/login", "login"),
        ("POST", "/api/sessions/a%20b/chat", "chat"),
        ("POST", "/api/sessions/%ff%00%0a/chat", "chat"),
        ("POST", "/api/sessions/%E2%82%AC/chat", "chat"),
        ("POST", "/api/sessions/a%2fb/chat", LOOP),
        ("POST", "/api/auth/login?q=1", "login"),
        ("GET", "/docs/a/b.js", "background"),
        ("GET", "/docs/..%2f..%2fapp.py", "background"),
    ],
)
def test_paths_are_compared_decoded_as_the_app_does(
    app: Flask, routing: Routing, method: str, target: str, expected: str | None
) -> None:
    parsed = RequestParser(Adjustments())
    parsed.received(f"{method} {target} HTTP/1.1\r\nHost: parley\r\n\r\n".encode())
    if expected is None:
        assert parsed.error is not None
    else:
        assert routing.runs_in(parsed) == expected == runs_in_by_werkzeug(app, parsed)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=x", "background"),
        ("q=", "background"),
        ("q", "background"),
        ("%71=x", "background"),
        ("%71", "background"),
        ("limit=1&q=x", "background"),
        ("cursor=x", LOOP),
        ("cursor=x&q=y", "background"),
        ("limit=1", LOOP),
        ("limit=q", LOOP),
        ("q%20=x", LOOP),
        ("q+=x", LOOP),
        ("Q=x", LOOP),
        ("%2571=x", LOOP),
        ("limit=1;q=x", LOOP),
        ("", LOOP),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_search_runs_in_the_background_however_it_is_encoded(
    routing: Routing, method: str, query: str, expected: str
) -> None:
    assert routing.runs_in(request(method, f"/api/sessions?{query}")) == expected


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match", "Accept"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        pytest.param("GET", "/api/sessions", marks=pytest.mark.sqlite),
        pytest.param("PATCH", "/api/sessions/x", marks=pytest.mark.sqlite),
    ],
)
def test_long_header_sections_run_in_the_background(routing: Routing, method: str, path: str, header: str) -> None:
    for size in (7_000, 9_000):
        parsed = RequestParser(Adjustments())
        parsed.received(f"{method} {path} HTTP/1.1\r\nHost: parley\r\n{header}: {'a,' * (size // 2)}\r\n\r\n".encode())
        assert (routing.runs_in(parsed) == "background") is (size > MAX_INLINE_HEADER_BYTES)
    assert routing.runs_in(request("GET", f"/healthz?{'a&' * 5_000}")) == "background"


def test_methods_are_upper_case_before_they_are_routed() -> None:
    """A route is looked up by the method as it was sent: in another case it would miss its mark, and reach the view."""
    parsed = RequestParser(Adjustments())
    parsed.received(b"post /api/auth/login HTTP/1.1\r\nHost: parley\r\n\r\n")
    assert parsed.error is not None


def test_the_parameters_count_for_their_own_view_alone(routing: Routing) -> None:
    assert routing.runs_in(request("POST", "/api/sessions?q=x")) == WRITER
    assert routing.runs_in(request("GET", "/api/auth/me?q=x")) == LOOP


def test_a_new_view_without_marks_runs_in_the_background(app: Flask) -> None:
    def view() -> Any:
        return lambda **_: ""

    for number, rule in enumerate(
        ("/new", "/new/<name>", "/new/<int:number>/x", "/deep/<path:rest>", "/<any(a, b):c>/x")
    ):
        app.add_url_rule(rule, f"new_{number}", view(), methods=["GET", "POST"])
    app.add_url_rule("/inline/<path:rest>", "new_inline", inline(view()))
    app.add_url_rule("/batched", "new_batched", batched(view()))
    app.add_url_rule("/pool", "new_pool", runs_in("transfer")(view()))
    routing = Routing(app)
    for method in ("GET", "HEAD", "POST"):
        for path in ("/new", "/new/a", "/new/1/x", "/deep/a", "/deep/a/b", "/b/x"):
            assert routing.runs_in(request(method, path)) == "background", path
    assert routing.runs_in(request("GET", "/inline/a/b")) == LOOP
    assert routing.runs_in(request("GET", "/batched")) == WRITER
    assert routing.runs_in(request("GET", "/pool")) == "transfer"


def runs_in_by_werkzeug(app: Flask, parsed: Any) -> str:
    path = parsed.path.encode("latin-1").decode(errors="replace")
    try:
        endpoint, _ = app.url_map.bind("").match(path, parsed.command)
    except HTTPException:
        return runs_without_a_view(path)
    if parsed.command == "OPTIONS":
        return runs_without_a_view(path)
    spec = spec_of(app.view_functions[endpoint])
    return {"loop": LOOP, "writer": WRITER}.get(spec.runs_in, spec.runs_in) if spec.uses_database else spec.runs_in


SEGMENTS = sorted({part for route in ROUTES for part in route.partition("/")[2].split("/") if "<" not in part})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"]),
    segments=st.lists(st.sampled_from([*SEGMENTS, "0190", "%0A", "%2f", "%c3%a9", "%ff", "..", ""]), max_size=6),
)
def test_every_request_runs_where_its_view_is_marked(app: Flask, method: str, segments: list[str]) -> None:
    parsed = request(method, "/" + "/".join(segments))
    assert Routing(app).runs_in(parsed) == runs_in_by_werkzeug(app, parsed)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("q%71&=;+cursor?limit"), max_size=12))
def test_every_query_is_read_as_the_app_does(app: Flask, query: str) -> None:
    with app.test_request_context(f"/api/sessions?{query}") as context:
        in_background = "q" in context.request.args
    expected = "background" if in_background else LOOP
    assert Routing(app).runs_in(request("GET", f"/api/sessions?{query}")) == expected
