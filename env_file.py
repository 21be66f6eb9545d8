"""The file ``.env``: settings that the environment does not have."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click
from dotenv import dotenv_values, find_dotenv
from flask.cli import ScriptInfo
from flask.helpers import get_load_dotenv

FILE_SUFFIX = "_FILE"
"""Of the second form of each setting, which names a file with its value."""


def load_env_file(path: Path, prefix: str, names: Iterable[str]) -> None:
    """Add the variables of ``path`` to the environment; what the environment already has wins.

    Flask does the same for its own command, but with the nearest ``.env`` and ``.flaskenv`` at or above
    the working directory, before any of our code runs. Only Parley's own file may set its variables, or
    ``flask`` and ``python app.py`` would use two databases. FLASK_SKIP_DOTENV=1 disables both.

    ``prefix`` is that of Parley's variables, ``names`` are those of its settings.

    Raises:
        ValueError: the file cannot be read, or Flask has read variables of Parley from another one.

    """
    if not get_load_dotenv():
        return
    try:
        _reject_other_files(path, prefix)
        values = dotenv_values(path)
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} cannot be read: it is not UTF-8.") from None
    for name, value in values.items():
        if value is not None:
            os.environ.setdefault(name, value)
    for setting in names:  # if each has one of the two forms of a setting, the environment wins too
        forms = {setting, setting + FILE_SUFFIX}
        in_file = forms & values.keys()
        if len(in_file) == 1 and forms <= os.environ.keys():
            (name,) = in_file
            if os.environ[name] == values[name]:
                del os.environ[name]


def _reject_other_files(path: Path, prefix: str) -> None:
    context = click.get_current_context(silent=True)
    info = context and context.find_root().obj
    if not (isinstance(info, ScriptInfo) and info.load_dotenv_defaults):
        return
    for default_name in (".env", ".flaskenv"):
        other = find_dotenv(default_name, usecwd=True)
        if other and not (path.exists() and path.samefile(other)):
            for name in dotenv_values(other):
                if name.startswith(prefix):
                    raise ValueError(f"{other} has {name!r}, which python app.py would not see: put it into {path}.")
