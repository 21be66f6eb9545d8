"""What is decided about a request before the app sees it: where it runs, whose it is, whether its body is read."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from flask import Flask
from werkzeug.exceptions import HTTPException

import auth
import errors
from addresses import client_network
from auth.tokens import Claims, bearer_token
from database import db
from store import logins
from web.spec import BACKGROUND, DATABASE, LOOP, WRITER, RouteSpec, spec_of

# A body up to this size is read whoever sends it: that costs no more than a header.
SMALL_BODY_BYTES = 16_384
# The app parses parameters and entity tags of a longer header section for milliseconds.
MAX_INLINE_HEADER_BYTES = 8_192
# Health checks, which are served whatever the load is.
HEALTH_PATHS = ("/healthz", "/readyz")

_VARIABLE = re.compile(r"<(?:(\w+)(?:\(.*?\))?:)?\w+>")  # in a rule, with or without a converter


class Routing:
    """Finds the route of a request and what its ``RouteSpec`` says."""

    def __init__(self, app: Flask):
        self._app = app
        self._urls = app.url_map.bind("")
        self._hops: int = app.config["PARLEY_TRUSTED_PROXIES"]
        patterns: dict[tuple[str, frozenset[str]], list[str]] = {}
        self._unknown = LOOP if db.is_near else DATABASE
        for rule in app.url_map.iter_rules():
            spec = spec_of(app.view_functions[rule.endpoint])
            methods = set(rule.methods or ())
            if getattr(rule, "provide_automatic_options", False):  # Flask responds itself, without the view
                methods.discard("OPTIONS")
            pattern = f"(?:{'|'.join(sorted(methods))}) {_path_pattern(app, rule.rule)}"
            patterns.setdefault((_runs_in(spec), spec.unless), []).append(pattern)
        self._targets = list(patterns)
        self._patterns = re.compile("|".join(f"({'|'.join(each)})" for each in patterns.values()))

    def runs_in(self, request: Any) -> str:
        """Return where the view of a request runs: the loop, the write batcher, or a pool.

        A request that no view handles (404, 405, OPTIONS) is served on the loop, one with a long
        header section in the background. If the database is not near, whatever uses it is served by a thread.
        """
        found = self._patterns.fullmatch(f"{request.command} {_path(request)}")
        if found is None or found.lastindex is None:
            return self._unknown if _path(request).startswith("/api/") else LOOP
        target, unless = self._targets[found.lastindex - 1]
        if target in (LOOP, WRITER) and request.header_bytes > MAX_INLINE_HEADER_BYTES:
            return BACKGROUND
        if unless and request.query and not unless.isdisjoint(name for name, _ in parse_qsl(request.query, True)):
            return BACKGROUND
        return target

    def client_key(self, request: Any, network: str) -> str:
        """Return the key of a request's fair queue: the id of its token's user, or the network that it comes from."""
        header = request.headers.get("AUTHORIZATION")
        if header:
            try:
                claims: Claims = self._app.extensions["verifier"].verify(bearer_token(header))
            except errors.ApiError:
                pass
            else:
                return claims.user_id
        if self._hops and (forwarded := request.headers.get("X_FORWARDED_FOR")):
            hops = forwarded.split(",")
            return client_network(hops[-self._hops].strip()) if len(hops) >= self._hops else network
        return network

    def accepts_body(self, request: Any) -> bool:
        """Return whether to read a request's body, and set the limit of its size.

        A large body is not read if the app would reject the request anyway: the body is larger
        than its route's limit, or there is no valid token. (A request with the refresh cookie alone
        is served without a large body, which no view that takes the cookie has a use for.)
        """
        if not request.chunked and request.content_length <= SMALL_BODY_BYTES:
            return True
        path = _path(request)
        try:
            view = self._app.view_functions[self._urls.match(path, request.command)[0]]
        except HTTPException:
            view = None
        request.max_body_bytes = self._app.config[spec_of(view).body_limit]
        if request.content_length > request.max_body_bytes:
            return False
        try:
            claims = auth.verify(self._app, path, spec_of(view), request.headers.get("AUTHORIZATION", ""))
            if claims and db.is_near:
                db.ensure_connection()
                return logins.is_active(claims.login_id, claims.user_id)
        except errors.ApiError as error:
            return errors.STATUS_BY_CODE[error.code] != 401
        except Exception:
            return True  # the app will report what is wrong with the database
        return True


def _runs_in(spec: RouteSpec) -> str:
    if spec.runs_in in (LOOP, WRITER) and spec.uses_database and not db.is_near:
        return DATABASE
    return spec.runs_in


def _path_pattern(app: Flask, rule: str) -> str:
    return _VARIABLE.sub(lambda variable: app.url_map.converters[variable[1] or "default"].regex, rule)


def _path(request: Any) -> str:
    path: str = request.path.encode("latin-1").decode(errors="replace")  # as Werkzeug decodes it
    return f"/{path.lstrip('/')}"
