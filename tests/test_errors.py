"""Errors: each exception becomes a response of one shape, which reveals nothing of the cause."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

import peewee
import pytest

import errors
from database import sqlite
from store import session_pages
from tests.helpers.client import ApiClient, error_of


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, "not_found")),
        ("GET", "/api/", (404, "not_found")),
        ("GET", "/api/sessions/", (404, "not_found")),
        ("GET", "//api/sessions", (404, "not_found")),
        ("GET", "/api//sessions", (404, "not_found")),
        ("GET", "/api/sessions/a/b/c", (404, "not_found")),
        ("GET", "/api/sessions/%2e%2e/%2e%2e/etc/passwd", (404, "not_found")),
        ("GET", "/static/app.py", (404, "not_found")),
        ("GET", "/docs/../app.py", (404, "not_found")),
        ("GET", "/docs/..%2f..%2fapp.py", (404, "not_found")),
        ("PUT", "/api/sessions", (405, "method_not_allowed")),
        ("POST", "/api/sessions/x", (405, "method_not_allowed")),
        ("GET", "/api/sessions/import/export/", (404, "not_found")),
        ("DELETE", "/healthz", (405, "method_not_allowed")),
    ],
)
def test_unknown_paths_and_methods(owner: ApiClient, method: str, path: str, expected: tuple[int, str]) -> None:
    response = owner(method, path)
    assert error_of(response) == expected
    assert ("Allow" in response.headers) is (expected[0] == 405)


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("only its name matters")
    error.sqlite_errorname = name
    return error


def failed_commit(inner: Exception) -> Exception:
    """Return the exception of a failed commit: the rollback fails too, and has the reason as its context."""
    try:
        try:
            raise inner
        except Exception:
            raise peewee.OperationalError("cannot rollback")  # noqa: B904  # the context is what is tested
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(sqlite_error("SQLITE_BUSY"), (503, "database_busy"), marks=pytest.mark.sqlite),
        pytest.param(sqlite_error("SQLITE_BUSY_SNAPSHOT"), (503, "database_busy"), marks=pytest.mark.sqlite),
        pytest.param(sqlite_error("SQLITE_CANTOPEN"), (503, "database_unavailable"), marks=pytest.mark.sqlite),
        pytest.param(sqlite_error("SQLITE_IOERR_WRITE"), (503, "database_unavailable"), marks=pytest.mark.sqlite),
        pytest.param(sqlite_error("SQLITE_CORRUPT"), (503, "database_unavailable"), marks=pytest.mark.sqlite),
        pytest.param(sqlite_error("SQLITE_READONLY_DBMOVED"), (503, "database_unavailable"), marks=pytest.mark.sqlite),
        pytest.param(failed_commit(sqlite_error("SQLITE_FULL")), (507, "disk_full"), marks=pytest.mark.sqlite),
        pytest.param(sqlite_error("SQLITE_FULL"), (507, "disk_full"), marks=pytest.mark.sqlite),
        pytest.param(sqlite_error("SQLITE_ERROR"), (500, "internal_error"), marks=pytest.mark.sqlite),
        (ZeroDivisionError("a secret"), (500, "internal_error")),
    ],
)
def test_exceptions_become_responses(
    owner: ApiClient, error: Exception, expected: tuple[int, str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(session_pages, "list_page", fail)
    monkeypatch.setattr(logging.getLogger("parley"), "propagate", True)
    response = owner.get("/api/sessions", headers={"X-Request-Id": "find-me"})
    assert error_of(response) == expected
    assert response.get_json().keys() == {"error"}
    assert response.headers["X-Request-Id"] == "find-me"
    assert ("Retry-After" in response.headers) is (expected[0] == 503)
    assert bool(caplog.records[0].exc_info) is (expected[0] == 500)  # only bugs get a traceback


def test_every_code_has_a_status() -> None:
    assert set(sqlite.CODE_BY_SQLITE_ERROR.values()) <= set(errors.STATUS_BY_CODE)
    assert errors.CODE_BY_STATUS[404] == "not_found"
    assert errors.CODE_BY_STATUS[413] == "payload_too_large"
