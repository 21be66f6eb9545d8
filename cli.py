"""The commands: users, tokens, backup, export and import, and the API's description."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from pathlib import Path
from typing import IO, Any

import click
from flask import Flask
from flask.cli import AppGroup, with_appcontext
from marshmallow import ValidationError
from peewee import IntegrityError

import auth
from database import db
from models import Login, Session, User
from schemas import NewUser
from services import transfer
from store import deletion
from values import new_id, now

users = AppGroup("users", help="Make, list and remove users.")
password_option = click.option(
    "--password",
    envvar="PARLEY_PASSWORD",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="Asked for where it is not given; in the shell's history where it is.",
)


def _checked(**given: str) -> dict[str, str]:
    """Return a user's name and password, or one of them, checked against their limits."""
    try:
        loaded: dict[str, str] = NewUser(partial=True).load(given)
    except ValidationError as error:
        problems = (f"{name}: {' '.join(messages)}" for name, messages in error.messages_dict.items())
        raise click.ClickException("; ".join(problems)) from None
    return loaded


def _find(name: str) -> User:
    user: User | None = User.get_or_none(User.name_key == User.key(name))
    if user is None:
        raise click.ClickException(f"There is no user {name!r}.")
    return user


@users.command("add")
@click.argument("name")
@password_option
def add_user(name: str, password: str) -> None:
    """Make a user."""
    data = _checked(username=name, password=password)
    username = User.normalized(data["username"])
    password_hash = auth.hash_password(data["password"])
    try:
        with db.writing():
            User.insert(
                id=new_id(),
                username=username,
                name_key=User.key(username),
                password_hash=password_hash,
                created_at=now(),
            ).execute()
    except IntegrityError:
        raise click.ClickException(f"There is a user {username!r} already.") from None
    click.echo(f"Made the user {username}.")


@users.command("list")
def list_users() -> None:
    """List the users, with the time at which each was made."""
    for user in User.existing().order_by(User.name_key):
        click.echo(f"{user.created_at}  {user.username}")


@users.command("passwd")
@click.argument("name")
@password_option
def change_password(name: str, password: str) -> None:
    """Set a user's password and revoke all their logins."""
    user = _find(name)
    password_hash = auth.hash_password(_checked(password=password)["password"])
    with db.writing():
        User.update(password_hash=password_hash).where(User.id == user.id).execute()
        Login.delete().where(Login.user == user.id).execute()
    click.echo(f"Changed the password of {user.username}.")


@users.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_user(name: str, yes: bool) -> None:
    """Remove a user with all their logins, sessions and messages."""
    user = _find(name)
    if not yes:
        click.confirm(f"Remove {user.username} with all their sessions and messages?", abort=True)
    deletion.delete_user(user.id)
    deletion.erase(rest=4)  # a server that waits for this process looks only now and then
    click.echo(f"Removed the user {user.username}.")


@users.command("token")
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3_650), default=90, show_default=True, help="How long it lives.")
def make_token(name: str, days: int) -> None:
    """Print an access token for a script."""
    click.echo(auth.script_token(_find(name).id, days))


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_appcontext
def backup(file: Path) -> None:
    """Write a copy of the database to FILE, also while the service runs.

    The copy is checked before it takes the name; what was at FILE before stays until then.
    """
    if file.exists() and file.samefile(db.path):
        raise click.ClickException("That is the database itself.")
    draft = file.with_name(f".{file.name}.{new_id()}")
    try:
        draft.touch(mode=0o600, exist_ok=False)  # VACUUM INTO takes an empty file, and keeps its mode
        db.execute_sql("VACUUM INTO ?", (str(draft),))
        copy = sqlite3.connect(draft)
        try:
            (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
            broken = copy.execute("PRAGMA foreign_key_check").fetchone()
        finally:
            copy.close()
        if verdict != "ok" or broken:
            raise click.ClickException(f"The copy is not sound: {broken or verdict}.")
        descriptor = os.open(draft, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        draft.replace(file)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)
    click.echo(f"Wrote {file}, {file.stat().st_size:,} bytes.")


@click.command("export")
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_appcontext
def export_all(name: str, file: Path) -> None:
    """Write all sessions of the user NAME to FILE, a document a line."""
    user_id = _find(name).id
    draft = file.with_name(f".{file.name}.{new_id()}")
    count = Session.select().where(Session.user == user_id).count()
    try:
        with open(draft, "xb", opener=_private) as out, click.progressbar(length=count, label="Sessions") as bar:
            for piece in transfer.export_all(user_id):
                out.write(piece)
                bar.update(piece.endswith(b"\n"))
        draft.replace(file)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)
    click.echo(f"Wrote {file}, {file.stat().st_size:,} bytes.")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@click.command("import")
@click.argument("name")
@click.argument("file", type=click.File("rb"))
@click.option("--duplicate", is_flag=True, help="Import also what the user has already.")
@with_appcontext
def import_all(name: str, file: IO[bytes], duplicate: bool) -> None:
    """Import FILE for the user NAME: Parley's own lines, or an export of ChatGPT, Open WebUI or LibreChat."""
    user_id = _find(name).id
    counts: Counter[str] = Counter()
    problems = []
    left_out: Counter[str] = Counter()
    size = os.fstat(file.fileno()).st_size if file.seekable() else None
    bar: Any
    with click.progressbar(length=size, label="Bytes") as bar:
        for report in transfer.take_in(user_id, file, duplicate):
            counts[report["status"]] += 1
            left_out.update(report.get("left_out", {}))
            if report["status"] == "refused":
                problems.append(f"Line {report['line']}: {report['error']} {report.get('details', '')}")
            bar.update(file.tell() - bar.pos if size else 0)
    click.echo(f"{counts['imported']} imported, {counts['skipped']} skipped, {counts['refused']} refused.")
    if left_out:
        click.echo(f"Left out: {', '.join(f'{count} {what}' for what, count in left_out.items())}.")
    if problems:
        raise click.ClickException("\n".join(problems))


@click.command("openapi")
@with_appcontext
def write_openapi() -> None:
    """Write openapi.json anew from the routes and schemas (a developer's command)."""
    try:
        import openapi
    except ImportError as error:
        raise click.ClickException(f"{error.name} is missing: it comes with requirements-dev.txt.") from None
    openapi.write()


def init_app(app: Flask) -> None:
    """Add the commands to ``flask``."""
    app.cli.add_command(users)
    app.cli.add_command(backup)
    app.cli.add_command(export_all)
    app.cli.add_command(import_all)
    app.cli.add_command(write_openapi)
