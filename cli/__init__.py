"""The commands: users, backup, copies, export and import, and the API's description."""

from __future__ import annotations

from collections.abc import Callable

import click
from flask import Flask
from flask.cli import FlaskGroup, with_appcontext

from cli.copying import copy_to
from cli.first_user import offer_first_user
from cli.invocation import command_line
from cli.transfer import backup, export_all, import_all
from cli.users import user_commands
from version import VERSION

__all__ = ["command_line", "group", "init_app", "offer_first_user"]

HELP = """The commands of Parley. Without one, python app.py serves.

Create a user first: users add NAME. Options of a command: COMMAND --help.
"""


@click.command("openapi")
@with_appcontext
def write_openapi() -> None:
    """Write openapi.json from the routes and schemas (a developer's command)."""
    try:
        import openapi
    except ImportError as error:
        raise click.ClickException(f"{error.name} is missing: it comes with requirements-dev.txt.") from None
    openapi.write()


@click.command("version")
def show_version() -> None:
    """Show Parley's version."""
    click.echo(f"Parley {VERSION}")


def group(create_app: Callable[[], Flask]) -> FlaskGroup:
    """Return what ``python app.py`` runs if it has a command: the same as ``flask``, but with Parley's version."""
    commands = FlaskGroup(create_app=create_app, load_dotenv=False, add_version_option=False, help=HELP)
    click.version_option(VERSION, prog_name="Parley", message="%(prog)s %(version)s")(commands)
    return commands


def init_app(app: Flask) -> None:
    """Add the commands, and their description to the help of ``flask``."""
    context = click.get_current_context(silent=True)
    if context and isinstance(root := context.find_root().command, FlaskGroup):
        root.epilog = HELP
    for command in (user_commands, backup, copy_to, export_all, import_all, write_openapi, show_version):
        app.cli.add_command(command)
