"""Every setting once: its name, type, default, limits and meaning.

Settings come from the environment, and from the file ``.env`` beside ``app.py`` where the environment
does not have them. Any of them may come from a file instead, named by the same variable with ``_FILE``
behind it (a Docker secret, say).
"""

from __future__ import annotations

import difflib
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from dotenv import dotenv_values, find_dotenv
from environs import EnvError, FileAwareEnv
from flask.cli import FlaskGroup, ScriptInfo
from flask.helpers import get_load_dotenv
from marshmallow import ValidationError
from marshmallow.validate import Length, OneOf, Range, Regexp

ENV_FILE = Path(__file__).parent / ".env"
PREFIX, FILE_SUFFIX = "PARLEY_", "_FILE"

log = logging.getLogger("parley")


class StartupError(click.ClickException):
    """What keeps the service from starting, in words for its operator."""


def listening_host(value: str) -> None:
    """Check the host that is listened on: an address, a name that has one, or ``*`` for all.

    Raises:
        ValidationError: where no address is found for it.

    """
    try:
        socket.getaddrinfo(None if value == "*" else value.strip("[]"), 0)
    except (OSError, UnicodeError):  # the second for a name that no resolver would take
        raise ValidationError("Neither an address nor a name that has one.") from None


def http_url(value: str) -> str:
    """Check a URL that requests are sent to; an empty one is none.

    Raises:
        ValidationError: for anything but http or https to a host, or with a query or a fragment.

    """
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not value:
        return value
    if not good or parts.query or parts.fragment or not value.isascii() or not value.isprintable() or " " in value:
        raise ValidationError("Not of the form http://HOST:PORT/PATH.")
    return value


def api_url(value: str) -> str:
    """Check the URL of an API whose paths are put behind it."""
    if value.rstrip("/").endswith("/chat/completions"):
        raise ValidationError("Without /chat/completions: that is put behind it.")
    return http_url(value)


@dataclass(frozen=True)
class Setting:
    """One setting: ``parser`` is the name of the one of environs that reads it."""

    name: str
    parser: str
    default: Any
    description: str
    validate: Callable[[Any], Any] | None = None


SETTINGS = (
    Setting("PARLEY_HOST", "str", "127.0.0.1", "Address to listen on.", listening_host),
    Setting("PARLEY_PORT", "int", 8080, "Port to listen on; 0 takes any free one.", Range(0, 65_535)),
    Setting("PARLEY_DATA_DIR", "str", "data", "Folder of the database and of the generated secret.", Length(1)),
    Setting(
        "PARLEY_DATABASE_URL",
        "str",
        None,
        "`sqlite:///relative/path` or `sqlite:////absolute/path`; unset: `parley.db` in the data folder.",
    ),
    Setting(
        "PARLEY_JWT_SECRET_KEY",
        "str",
        None,
        "Signs the tokens, at least 32 characters; unset: made once, kept in the data folder.",
        Length(32),
    ),
    Setting("PARLEY_ACCESS_TOKEN_MINUTES", "int", 15, "Life of an access token.", Range(1, 525_600)),
    Setting("PARLEY_REFRESH_TOKEN_DAYS", "int", 30, "Life of a refresh token.", Range(1, 3_650)),
    Setting("PARLEY_MAX_BODY_BYTES", "int", 1_048_576, "Largest request body.", Range(1_024, 1_073_741_824)),
    Setting("PARLEY_MAX_IMPORT_BYTES", "int", 67_108_864, "Largest import.", Range(1_024, 1_073_741_824)),
    Setting(
        "PARLEY_THREADS",
        "int",
        8,
        "Threads for what takes its time: imports, searches, long exports. Most else needs none.",
        Range(1, 256),
    ),
    Setting("PARLEY_SYSTEM_PROMPT", "str", None, "The base identity prompt: the first that a model is sent."),
    Setting(
        "PARLEY_DOCS_DIR",
        "str",
        None,
        "Folder of Markdown (runbooks, say); the sections that fit a question best go into the prompt.",
    ),
    Setting(
        "PARLEY_DOCS_CHARS",
        "int",
        8_000,
        "Most characters of those sections in a prompt, with all that is put round them.",
        Range(100, 1_000_000),
    ),
    Setting("PARLEY_ACTIONS_FILE", "str", None, "TOML file of the webhook actions that users may fire."),
    Setting(
        "PARLEY_LLM_BASE_URL",
        "str",
        None,
        "An OpenAI-compatible API, `http://127.0.0.1:11434/v1` say; unset: no chat.",
        api_url,
    ),
    Setting(
        "PARLEY_LLM_API_KEY",
        "str",
        None,
        "Its key, sent as a bearer token.",
        Regexp(r"[\x21-\x7e]*\Z", error="Not a key: letters, digits and signs only."),
    ),
    Setting("PARLEY_LLM_MODEL", "str", None, "The model asked for; unset: whichever the API takes by itself."),
    Setting(
        "PARLEY_LLM_CONTEXT_CHARS",
        "int",
        32_000,
        "Most characters of the conversation in a prompt; its oldest messages are left out first.",
        Range(1, 100_000_000),
    ),
    Setting("PARLEY_LLM_TIMEOUT_SECONDS", "int", 300, "Longest that an answer may take in all.", Range(1, 86_400)),
    Setting("PARLEY_MAX_STREAMS", "int", 64, "Most chats at once, each a thread; three of one user.", Range(1, 1_024)),
    Setting(
        "PARLEY_TRUSTED_PROXIES",
        "int",
        0,
        "How many proxies in front may name the client's address (`X-Forwarded-For`).",
        Range(0, 16),
    ),
    Setting(
        "PARLEY_SQLITE_SYNCHRONOUS",
        "str",
        "FULL",
        "`FULL` keeps every acknowledged write through a power cut; `NORMAL` only through a crash.",
        OneOf(("FULL", "NORMAL", "EXTRA")),
    ),
    Setting(
        "PARLEY_LOG_LEVEL",
        "str",
        "INFO",
        "`INFO` logs a line a request; `WARNING` and `ERROR` only what goes wrong.",
        OneOf(("DEBUG", "INFO", "WARNING", "ERROR")),
    ),
    Setting("PARLEY_LOG_FORMAT", "str", "text", "`text` or `json`.", OneOf(("text", "json"))),
)

