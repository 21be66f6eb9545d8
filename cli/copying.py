"""``copy-to``: from this database into another one, of either engine."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import with_appcontext

from cli.output import progress_bar
from config import StartupError
from database import create_engine, db, prepare
from database.copying import CopyError, Table, check_empty, copy_database
from database.engine import Engine
from errors import ApiError
from models import TABLES


@click.command("copy-to")
@click.argument("url")
@with_appcontext
def copy_to(url: str) -> None:
    """Copy everything into the empty database at URL: sqlite:///FILE or postgresql://USER@HOST/NAME.

    Servers on both have to be stopped. Leave a password out of URL, or the shell's history stores it: PGPASSWORD or
    ~/.pgpass may have it.
    """
    target = _create_engine(url)
    try:
        target.connect()
        if target.identity() == db.identity():
            raise CopyError(f"{target.location} is the database that is to be copied.")
        existing = set(target.get_tables())
        check_empty(target, [table.name for table in map(Table.of, TABLES) if table.name in existing])
        prepare(target)
        copied = copy_database(db, target, TABLES, progress_bar)
    except CopyError as error:
        raise click.ClickException(f"{error}\nNothing was copied.") from None
    except (ApiError, *db.errors, *target.errors) as error:
        raise click.ClickException(f"The copy to {target.location} has failed: {error}") from None
    finally:
        if not target.is_closed():
            target.close_cleanly()
    for name, content in copied.items():
        click.echo(f"{name:<14} {content.rows:>12,} rows  SHA-256 {content.sha256}")
    click.echo(f"Copied everything to {target.location}. Numbers of rows and digests are the same in both databases.")


def _create_engine(url: str) -> Engine:
    """Return the engine of the target.

    Raises:
        click.ClickException: the URL is wrong; the message does not have it.

    """
    try:
        return create_engine(url, current_app.config)
    except StartupError as error:
        raise click.ClickException(error.message.replace("PARLEY_DATABASE_URL", "URL")) from None
