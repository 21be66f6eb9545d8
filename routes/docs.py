"""The description of the API, and a page to read and try it, with no file from another host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app
from flask_swagger_ui import get_swaggerui_blueprint

OPENAPI_FILE = Path(__file__).parent.parent / "openapi.json"

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
    """Make the browser block what the page would fetch from another host."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; frame-ancestors 'none'"
    )
    return response
