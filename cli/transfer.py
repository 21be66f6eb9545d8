"""``backup``, ``export`` and ``import``: from the database to files, and back."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import click
from flask.cli import with_appcontext

import jsonstream
from cli.output import describe_details, open_output, output_argument, progress_bar
from cli.users import get_user
from database import db
from services import importers, transfer
from store import sessions
from text import printable

COPY_BUFFER_BYTES = 1_048_576


@click.command("backup")
@output_argument
@with_appcontext
def backup(file: str) -> None:
    """Write a copy of the database to FILE (- is standard output), also while the service runs.

    The copy is checked before it replaces FILE. Of PostgreSQL, pg_dump makes backups.
    """
    if command := db.backup_command():
        raise click.ClickException(f"PostgreSQL has a program of its own for backups: {command} > FILE")
    with ExitStack() as stack:
        output = stack.enter_context(open_output(file))
        copy = output.draft
        if copy is None:  # beside the database: there is room for another one, if anywhere
            copy = Path(stack.enter_context(tempfile.NamedTemporaryFile(dir=db.files[0].parent)).name)
        try:
            db.backup(copy)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        size = copy.stat().st_size
        if copy is not output.draft:
            with open(copy, "rb") as source:
                shutil.copyfileobj(source, output.stream, COPY_BUFFER_BYTES)
    output.report(size)


@click.command("export")
@click.argument("name")
@output_argument
@with_appcontext
def export_all(name: str, file: str) -> None:
    """Write all sessions of the user NAME to FILE (- is standard output), one JSON document per line."""
    user_id = get_user(name)["id"]
    count = sessions.count(user_id)
    size = 0
    with open_output(file) as output, progress_bar(count, "Sessions") as bar:
        for piece in transfer.export_all(user_id):
            output.stream.write(piece)
            size += len(piece)
            bar.update(piece.endswith(b"\n"))
    output.report(size)


@click.command("import", help=f"Import FILE (- is standard input), an export of {importers.NAMES}, for the user NAME.")
@click.argument("name")
@click.argument("file", type=click.File("rb"))
@click.option("--duplicate", is_flag=True, help="Import also what the user has already.")
@click.option("--dry-run", is_flag=True, help="Check everything, but write nothing.")
@with_appcontext
def import_all(name: str, file: IO[bytes], duplicate: bool, dry_run: bool) -> None:
    """Import a file's conversations and print a summary."""
    user_id = get_user(name)["id"]
    summary = transfer.ImportSummary()
    problems = []
    with jsonstream.seekable(file) as lines:
        if zipfile.is_zipfile(lines):  # the form in which other programs hand out their exports
            raise click.ClickException("That is a ZIP archive: unpack it, and import the JSON file in it.")
        size = lines.seek(0, os.SEEK_END)
        with progress_bar(size, "Bytes") as bar:
            for report in transfer.import_lines(user_id, lines, duplicate, dry_run):
                if summary.add(report) and report["status"] == "refused":
                    reasons = printable(describe_details(report["details"])) if "details" in report else ""
                    problems.append(f"Line {report['line']}: {report['error']}{reasons and f' ({reasons})'}")
                bar.update(max(lines.tell() - bar.pos, 0))
    counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items())
    click.echo(f"{counts}.{' Dry run: nothing was written.' if dry_run else ''}")
    if summary.left_out:
        click.echo(f"Left out: {', '.join(f'{count} {what}' for what, count in summary.left_out.items())}.")
    if summary.not_listed:
        problems.append(f"And {summary.not_listed:,} more.")
    if problems:
        raise click.ClickException("\n".join(problems))
