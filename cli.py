"""The commands: users, tokens, backup, export and import, and the API's description."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import click
from flask import Flask
from flask.cli import AppGroup, FlaskGroup, with_appcontext
from marshmallow import ValidationError
from peewee import IntegrityError

import jsonstream
from auth.logins import create_api_token
from auth.passwords import hash_password
from database import db
from ids import new_id
from schemas import CreateUser
from services import importers, transfer
from store import deletion, logins, sessions, users
from text import printable
from version import VERSION

APP = Path(__file__).with_name("app.py")

COPIED_BYTES = 1_048_576

user_commands = AppGroup("users", help="Make, list and remove users.")
password_option = click.option(
    "--password",
    envvar="PARLEY_PASSWORD",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="Asked for where it is not given; in the shell's history where it is.",
)


def _validate(**given: str) -> dict[str, str]:
    """Return a user's name and password, or one of them, checked against their limits."""
    try:
        loaded: dict[str, str] = CreateUser(partial=True).load(given)
    except ValidationError as error:
        problems = (f"{name}: {' '.join(messages)}" for name, messages in error.messages_dict.items())
        raise click.ClickException("; ".join(problems)) from None
    return loaded


def _get_user(name: str) -> dict[str, Any]:
    """Return the user with this name, exact or spelled as it is listed."""
    given = name.encode(errors="replace").decode()
    user = users.get_by_name(name) if given == name else None
    user = user or next((user for user in users.list_all() if _escaped(user["username"]) == name), None)
    if user is None:
        raise click.ClickException(f"There is no user '{_escaped(name)}' in {db.location}.")
    return user


def _escaped(name: str) -> str:
    r"""Return a name as it is shown: an older one may have characters that are not to be seen, or forge lines.

    ``\\`` stands for a backslash, so that no two names are shown alike.
    """
    return printable(name.replace("\\", "\\\\"))


@user_commands.command("add")
@click.argument("name")
@password_option
def add_user(name: str, password: str) -> None:
    """Make a user."""
    data = _validate(username=name, password=password)
    username = data["username"]
    password_hash = hash_password(data["password"])
    try:
        with db.write_transaction():
            users.create(username, password_hash)
    except IntegrityError:
        raise click.ClickException(f"There is a user '{_escaped(username)}' already.") from None
    click.echo(f"Made the user {_escaped(username)}.")


@user_commands.command("list")
def list_users() -> None:
    """List the users, with the time at which each was made."""
    listed = users.list_all()
    for user in listed:
        click.echo(f"{user['created_at']}  {_escaped(user['username'])}")
    if not listed:
        click.echo(f"No user yet in {db.location}; create one with: {command_line()} users add NAME", err=True)


@user_commands.command("passwd")
@click.argument("name")
@password_option
def change_password(name: str, password: str) -> None:
    """Set a user's password and revoke all their logins."""
    user = _get_user(name)
    password_hash = hash_password(_validate(password=password)["password"])
    with db.write_transaction():
        users.reset_password(user["id"], password_hash)
        logins.delete_all(user["id"])
    click.echo(f"Changed the password of {_escaped(user['username'])}.")


@user_commands.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_user(name: str, yes: bool) -> None:
    """Remove a user with all their logins, sessions and messages."""
    user = _get_user(name)
    if not yes:
        click.confirm(f"Remove {_escaped(user['username'])} with all their sessions and messages?", abort=True)
    with db.write_transaction(frees_space=True):
        deletion.delete_user(user["id"])
    deletion.erase(rest=4)  # a server that waits for this process looks only now and then
    click.echo(f"Removed the user {_escaped(user['username'])}.")


@user_commands.command("token")
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3_650), default=90, show_default=True, help="How long it lives.")
def make_token(name: str, days: int) -> None:
    """Print an access token for a script."""
    click.echo(create_api_token(_get_user(name)["id"], days))


class Output(NamedTuple):
    """Where a command writes to; ``draft`` is the file that will take the name, None if it is written directly."""

    name: str
    stream: IO[bytes]
    draft: Path | None = None

    def tell(self, size: int) -> None:
        """Say how much was written, but not in the middle of it."""
        name = "standard output" if self.name == "-" else self.name
        click.echo(f"Wrote {name}, {size:,} bytes.", err=self.stream is sys.stdout.buffer)


output_argument = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))


@contextmanager
def _output(file: str) -> Iterator[Output]:
    """Open what is to be written to: a file, whole or not at all, or a device, a FIFO or standard output.

    What was in a file before stays until the new content is complete; of a symlink, that is its target.
    """
    try:
        if any(os.path.exists(file) and each.exists() and each.samefile(file) for each in db.files):
            raise click.ClickException("That is the database itself.")
        status = None if file == "-" or not os.path.exists(file) else os.stat(file)
        if file == "-" or (status and _is_stdout(status)):
            yield Output(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        elif status and not stat.S_ISREG(status.st_mode):
            with open(file, "wb") as stream:
                yield Output(file, stream)
        else:
            target = Path(os.path.realpath(file))
            if target.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            draft = target.with_name(f".{target.name}.{new_id()}")
            try:
                with open(draft, "xb", opener=_open_private) as stream:
                    yield Output(file, stream, draft)
                    stream.flush()
                    os.fsync(stream.fileno())
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}.") from None


