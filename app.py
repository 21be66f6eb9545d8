"""Parley: a self-hosted HTTP service that stores chat sessions. ``python app.py`` serves it."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Rule

import auth
import cli
import config as settings
import database
import errors
import logs
import routes
import server
import services


class MatchedRule(Rule):
    """A route that requests are matched with, and no URL is built of: to prepare that takes half of ``create_app``."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., Any]:
        return lambda *_, **__: None  # as for values that the route does not take


class App(Flask):
    """Flask, without what it does for views that are coroutines, and for URLs that are built."""

    url_rule_class = MatchedRule

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function as it is: none is a coroutine, and finding that out takes 2 µs, eight times a request."""
        return func

    def dispatch_request(self) -> Any:
        """Call the view, and check what is required (the login) if no query of the view has done so."""
        db = database.db
        try:
            return super().dispatch_request()
        except db.errors:
            db.drop_requirement()  # the response has nothing of the user's, and a check would wait again
            raise
        finally:
            db.check_requirement()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the app: settings, logs, database, tokens, errors, routes, commands, steps before a request, services.

    ``config`` overrides settings by their names (``PARLEY_DATA_DIR``…) and may have Flask's own.

    Raises:
        config.StartupError: a setting is wrong or the database cannot be used.

    """
    app = App(__name__, static_folder=None)
    app.config.update(settings.load(config))
    app.url_map.merge_slashes = False  # a path that does not exist is a 404, not a redirect
    if hops := app.config["PARLEY_TRUSTED_PROXIES"]:
        # Each proxy adds an address; of what the browser asked for there is one value, which the next one passes on.
        app.wsgi_app = ProxyFix(app.wsgi_app, hops, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    for module in (logs, database, auth, errors, routes, cli):
        module.init_app(app)
    # The id comes first, for all errors. A token is verified without the database, so that a bad one is a 401
    # whatever state that is in; then a request whose group failed gets its group's error before it reads anything.
    for step in (logs.start_request, auth.verify_token, server.raise_group_error, auth.check_login):
        app.before_request(step)
    if not settings.is_command():  # a command needs no actions, docs or model, and works if they are wrong
        services.init_app(app)
        settings.warn_of_unknown(action.secret_env for action in app.extensions["services"].actions.values())
    return app


def main() -> None:
    """Serve until a signal ends the process, or run a command, from any folder."""
    if sys.argv[1:]:
        cli.group(create_app).main()
    try:
        app = create_app()
        cli.offer_first_user()
        server.serve(app)
    except (click.Abort, KeyboardInterrupt):  # while it starts; the server handles its signals itself
        click.echo(err=True)
        sys.exit(128 + signal.SIGINT)
    except click.ClickException as error:
        logs.announce(f"Error: {error.format_message()}", settings.log_format(), logging.ERROR)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
