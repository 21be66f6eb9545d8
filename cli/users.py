"""``users``: create, list, change and remove users, and create tokens for scripts."""

from __future__ import annotations

from typing import Any

import click
from flask.cli import AppGroup
from marshmallow import ValidationError
from peewee import IntegrityError

from auth.logins import create_api_token
from auth.passwords import hash_password
from cli.invocation import command_line
from cli.output import describe_details
from database import db
from schemas import CreateUser
from store import deletion, logins, users
from text import printable

user_commands = AppGroup("users", help="Create, list and remove users.")
password_option = click.option(
    "--password",
    envvar="PARLEY_PASSWORD",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="Prompted for if it is missing. On the command line, the shell's history stores it.",
)


@user_commands.command("add")
@click.argument("name")
@password_option
def add_user(name: str, password: str) -> None:
    """Create a user."""
    create_user(name, password)


def create_user(name: str, password: str) -> None:
    """Create a user, and say so.

    Raises:
        click.ClickException: the name or the password is invalid, or the name is taken.

    """
    data = validate_user(username=name, password=password)
    username = data["username"]
    password_hash = hash_password(data["password"])
    try:
        with db.write_transaction():
            users.create(username, password_hash)
    except IntegrityError:
        raise click.ClickException(f"User '{_escape(username)}' already exists.") from None
    click.echo(f"Created the user {_escape(username)}.")


@user_commands.command("list")
def list_users() -> None:
    """List the users, with the time at which each was created."""
    listed = users.list_all()
    for user in listed:
        click.echo(f"{user['created_at']}  {_escape(user['username'])}")
    if not listed:
        click.echo(f"No user yet in {db.location}; create one with: {command_line()} users add NAME", err=True)


@user_commands.command("passwd")
@click.argument("name")
@password_option
def change_password(name: str, password: str) -> None:
    """Set a user's password and revoke all their logins."""
    user = get_user(name)
    password_hash = hash_password(validate_user(password=password)["password"])
    with db.write_transaction():
        users.reset_password(user["id"], password_hash)
        logins.delete_all(user["id"])
    click.echo(f"Changed the password of {_escape(user['username'])}.")


@user_commands.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def remove_user(name: str, yes: bool) -> None:
    """Remove a user with all their logins, sessions and messages."""
    user = get_user(name)
    if not yes:
        click.confirm(f"Remove {_escape(user['username'])} with all their sessions and messages?", abort=True)
    with db.write_transaction(frees_space=True):
        deletion.delete_user(user["id"])
    deletion.erase(pause_factor=4)  # long pauses: a server that waits for this process to commit only polls
    click.echo(f"Removed the user {_escape(user['username'])}.")


@user_commands.command("token")
@click.argument("name")
@click.option(
    "--days", type=click.IntRange(1, 3_650), default=90, show_default=True, help="Days until the token expires."
)
def create_token(name: str, days: int) -> None:
    """Print an access token for a script."""
    with db.write_transaction():
        users.lock(get_user(name)["id"])
        token = create_api_token(get_user(name)["id"], days)  # looked up again: removed before it was locked, perhaps
    click.echo(token)


def get_user(name: str) -> dict[str, Any]:
    """Return the user with this name, in any spelling of it or as ``users list`` shows it.

    Raises:
        click.ClickException: there is no such user.

    """
    is_unicode = name.encode(errors="replace").decode() == name  # else bytes of another encoding, as lone surrogates
    user = users.get_by_name(name) if is_unicode else None
    user = user or next((user for user in users.list_all() if _escape(user["username"]) == name), None)
    if user is None:
        raise click.ClickException(f"There is no user '{_escape(name)}' in {db.location}.")
    return user


def validate_user(**values: str) -> dict[str, str]:
    """Return a user's name and password, or one of them, checked against their limits.

    Raises:
        click.ClickException: a value is invalid; the message names each of them and the reason.

    """
    try:
        loaded: dict[str, str] = CreateUser(partial=True).load(values)
    except ValidationError as error:
        raise click.ClickException(describe_details(error.messages_dict)) from None
    return loaded


def _escape(name: str) -> str:
    r"""Return a name for the terminal: older names may contain control characters or invisible ones.

    A backslash becomes ``\\``, so that no two names look alike.
    """
    return printable(name.replace("\\", "\\\\"))