def _is_stdout(status: os.stat_result) -> bool:
    """Return whether this is standard output by another name, such as /dev/stdout."""
    try:
        return os.path.samestat(status, os.fstat(1))
    except OSError:  # it is closed
        return False


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@click.command("backup")
@output_argument
@with_appcontext
def backup(file: str) -> None:
    """Write a copy of the database to FILE (- is standard output), also while the service runs.

    The copy is checked before it takes the name; what was at FILE before stays until then.
    """
    with ExitStack() as stack:
        out = stack.enter_context(_output(file))
        copy = out.draft
        if copy is None:  # beside the database: there is room for another one, if anywhere
            copy = Path(stack.enter_context(tempfile.NamedTemporaryFile(dir=db.path.parent)).name)
        try:
            db.backup(copy)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        size = copy.stat().st_size
        if copy is not out.draft:
            with open(copy, "rb") as source:
                shutil.copyfileobj(source, out.stream, COPIED_BYTES)
    out.tell(size)


def _progress(length: int, label: str) -> Any:
    """Return a bar that shows how far a command is, where there is a terminal to show it on."""
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


@click.command("export")
@click.argument("name")
@output_argument
@with_appcontext
def export_all(name: str, file: str) -> None:
    """Write all sessions of the user NAME to FILE (- is standard output), a document a line."""
    user_id = _get_user(name)["id"]
    count = sessions.count(user_id)
    size = 0
    with _output(file) as out, _progress(count, "Sessions") as bar:
        for piece in transfer.export_all(user_id):
            out.stream.write(piece)
            size += len(piece)
            bar.update(piece.endswith(b"\n"))
    out.tell(size)


@click.command("import", help=f"Import FILE (- is standard input), an export of {importers.NAMES}, for the user NAME.")
@click.argument("name")
@click.argument("file", type=click.File("rb"))
@click.option("--duplicate", is_flag=True, help="Import also what the user has already.")
@click.option("--dry-run", is_flag=True, help="Check it all, and write nothing.")
@with_appcontext
def import_all(name: str, file: IO[bytes], duplicate: bool, dry_run: bool) -> None:
    """Import a file's conversations and say what became of them."""
    user_id = _get_user(name)["id"]
    summary = transfer.ImportSummary()
    problems = []
    with jsonstream.seekable(file) as lines:
        if zipfile.is_zipfile(lines):  # which is how these exports come
            raise click.ClickException("That is a ZIP archive: unpack it, and import the JSON file in it.")
        size = lines.seek(0, os.SEEK_END)
        with _progress(size, "Bytes") as bar:
            for report in transfer.import_lines(user_id, lines, duplicate, dry_run):
                if summary.add(report) and report["status"] == "refused":
                    problems.append(f"Line {report['line']}: {report['error']} {report.get('details', '')}")
                bar.update(max(lines.tell() - bar.pos, 0))
    counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items())
    click.echo(f"{counts}.{' This was a rehearsal: nothing is written.' if dry_run else ''}")
    if summary.left_out:
        click.echo(f"Left out: {', '.join(f'{count} {what}' for what, count in summary.left_out.items())}.")
    if summary.not_listed:
        problems.append(f"And {summary.not_listed:,} more.")
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


@click.command("version")
def show_version() -> None:
    """Show Parley's version."""
    click.echo(f"Parley {VERSION}")


def group(create_app: Callable[[], Flask]) -> FlaskGroup:
    """Return what ``python app.py`` runs where it is given a command: the same as ``flask``, but with our version."""
    commands = FlaskGroup(create_app=create_app, load_dotenv=False, add_version_option=False, help=HELP)
    click.version_option(VERSION, prog_name="Parley", message="%(prog)s %(version)s")(commands)
    return commands


def command_line() -> str:
    """Return how ``flask`` is called here, for a hint: from this folder, with the packages of this Python."""
    beside = Path(sys.executable).with_name("flask")
    found = shutil.which("flask")
    if found and (Path(found) == beside or not beside.exists()):
        flask = "flask"
    elif beside.exists():
        flask = shlex.quote(os.path.relpath(beside))
    else:
        flask = f"{shlex.quote(sys.executable)} -m flask"
    return flask if Path.cwd() == APP.parent else f"{flask} --app {shlex.quote(str(APP))}"


HELP = """The commands of Parley. Without one, python app.py serves.

Make a user first: users add NAME. What a command takes: COMMAND --help.
"""


def init_app(app: Flask) -> None:
    """Add the commands to ``flask``, and say in its help what they are."""
    context = click.get_current_context(silent=True)
    if context and isinstance(root := context.find_root().command, FlaskGroup):
        root.epilog = HELP
    for command in (user_commands, backup, export_all, import_all, write_openapi, show_version):
        app.cli.add_command(command)
