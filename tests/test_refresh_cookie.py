"""The refresh token as a cookie: set for a page, taken from it alone, cleared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http.cookies import Morsel, SimpleCookie
from typing import Any

import jwt
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from tests import contract
from tests.helpers.client import PASSWORD, ApiClient, error_of, new_login
from tests.helpers.clock import later
from tests.helpers.database import query_db
from tests.helpers.engine import SECRET
from tests.helpers.process import ServerProcess

NAME = "parley_refresh"
PAGE = {"X-Parley": "page", "Sec-Fetch-Site": "same-origin"}
ORIGIN = {"X-Parley": "page", "Origin": "http://localhost"}
REFRESH, LOGOUT = "/api/auth/refresh", "/api/auth/logout"
CREDENTIALS = {"username": "owner", "password": PASSWORD, "cookie": True}


def cookie_of(response: TestResponse) -> Morsel[str]:
    """Return the one cookie that a response sets."""
    (header,) = response.headers.getlist("Set-Cookie")
    ((name, morsel),) = SimpleCookie(header).items()
    assert name == NAME
    return morsel


def is_cleared(response: TestResponse) -> bool:
    """Return whether a response clears the cookie, with the attributes with which it was set."""
    headers = response.headers.getlist("Set-Cookie")
    if not headers:
        return False
    morsel = cookie_of(response)
    assert (morsel["path"], morsel["httponly"], morsel["samesite"]) == ("/api/auth", True, "Strict")
    return (morsel.value, morsel["max-age"]) == ("", "0")


@pytest.fixture
def page(anonymous: ApiClient, owner: ApiClient) -> ApiClient:
    """A client like a page's: it has logged in, and its jar has the cookie."""
    response = anonymous.post("/api/auth/login", CREDENTIALS)
    assert response.status_code == 200
    return anonymous


@pytest.fixture
def bare(app: Flask) -> ApiClient:
    """A client without a jar: it sends the cookies that a test gives it."""
    return ApiClient(app.test_client(use_cookies=False), None)


def jar(client: ApiClient) -> str:
    """Return the token in a client's jar."""
    cookie = client.client.get_cookie(NAME, path="/api/auth")
    assert cookie is not None
    return cookie.value


def set_jar(client: ApiClient, token: str) -> None:
    client.client.set_cookie(NAME, token, path="/api/auth")


class TestLogin:
    def test_sets_the_cookie_instead_of_returning_the_token(self, anonymous: ApiClient, owner: ApiClient) -> None:
        response = anonymous.post("/api/auth/login", CREDENTIALS)
        assert response.status_code == 200
        assert list(response.get_json()) == ["access_token", "token_type", "expires_in"]
        cookie = cookie_of(response)
        assert (cookie["path"], cookie["max-age"], cookie["samesite"]) == ("/api/auth", str(30 * 86_400), "Strict")
        assert (cookie["httponly"], cookie["secure"], cookie["domain"]) == (True, "", "")
        assert ApiClient(anonymous.client, cookie.value).post(REFRESH).status_code == 200

    @pytest.mark.parametrize("more", [{}, {"cookie": False}])
    def test_returns_the_token_by_default(self, anonymous: ApiClient, owner: ApiClient, more: dict[str, bool]) -> None:
        response = anonymous.post("/api/auth/login", {"username": "owner", "password": PASSWORD} | more)
        assert "refresh_token" in response.get_json()
        assert "Set-Cookie" not in response.headers

    @pytest.mark.parametrize("value", [None, "true", 1, 0, "yes", [], {}])
    def test_requires_a_boolean(self, anonymous: ApiClient, owner: ApiClient, value: Any) -> None:
        response = anonymous.post("/api/auth/login", CREDENTIALS | {"cookie": value})
        assert error_of(response) == (400, "validation_error")
        assert list(response.get_json()["details"]) == ["cookie"]

    def test_wrong_password_sets_no_cookie(self, anonymous: ApiClient, owner: ApiClient) -> None:
        response = anonymous.post("/api/auth/login", CREDENTIALS | {"password": "wrong"})
        assert response.status_code == 401
        assert "Set-Cookie" not in response.headers


