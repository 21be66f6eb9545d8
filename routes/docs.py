"""The description of the API, and a page to read and try it, with no file from another host."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app
from flask_swagger_ui import get_swaggerui_blueprint

OPENAPI_FILE = Path(__file__).parent.parent / "openapi.json"
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

blueprint = Blueprint("docs", __name__)
swagger_ui: Any = get_swaggerui_blueprint(
    "/docs",
    "/openapi.json",
    # By default the page sends the description to a public validator, and builds the URL of its own redirect
    # from the request's Host header.
    config={"app_name": "Parley", "validatorUrl": None, "oauth2RedirectUrl": "/docs/oauth2-redirect.html"},
)
blueprint.register_blueprint(swagger_ui)


@blueprint.get("/openapi.json")
def get_openapi() -> Response:
    """Get this description of the API."""
    return Response(OPENAPI_FILE.read_bytes(), mimetype="application/json")


@blueprint.get("/docs")
def get_docs() -> Any:
    """Get the page to read this description and try the API."""
    return current_app.view_functions["docs.swagger_ui.show"]()


@blueprint.after_request
def set_csp(response: Response) -> Response:
    """Have the browser run the page's own scripts alone, and load nothing from another host."""
    if response.mimetype == "text/html":
        hashes = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(response.get_data()))
        inline = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes)
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' {inline}; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    return response
