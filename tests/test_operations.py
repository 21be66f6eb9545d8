"""Health checks, the page that shows the API, and the id of a request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.client import ApiClient, error_of, message


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/swagger-ui.css"])
def test_operations_are_public(anonymous: ApiClient, path: str) -> None:
    with anonymous.get(path) as response:
        assert response.status_code == 200


def test_docs_page_fetches_nothing_from_other_hosts(anonymous: ApiClient) -> None:
    response = anonymous.get("/docs", headers={"Host": "evil.example"})
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in response.headers["Content-Security-Policy"].partition("style-src")[0]
    assert b"evil.example" not in response.data
    assert b"https://" not in response.data


@pytest.mark.sqlite
def test_readiness_is_503_without_the_database(owner: ApiClient, anonymous: ApiClient, tmp_path: Any) -> None:
    owner.imported(message())
    database = tmp_path / "parley.db"
    database.rename(tmp_path / "moved.db")
    assert error_of(anonymous.get("/readyz")) == (503, "database_unavailable")
    assert error_of(owner.get("/api/sessions")) == (503, "database_unavailable")
    assert error_of(owner.post("/api/sessions")) == (503, "database_unavailable")
    assert anonymous.get("/healthz").status_code == 200
    assert not database.exists()
    (tmp_path / "moved.db").rename(database)
    assert anonymous.get("/readyz").status_code == 200
    assert len(owner.get("/api/sessions").get_json()["items"]) == 1


@pytest.mark.parametrize(
    ("sent", "valid"),
    [
        ("abc-123", True),
        ("A.b_c:d/e+f=", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ("é", False),
    ],
)
def test_request_id_is_the_clients_if_valid(anonymous: ApiClient, sent: str, valid: bool) -> None:
    for path in ("/healthz", "/api/sessions", "/nowhere"):
        response = anonymous.get(path, headers={"X-Request-Id": sent})
        assert (response.headers["X-Request-Id"] == sent) is valid
        assert response.headers["X-Request-Id"]
    assert anonymous.get("/healthz").headers["X-Request-Id"] != anonymous.get("/healthz").headers["X-Request-Id"]