class TestRefresh:
    @pytest.mark.parametrize("headers", [PAGE, ORIGIN])
    def test_takes_the_cookie_and_sets_the_next_one(self, page: ApiClient, headers: dict[str, str]) -> None:
        for _ in range(3):
            before = jar(page)
            response = page.post(REFRESH, headers=headers)
            assert response.status_code == 200
            assert list(response.get_json()) == ["access_token", "token_type", "expires_in"]
            assert cookie_of(response)["max-age"] == str(30 * 86_400)
            assert jar(page) != before
            me = ApiClient(page.client, response.get_json()["access_token"]).get("/api/auth/me")
            assert me.get_json()["username"] == "owner"

    def test_that_lost_a_race_leaves_the_cookie_to_the_winner(self, page: ApiClient) -> None:
        spent = jar(page)
        page.post(REFRESH, headers=PAGE)
        winners = jar(page)
        set_jar(page, spent)
        response = page.post(REFRESH, headers=PAGE)
        assert error_of(response) == (409, "refresh_raced")
        assert "Set-Cookie" not in response.headers
        set_jar(page, winners)
        assert page.post(REFRESH, headers=PAGE).status_code == 200

    def test_with_a_token_of_long_ago_revokes_the_login_and_clears_the_cookie(self, page: ApiClient) -> None:
        spent = jar(page)
        access = ApiClient(page.client, page.post(REFRESH, headers=PAGE).get_json()["access_token"])
        set_jar(page, spent)
        with later(31):
            response = page.post(REFRESH, headers=PAGE)
        assert error_of(response) == (401, "token_revoked")
        assert is_cleared(response)
        assert error_of(access.get("/api/auth/me")) == (401, "token_revoked")

    def test_clears_a_cookie_of_no_use(self, page: ApiClient, owner: ApiClient) -> None:
        claims = jwt.decode(jar(page), SECRET, ["HS256"])
        expired = jwt.encode(claims | {"exp": datetime.now(UTC) - timedelta(seconds=1)}, SECRET, "HS256")
        forged = jwt.encode(claims, "another secret, which is long enough for it", "HS256")
        access, _ = new_login(ApiClient(page.client, None), owner)
        for token, code in (
            (expired, "token_expired"),
            (forged, "invalid_token"),
            (str(access.token), "invalid_token"),
            ("x", "invalid_token"),
            ("\u20ac\u0000", "invalid_token"),
            ("", "missing_token"),
        ):
            for path in (REFRESH, LOGOUT):
                set_jar(page, token)
                response = page.post(path, headers=PAGE)
                assert error_of(response) == (401, code), token
                assert is_cleared(response), token
        query_db("DELETE FROM logins WHERE refresh_id = ?", claims["jti"])
        set_jar(page, jwt.encode(claims, SECRET, "HS256"))
        response = page.post(REFRESH, headers=PAGE)
        assert (error_of(response), is_cleared(response)) == ((401, "token_revoked"), True)

    def test_ignores_the_cookie_beside_an_authorization(self, page: ApiClient, owner: ApiClient) -> None:
        before = jar(page)
        _, refresh = new_login(ApiClient(page.client, None), owner)
        response = refresh.post(REFRESH, headers=PAGE)
        assert "refresh_token" in response.get_json()
        assert "Set-Cookie" not in response.headers
        for value, code in (("Bearer x", "invalid_token"), ("Basic x", "missing_token"), ("", "missing_token")):
            response = page.post(REFRESH, headers=PAGE | {"Authorization": value})
            assert (error_of(response), "Set-Cookie" in response.headers) == ((401, code), False)
        assert jar(page) == before
        assert page.post(REFRESH, headers=PAGE).status_code == 200


class TestLogout:
    @pytest.mark.parametrize("headers", [PAGE, ORIGIN])
    def test_revokes_the_login_and_clears_the_cookie(
        self, page: ApiClient, owner: ApiClient, headers: dict[str, str]
    ) -> None:
        token = jar(page)
        response = page.post(LOGOUT, headers=headers)
        assert (response.status_code, response.data) == (204, b"")
        assert is_cleared(response)
        assert page.client.get_cookie(NAME, path="/api/auth") is None
        assert error_of(ApiClient(page.client, token).post(REFRESH)) == (401, "token_revoked")
        assert error_of(page.post(REFRESH, headers=PAGE)) == (401, "missing_token")
        assert owner.get("/api/auth/me").status_code == 200

    def test_with_an_authorization_leaves_the_cookie(self, page: ApiClient, owner: ApiClient) -> None:
        access, _ = new_login(ApiClient(page.client, None), owner)
        response = access.post(LOGOUT, headers=PAGE)
        assert (response.status_code, "Set-Cookie" in response.headers) == (204, False)
        assert page.post(REFRESH, headers=PAGE).status_code == 200


