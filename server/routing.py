"""What the routes say of a request before the app sees it: its pool, whose it is, and whether to take its body."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from werkzeug.exceptions import HTTPException

import auth
import errors
from addresses import client_network
from database import db
from models import Login

# A body up to this size is taken in whoever sends it: that is no dearer than a head.
SMALL_BODY_BYTES = 16_384
# Answered whatever the load is.
HEALTH = ("/healthz", "/readyz")


class Routing:
    """Looks requests up in the app's routes."""

    def __init__(self, app: Flask):
        self._app = app
        self._urls = app.url_map.bind("")
        self._hops: int = app.config["PARLEY_TRUSTED_PROXIES"]
        rules: dict[str, list[str]] = {}
        for rule in app.url_map.iter_rules():
            pool = getattr(app.view_functions[rule.endpoint], "pool", None)
            if pool:
                methods = "|".join(sorted(rule.methods or ()))
                rules.setdefault(pool, []).append(f"(?:{methods}) {re.sub('<[^>]+>', '[^/]+', rule.rule)}")
        self._pools = re.compile("|".join(f"(?P<{pool}>{'|'.join(paths)})" for pool, paths in rules.items()))

    def pool(self, request: Any) -> str | None:
        """Return the name of the pool that the view of a request waits in, if it does."""
        found = self._pools.fullmatch(f"{request.command} {_path(request)}")
        return found.lastgroup if found else None

    def caller(self, request: Any, network: str) -> str:
        """Return the id of the user whose token a request has, else the network that it comes from."""
        header = request.headers.get("AUTHORIZATION")
        if header:
            try:
                claims: auth.Claims = self._app.extensions["verifier"].claims(auth.bearer(header))
            except errors.ApiError:
                pass
            else:
                return claims.user_id
        if self._hops and (forwarded := request.headers.get("X_FORWARDED_FOR")):
            hops = forwarded.split(",")
            return client_network(hops[-self._hops].strip()) if len(hops) >= self._hops else network
        return network

    def admits(self, request: Any) -> bool:
        """Return whether to take a request's body, and note how large it may be.

        A large one is refused after the head where the app would refuse it in the end: it is more
        than its route takes, or has no good token.
        """
        if not request.chunked and request.content_length <= SMALL_BODY_BYTES:
            return True
        path = _path(request)
        try:
            view = self._app.view_functions[self._urls.match(path, request.command)[0]]
        except HTTPException:
            view = None
        request.max_body = self._app.config[getattr(view, "limit", "PARLEY_MAX_BODY_BYTES")]
        if request.content_length > request.max_body:
            return False
        try:
            claims = auth.check_token(self._app, path, view, request.headers.get("AUTHORIZATION", ""))
            if claims:
                db.prepare()
                return Login.alive(claims.login_id, claims.user_id)
        except errors.ApiError as error:
            return errors.STATUS[error.code] != 401
        except Exception:
            return True  # it is for the app to say what is wrong with the database
        return True


def _path(request: Any) -> str:
    path: str = request.path.encode("latin-1").decode(errors="replace")  # as Werkzeug takes it
    return f"/{path.lstrip('/')}"
