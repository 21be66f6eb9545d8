"""The offer of ``python app.py`` to create the first user, on a terminal where somebody can answer."""

from __future__ import annotations

import os
import select
import sys
import time

import click

from cli.users import create_user, validate_user
from store import users

# A terminal may have nobody before it (a container with a terminal alone): then the service starts without a user.
ANSWER_TIMEOUT = 60.0
# A signal that comes right before select() blocks does not wake it, and is handled when it returns.
SIGNAL_DELAY = 0.25


def offer_first_user() -> None:
    """If there is no user yet, ask on the terminal for the name and the password of one; Enter goes on without.

    Raises:
        click.Abort: the password was interrupted.
        KeyboardInterrupt: the name was.

    """
    if not _is_interactive() or users.exists_any():
        return
    click.echo("There is no user yet. Create one, or press Enter to go on without.")
    while name := _ask_name():
        try:
            validate_user(username=name)
            create_user(name, click.prompt("Password", hide_input=True, confirmation_prompt=True))
            return
        except click.ClickException as error:
            error.show()


def _is_interactive() -> bool:
    """Return whether a terminal is both input and output, and this process is in its foreground."""
    try:
        return sys.stdin.isatty() and sys.stdout.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError, ValueError):  # standard input is closed, or another session's terminal
        return False


def _ask_name() -> str:
    """Return the name that is typed, empty if there is none within ANSWER_TIMEOUT."""
    click.echo("Username: ", nl=False)
    deadline = time.monotonic() + ANSWER_TIMEOUT
    while time.monotonic() < deadline:
        if select.select([sys.stdin], (), (), SIGNAL_DELAY)[0]:
            return sys.stdin.buffer.readline().decode(errors="surrogateescape").strip()
    click.echo()
    return ""