class TestOtherSites:
    @pytest.mark.parametrize("path", [REFRESH, LOGOUT])
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"X-Parley": "page"},
            {"X-Parley": "page", "Origin": ""},
            {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
            *(PAGE | {"X-Parley": value} for value in ("", "Page", "1", "page, page")),
            *(
                ORIGIN | {"Sec-Fetch-Site": value}
                for value in ("cross-site", "same-site", "none", "", "Same-Origin", "same-origin, cross-site")
            ),
            *(
                ORIGIN | {"Origin": value}
                for value in (
                    *("null", "http://evil.example", "https://localhost", "http://localhost:8080", "http://localhost/"),
                    *("http://localhost.evil.example", "http://evil.example#http://localhost", "localhost", "http://"),
                    *("http://localhost, http://evil.example", "http://localhost@evil.example", "http://sub.localhost"),
                )
            ),
            ORIGIN | {"Host": "[", "Origin": "http://"},
            *(
                ORIGIN | {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"} | more
                for more in ({}, {"X-Forwarded-Proto": "https"}, {"Forwarded": "host=evil.example;proto=https"})
            ),
        ],
        ids=str,
    )
    def test_cannot_have_the_cookie_used(self, page: ApiClient, path: str, headers: dict[str, str]) -> None:
        before = jar(page)
        response = page.post(path, headers=headers)
        assert error_of(response) == (401, "missing_token")
        assert "Set-Cookie" not in response.headers
        assert jar(page) == before
        assert page.post(REFRESH, headers=PAGE).status_code == 200

    def test_no_other_route_reads_a_cookie(self, page: ApiClient, bare: ApiClient) -> None:
        cookie = {"Cookie": f"{NAME}={jar(page)}"}
        access = page.post(REFRESH, headers=PAGE).get_json()["access_token"]
        for token in (cookie["Cookie"], f"{NAME}={access}"):
            for call in contract.CALLS:
                if call.access is not contract.PUBLIC and call.path("") not in (REFRESH, LOGOUT):
                    headers = PAGE | dict(call.headers) | {"Cookie": token}
                    response = bare(call.method, call.path("x"), call.body, headers=headers)
                    assert error_of(response) == (401, "missing_token"), call
                    assert "Set-Cookie" not in response.headers, call

    def test_other_cookies_do_no_harm(self, page: ApiClient, bare: ApiClient) -> None:
        token = jar(page)
        useless = [
            *("x", "=", ";;;", "a=b", f"{NAME}", f"x{NAME}={token}", f"{NAME}x={token}", "\xff=\xff", f'{NAME}="'),
            *("; ".join(f"c{number}=x" for number in range(3_000)), "x" * 30_000, f"{NAME}={'x' * 30_000}"),
            *(f"{NAME}={token}; {NAME}={token}", f"{NAME}=x; {NAME}={token}", f"{NAME}={token}, a=b"),
            f'{NAME}="\\377\\000"',
        ]
        for header in useless:
            response = bare.post(REFRESH, headers=PAGE | {"Cookie": header})
            assert response.status_code == 401, header
            assert error_of(response)[1] in ("missing_token", "invalid_token"), header
        many = "; ".join(f"c{number}=x" for number in range(500))
        response = bare.post(REFRESH, headers=PAGE | {"Cookie": f"{many}; {NAME}={token}; {many}"})
        assert response.status_code == 200


