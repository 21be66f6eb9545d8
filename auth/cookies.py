"""The refresh token as a cookie, for pages: no script can read it, and no other site can have it used.

Only the views that are marked for it take the cookie, and only from a page of this service itself (OWASP, Cross-Site
Request Forgery Prevention: Fetch Metadata, with the origin where there is none).
"""

from __future__ import annotations

from typing import Any

from flask import Response, after_this_request, current_app, request
from werkzeug.http import dump_cookie

from errors import ApiError

NAME = "parley_refresh"
# A script of another origin can send this header only if this service allows it (CORS), which it does not.
PAGE_HEADER = "X-Parley"


def bearer() -> str:
    """Return the cookie's token as the value of an ``Authorization`` header, empty if there is none to be taken.

    If the token turns out to be of no use, the cookie is cleared.

    Raises:
        ApiError: ``invalid_token`` if there is more than one: another site of the same domain may have set them.

    """
    if not _is_from_our_page():
        return ""
    tokens = request.cookies.getlist(NAME)
    if not tokens:
        return ""
    after_this_request(_clear_if_useless)
    if len(tokens) > 1:
        raise ApiError("invalid_token")
    return f"Bearer {tokens[0]}"


def deliver(pair: dict[str, Any], as_cookie: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the payload and the headers of a response: a pair of tokens, the refresh token ``as_cookie`` or not."""
    if not as_cookie:
        return pair, {}
    lifetime = current_app.config["JWT_REFRESH_TOKEN_EXPIRES"]
    rest = {name: value for name, value in pair.items() if name != "refresh_token"}
    return rest, {"Set-Cookie": _cookie(pair["refresh_token"], int(lifetime.total_seconds()))}


def clear() -> dict[str, str]:
    """Return the header that removes the cookie."""
    return {"Set-Cookie": _cookie("", 0)}


def _clear_if_useless(response: Response) -> Response:
    if response.status_code == 401:
        response.headers.update(clear())
    return response


def _cookie(token: str, max_age: int) -> str:
    """Return a ``Set-Cookie`` header; the path is as the browser has it, if a proxy in front serves a sub-path."""
    path = f"{request.root_path}/api/auth"
    return dump_cookie(
        NAME, token, max_age=max_age, path=path, secure=request.is_secure, httponly=True, samesite="Strict", max_size=0
    )


def _is_from_our_page() -> bool:
    """Return whether a page of this very origin has sent the request.

    Browsers send ``Sec-Fetch-Site`` to https and to this machine only, and ``Origin`` with every POST.
    """
    headers = request.headers
    if headers.get(PAGE_HEADER) != "page":
        return False
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    # Without the port that is the scheme's own, as browsers write it.
    return bool(request.host) and headers.get("Origin") == f"{request.scheme}://{request.host.lower()}"