COMMAND_SETTINGS = frozenset(
    (
        "PARLEY_DATA_DIR",
        "PARLEY_DATABASE_URL",
        "PARLEY_JWT_SECRET_KEY",
        "PARLEY_ACCESS_TOKEN_MINUTES",
        "PARLEY_REFRESH_TOKEN_DAYS",
        "PARLEY_SQLITE_SYNCHRONOUS",
        "PARLEY_LOG_LEVEL",
        "PARLEY_LOG_FORMAT",
    )
)
"""What a command reads. The rest may be wrong: a user can be made where a model's URL is mistyped."""


def is_command() -> bool:
    """Return whether the app is loaded for a command, which does not serve.

    Raises:
        StartupError: for ``flask run``: it would serve without all that ``server`` has, beside another server even.

    """
    context = click.get_current_context(silent=True)
    root = context and context.find_root()
    if not (root and isinstance(root.command, FlaskGroup)):
        return False
    if root.invoked_subcommand == "run":
        raise StartupError(
            "flask run is Flask's own development server. What serves Parley: make run, or python app.py."
        )
    return True


def load(config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all settings by name, those in ``config`` taken as they are, the rest read.

    Raises:
        StartupError: names each setting whose value is not of its kind or out of its limits.

    """
    given = dict(config or {})
    read_env_file()
    env = FileAwareEnv(eager=False, strip_whitespace=True)
    command = is_command()
    try:
        for setting in SETTINGS:
            if setting.name in given:
                continue
            if command and setting.name not in COMMAND_SETTINGS:
                given[setting.name] = setting.default
            else:
                parse = getattr(env, setting.parser)
                given[setting.name] = parse(setting.name, setting.default, validate=setting.validate)
        env.seal()
    except EnvError as error:
        raise StartupError(_format_errors(error)) from None
    except ValueError as error:  # a file that a ..._FILE variable names cannot be read
        raise StartupError(f"{error} {error.__cause__}") from None
    return given


def read_env_file() -> None:
    """Add what ``.env`` has to the environment; what the environment has already wins.

    Flask does the same for its own command, but with the nearest ``.env`` and ``.flaskenv`` at or above
    the working directory, before any of our code runs. Only Parley's own file may name its settings, or
    ``flask`` and ``python app.py`` would use two databases. FLASK_SKIP_DOTENV=1 keeps both from reading any.

    Raises:
        StartupError: where the file cannot be read, or Flask has read settings of Parley from another one.

    """
    if not get_load_dotenv():
        return
    try:
        _refuse_other_files()
        given = dotenv_values(ENV_FILE)
    except OSError as error:
        raise StartupError(f"{error.filename} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise StartupError(f"{ENV_FILE} cannot be read: it is not UTF-8.") from None
    for name, value in given.items():
        if value is not None:
            os.environ.setdefault(name, value)
    for setting in SETTINGS:  # of the two forms of one, that of the environment wins too
        forms = {setting.name, setting.name + FILE_SUFFIX}
        ours = forms & given.keys()
        if len(ours) == 1 and forms <= os.environ.keys():
            (name,) = ours
            if os.environ[name] == given[name]:
                del os.environ[name]


def _refuse_other_files() -> None:
    context = click.get_current_context(silent=True)
    info = context and context.find_root().obj
    if not (isinstance(info, ScriptInfo) and info.load_dotenv_defaults):
        return
    for default_name in (".env", ".flaskenv"):
        path = find_dotenv(default_name, usecwd=True)
        if path and not (ENV_FILE.exists() and ENV_FILE.samefile(path)):
            for name in dotenv_values(path):
                if name.startswith(PREFIX):
                    raise StartupError(
                        f"{path} has {name!r}, which python app.py would not see: put it into {ENV_FILE}."
                    )


def warn_of_unknown(secrets: Iterable[str] = ()) -> None:
    """Log each ``PARLEY_`` variable that nothing reads, without its value; ``secrets`` are those of actions."""
    settings = [setting.name for setting in SETTINGS]
    known = {*settings, *(name + FILE_SUFFIX for name in settings)}
    choices = {name.removeprefix(PREFIX): name for name in sorted(known)}  # what all have says nothing
    for name in sorted(os.environ.keys() - known - {*secrets, "PARLEY_PASSWORD"}):
        if name.startswith(PREFIX):
            (nearest,) = difflib.get_close_matches(name.removeprefix(PREFIX), choices, n=1, cutoff=0)
            log.warning("%a is not a setting; the nearest is %s", name, choices[nearest])


def log_format() -> str:
    """Return the format of the logs, for telling what is wrong with other settings."""
    try:
        return str(FileAwareEnv(strip_whitespace=True).str("PARLEY_LOG_FORMAT", "text"))
    except ValueError:
        return "text"


def _format_errors(error: EnvError) -> str:
    """Lay out what is wrong, a line a setting, without the values: one may be a secret."""
    problems: Mapping[str, list[str]] = getattr(error, "error_messages", {})
    return "\n".join(f"{name}: {' '.join(messages)}" for name, messages in problems.items())