class TestBehindProxies:
    @pytest.fixture
    def settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings | {"PARLEY_TRUSTED_PROXIES": 1}

    def test_https_makes_it_secure(self, bare: ApiClient, owner: ApiClient) -> None:
        https = {"X-Forwarded-Proto": "https"}
        response = bare.post("/api/auth/login", CREDENTIALS, headers=https)
        assert cookie_of(response)["secure"] is True
        response = bare.post(REFRESH, headers=PAGE | https | {"Cookie": f"{NAME}={cookie_of(response).value}"})
        assert cookie_of(response)["secure"] is True

    @pytest.mark.parametrize(
        ("prefix", "path"),
        [
            ("/parley", "/parley/api/auth"),
            ("/parley/", "/parley/api/auth"),
            ("/a/b", "/a/b/api/auth"),
            ("/", "/api/auth"),
            ("/a%20b", "/a%20b/api/auth"),
            ("/x; Domain=evil.example", "/x%3B%20Domain=evil.example/api/auth"),
            ("/\xff", "/%EF%BF%BD/api/auth"),
        ],
    )
    def test_path_is_as_the_browser_has_it(self, bare: ApiClient, owner: ApiClient, prefix: str, path: str) -> None:
        response = bare.post("/api/auth/login", CREDENTIALS, headers={"X-Forwarded-Prefix": prefix})
        header = response.headers["Set-Cookie"]
        assert [part for part in header.split("; ") if part.startswith(("Path", "Domain"))] == [f"Path={path}"]
        token = header.partition(";")[0]
        for request in (REFRESH, LOGOUT):
            response = bare.post(request, headers=PAGE | {"X-Forwarded-Prefix": prefix, "Cookie": token})
            assert response.status_code in (200, 204)
            assert f"; Path={path}" in response.headers["Set-Cookie"]
            token = response.headers["Set-Cookie"].partition(";")[0]

    @pytest.mark.parametrize(
        ("origin", "headers"),
        [
            ("https://parley.example", {"Host": "parley.example", "X-Forwarded-Proto": "https"}),
            ("https://parley.example", {"Host": "parley.example:443", "X-Forwarded-Proto": "https"}),
            ("https://parley.example", {"Host": "Parley.Example", "X-Forwarded-Proto": "https"}),
            ("https://parley.example:8443", {"Host": "parley.example:8443", "X-Forwarded-Proto": "https"}),
            ("http://parley.example", {"Host": "parley.example:80"}),
            ("http://[::1]:8080", {"Host": "[::1]:8080"}),
            (
                "https://parley.example",
                {"Host": "10.0.0.7:8080", "X-Forwarded-Host": "parley.example", "X-Forwarded-Proto": "https"},
            ),
        ],
    )
    def test_origin_is_what_the_browser_asked_for(
        self, page: ApiClient, bare: ApiClient, origin: str, headers: dict[str, str]
    ) -> None:
        cookie = {"X-Parley": "page", "Cookie": f"{NAME}={jar(page)}"}
        for other in ("https://evil.example", f"{origin}.evil.example", origin.replace("p://", "ps://"), f"{origin}:1"):
            if other != origin:
                response = bare.post(REFRESH, headers=headers | cookie | {"Origin": other})
                assert error_of(response) == (401, "missing_token"), other
        assert bare.post(REFRESH, headers=headers | cookie | {"Origin": origin}).status_code == 200

    @pytest.mark.parametrize("name", ["Host", "Proto", "Prefix", "For"])
    @pytest.mark.parametrize("value", ["", ",", "a:b", "[", "\xff", '"', "x" * 5_000, "//evil.example", "a\tb", "%00"])
    def test_whatever_a_proxy_passes_on_is_no_fault_of_ours(
        self, page: ApiClient, bare: ApiClient, name: str, value: str
    ) -> None:
        cookie = {"Cookie": f"{NAME}={jar(page)}", f"X-Forwarded-{name}": value}
        assert bare.post(REFRESH, headers=PAGE | cookie).status_code < 500
        assert bare.get("/docs", headers=cookie).status_code < 500


def test_two_proxies_name_host_and_scheme_once(settings: dict[str, Any], owner: ApiClient) -> None:
    """An address comes from each of them; what the browser asked for is passed on, or set by the last one."""
    client = ApiClient(create_app(settings | {"PARLEY_TRUSTED_PROXIES": 2}).test_client(), None)
    headers = {"X-Forwarded-For": "192.0.2.1, 10.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/parley"}
    cookie = cookie_of(client.post("/api/auth/login", CREDENTIALS, headers=headers))
    assert (cookie["path"], cookie["secure"]) == ("/parley/api/auth", True)


class TestServer:
    """Over sockets, where a token is looked for before the app runs, too."""

    def log_in(self, server: ServerProcess, **headers: str) -> tuple[str, str]:
        body = {"username": "alice", "password": PASSWORD, "cookie": True}
        status, _, fields = server.request("POST", "/api/auth/login", body, headers=headers)
        assert status == 200
        cookie, _, attributes = fields["Set-Cookie"].partition("; ")
        return cookie, attributes

    def test_peers_that_are_not_trusted_forward_nothing(self, server: ServerProcess) -> None:
        forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/x", "X-Forwarded-Host": "evil.example"}
        cookie, attributes = self.log_in(server, **forwarded)
        assert "Secure" not in attributes
        assert "Path=/api/auth" in attributes.split("; ")
        headers = forwarded | {"X-Parley": "page", "Cookie": cookie, "Origin": "https://evil.example"}
        assert server.request("POST", REFRESH, headers=headers)[:2] == (401, {"error": "missing_token"})
        assert server.request("POST", REFRESH, headers=headers | {"Origin": server.url})[0] == 200

    @pytest.mark.parametrize("size", [0, 20_000, 3_000_000])
    def test_takes_the_cookie_whatever_the_body(self, server: ServerProcess, size: int) -> None:
        cookie, _ = self.log_in(server)
        for path, expected in ((REFRESH, 200), (LOGOUT, 204)):
            status, _, fields = server.request("POST", path, b" " * size, headers=PAGE | {"Cookie": cookie})
            assert status == expected
            cookie = fields["Set-Cookie"].partition(";")[0]

    def test_long_cookies_get_an_error(self, server: ServerProcess) -> None:
        cookie, _ = self.log_in(server)
        for length, expected in ((60_000, (200, 431)), (1_000_000, (431,))):
            headers = PAGE | {"Cookie": f"a={'x' * length}; {cookie}"}
            assert server.request("POST", REFRESH, headers=headers)[0] in expected
        assert server.request("GET", "/healthz")[0] == 200
