"""The page's document and files: what they are served with, revalidation, compression, what is no file of theirs."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from routes import pages
from tests.helpers.client import ApiClient, add_user, error_of
from tests.helpers.process import ROOT
from web import static_files
from web.static_files import StaticFolder

LIBRARY = "/static/vendor/marked-18.2.1/marked.esm.js"
GZIP = {"Accept-Encoding": "gzip"}


@pytest.fixture
def folder(app: Flask, tmp_path: Path) -> Path:
    """A folder of files that is served as the page's."""
    folder = tmp_path / "static"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.js").write_text("export const a = 1;\n" * 100)
    (tmp_path / "secret.js").write_text("secret")
    app.extensions["static"] = StaticFolder(folder, pages.FILE_HEADERS)
    return folder


def directives(response: Any) -> dict[str, list[str]]:
    parts = (part.split() for part in response.headers["Content-Security-Policy"].split(";"))
    return {name: values for name, *values in parts}


def test_page_has_a_strict_policy(owner: ApiClient, anonymous: ApiClient) -> None:
    response = anonymous.get("/")
    assert response.content_type == "text/html; charset=utf-8"
    assert response.data == (ROOT / "static" / "index.html").read_bytes()
    assert directives(response) == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["lit-html"],
    }
    assert response.headers["Referrer-Policy"] == "no-referrer"


def test_page_is_isolated_from_who_opens_it_where_browsers_can(anonymous: ApiClient) -> None:
    """Over plain HTTP they ignore the header, and print an error."""
    assert "Cross-Origin-Opener-Policy" not in anonymous.get("/").headers
    secure = anonymous.get("/", base_url="https://parley.example")
    assert secure.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", LIBRARY])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_unchanged_files_are_not_sent_again(anonymous: ApiClient, path: str, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    first = anonymous.get(path, headers=headers)
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    for condition in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        again = anonymous.get(path, headers=headers | {"If-None-Match": condition})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["Cache-Control"] == "no-cache"
        assert again.headers["Vary"] == "Accept-Encoding"
    changed = anonymous.get(path, headers=headers | {"If-None-Match": '"x"'})
    assert (changed.status_code, changed.data) == (200, first.data)
    head = anonymous("HEAD", path, headers=headers)
    assert (head.status_code, head.data) == (200, b"")
    assert {name: head.headers[name] for name in ("ETag", "Content-Length", "Content-Type")} == {
        name: first.headers[name] for name in ("ETag", "Content-Length", "Content-Type")
    }


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("GZIP;q=0.1", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("identity", False),
        ("gzip;q=0, *", False),
    ],
)
def test_files_are_compressed_for_those_who_accept_it(anonymous: ApiClient, accepted: str, compressed: bool) -> None:
    content = (ROOT / LIBRARY.lstrip("/")).read_bytes()
    response = anonymous.get(LIBRARY, headers={"Accept-Encoding": accepted})
    assert response.content_type == "text/javascript; charset=utf-8"
    assert response.headers.get("Content-Encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(response.data) if compressed else response.data) == content
    other = anonymous.get(LIBRARY, headers={"Accept-Encoding": "identity" if compressed else "gzip"})
    assert other.headers["ETag"] != response.headers["ETag"]
    # What one has compressed is not what one would have plain.
    stale = {"Accept-Encoding": accepted, "If-None-Match": other.headers["ETag"]}
    assert anonymous.get(LIBRARY, headers=stale).status_code == 200


def test_what_compression_makes_longer_is_sent_as_it_is(folder: Path, anonymous: ApiClient) -> None:
    (folder / "b.css").write_text("a{}")
    response = anonymous.get("/static/b.css", headers=GZIP)
    assert (response.data, response.content_type) == (b"a{}", "text/css; charset=utf-8")
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        *(
            "nothing.js",
            "sub",
            "sub/",
            "sub/b.js",
            "SUB/a.js",
            "sub/a.js/",
            "sub//a.js",
            "./sub/a.js",
            "sub/../sub/a.js",
        ),
        *("../secret.js", "%2e%2e/secret.js", "..%2fsecret.js", "sub/%2e%2e/%2e%2e/secret.js", "..%5csecret.js"),
        *("%2fetc/passwd", "sub/a.js%00", "link.js/secret.js", "index.html", "notes.md", ".hidden", "x" * 5_000),
    ],
)
def test_no_other_path_is_a_file(folder: Path, anonymous: ApiClient, path: str) -> None:
    for name in ("index.html", "notes.md", ".hidden"):
        (folder / name).write_text("x")
    (folder / "link.js").symlink_to(folder.parent)
    assert anonymous.get("/static/sub/a.js").status_code == 200
    assert error_of(anonymous.get(f"/static/{path}")) == (404, "not_found")


def test_changed_files_are_read_again(folder: Path, anonymous: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_files, "SEARCH_INTERVAL_SECONDS", 0)
    before = anonymous.get("/static/sub/a.js")
    (folder / "sub" / "a.js").write_text("changed")
    after = anonymous.get("/static/sub/a.js", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.data) == (200, b"changed")
    (folder / "sub" / "a.js").write_text("CHANGED")  # as long, and maybe within the same tick of the clock
    os.utime(folder / "sub" / "a.js", ns=(1, 1))
    assert anonymous.get("/static/sub/a.js").data == b"CHANGED"
    (folder / "new.js").write_text("new")
    assert anonymous.get("/static/new.js").data == b"new"
    (folder / "new.js").unlink()
    assert anonymous.get("/static/new.js").status_code == 404


def test_a_page_with_another_policy_is_another_page(
    anonymous: ApiClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers keep the policy that they have when they are told that nothing has changed."""
    before = anonymous.get("/").headers["ETag"]
    monkeypatch.setitem(pages.PAGE_HEADERS, "Content-Security-Policy", "default-src 'self'")
    app.extensions["page"] = pages.FileCache(pages.STATIC / "index.html", pages.Page)
    assert anonymous.get("/", headers={"If-None-Match": before}).status_code == 200


def test_page_says_if_there_is_no_user(app: Flask, anonymous: ApiClient) -> None:
    first = anonymous.get("/", headers=GZIP)
    assert b"<html data-first-start " in gzip.decompress(first.data)
    assert anonymous.get("/", headers=GZIP | {"If-None-Match": first.headers["ETag"]}).status_code == 304
    add_user(app, "owner")
    then = anonymous.get("/", headers=GZIP | {"If-None-Match": first.headers["ETag"]})
    assert then.status_code == 200
    assert b"data-first-start" not in gzip.decompress(then.data)


@pytest.mark.sqlite
def test_page_is_served_without_the_database(anonymous: ApiClient, tmp_path: Path) -> None:
    (tmp_path / "parley.db").rename(tmp_path / "moved.db")
    response = anonymous.get("/")
    assert response.status_code == 200
    assert b"data-first-start" not in response.data
    assert anonymous.get(LIBRARY).status_code == 200


def test_page_needs_no_token_and_takes_a_bad_one(anonymous: ApiClient) -> None:
    for path in ("/", LIBRARY):
        assert anonymous.get(path, headers={"Authorization": "Bearer nonsense"}).status_code == 200
        assert error_of(anonymous.post(path)) == (405, "method_not_allowed")


def test_page_works_below_any_path() -> None:
    html = (ROOT / "static" / "index.html").read_text()
    assert 'src="/' not in html
    assert 'href="/' not in html
