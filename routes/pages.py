"""The page that people use, and its files. Its places are fragments, so that no route and no log line knows them."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState

from auth import public
from database import db
from errors import ApiError
from store import users
from web.decorators import inline
from web.static_files import FileCache, Representation, StaticFolder

STATIC = Path(__file__).parent.parent / "static"

# Nothing but the page's own files, and no text that becomes markup or script: the browser enforces it. The one policy
# of Trusted Types is the one that the template library has for its own, constant templates.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types lit-html"
)
PAGE_HEADERS = {
    "Content-Security-Policy": CSP,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
}
FILE_HEADERS = {"Cross-Origin-Resource-Policy": "same-origin"}

blueprint = Blueprint("pages", __name__)


class Page:
    """The page's document: as it is, and as long as nobody can log in, with a mark that says so."""

    def __init__(self, html: bytes):
        self.usual = Representation(html, "text/html; charset=utf-8", PAGE_HEADERS)
        marked = html.replace(b"<html", b"<html data-first-start", 1)
        self.first_start = Representation(marked, "text/html; charset=utf-8", PAGE_HEADERS)


@blueprint.record_once
def find_files(state: BlueprintSetupState) -> None:
    """Make the files known; the server reads them before it listens, so that no request waits for that."""
    state.app.extensions["page"] = FileCache(STATIC / "index.html", Page)
    state.app.extensions["static"] = StaticFolder(STATIC, FILE_HEADERS)


@blueprint.get("/")
@public
@inline
def get_page() -> Response:
    """Get the page."""
    page: Page | None = current_app.extensions["page"].get()
    if page is None:
        raise ApiError("not_found")
    response = (page.first_start if is_first_start() else page.usual).respond()
    if request.is_secure:  # elsewhere a browser ignores it, and says so in the console
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


@blueprint.get("/static/<path:path>")
@public
@inline(uses_database=False)
def get_file(path: str) -> Response:
    """Get a file of the page."""
    file: Representation | None = current_app.extensions["static"].get(path)
    if file is None:
        raise ApiError("not_found")
    return file.respond()


def is_first_start() -> bool:
    """Return whether there is no user; False if the database cannot tell."""
    try:
        db.ensure_connection()
        return not users.exists_any()
    except (ApiError, *db.errors):
        return False
