"""Every setting once: its name, type, default, limits and meaning.

Settings come from the environment, and from the file ``.env`` beside ``app.py`` if the environment
does not have them. The value of any of them may be in a file of its own (e.g. a Docker secret), which
the same variable with the suffix ``_FILE`` names.
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
from environs import EnvError, FileAwareEnv
from flask.cli import FlaskGroup
from marshmallow import ValidationError
from marshmallow.validate import Length, OneOf, Range, Regexp

from env_file import FILE_SUFFIX, load_env_file

ENV_FILE = Path(__file__).parent / ".env"
PREFIX = "PARLEY_"

log = logging.getLogger("parley")


class StartupError(click.ClickException):
    """An error that prevents the service from starting, in words for its operator."""


def listening_host(value: str) -> None:
    """Check the host to listen on: an address, a name that has one, or ``*`` for all addresses.

    Raises:
        ValidationError: it has no address.

    """
    try:
        socket.getaddrinfo(None if value == "*" else value.strip("[]"), 0)
    except (OSError, UnicodeError):  # the second for a name that cannot be one
        raise ValidationError("Neither an address nor a name that has one.") from None


def http_url(value: str) -> str:
    """Check a URL that requests are sent to, and return it; it may be empty.

    Raises:
        ValidationError: it is not http or https to a host, or has a query or a fragment.

    """
    try:
        parts = urlsplit(value)
        is_http = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_http = False
    if not value:
        return value
    if not is_http or parts.query or parts.fragment or not value.isascii() or not value.isprintable() or " " in value:
        raise ValidationError("Not of the form http://HOST:PORT/PATH.")
    return value


def api_url(value: str) -> str:
    """Check the base URL of an API, to which paths are appended, and return it.

    Raises:
        ValidationError: it is no such URL, or already has the path.

    """
    if value.rstrip("/").endswith("/chat/completions"):
        raise ValidationError("Leave out /chat/completions: it is appended.")
    return http_url(value)


@dataclass(frozen=True)
class Setting:
    """One setting. ``parser`` names the method of ``environs.Env`` that reads it."""

    name: str
    parser: str
    default: Any
    description: str
    validate: Callable[[Any], Any] | None = None


SETTINGS = (
    Setting("PARLEY_HOST", "str", "127.0.0.1", "Address to listen on.", listening_host),
    Setting("PARLEY_PORT", "int", 8080, "Port to listen on; 0 picks a free one.", Range(0, 65_535)),
    Setting("PARLEY_DATA_DIR", "str", "data", "Folder of the database and of the generated secret.", Length(1)),
    Setting(
        "PARLEY_DATABASE_URL",
        "str",
        None,
        "`sqlite:///PATH` (absolute: four slashes) or `postgresql://USER:PASSWORD@HOST/NAME`; "
        "unset: `parley.db` in the data folder.",
    ),
    Setting(
        "PARLEY_JWT_SECRET_KEY",
        "str",
        None,
        "Signs the tokens; 32 characters or more. Unset: made once, stored in the data folder; "
        "required with PostgreSQL.",
        Length(32),
    ),
    Setting("PARLEY_ACCESS_TOKEN_MINUTES", "int", 15, "Lifetime of an access token.", Range(1, 525_600)),
    Setting("PARLEY_REFRESH_TOKEN_DAYS", "int", 30, "Lifetime of a refresh token.", Range(1, 3_650)),
    Setting("PARLEY_MAX_BODY_BYTES", "int", 1_048_576, "Largest request body.", Range(1_024, 1_073_741_824)),
    Setting("PARLEY_MAX_IMPORT_BYTES", "int", 67_108_864, "Largest import.", Range(1_024, 1_073_741_824)),
    Setting(
        "PARLEY_THREADS",
        "int",
        8,
        "Threads for slow requests (imports, searches, long exports); with PostgreSQL, for nearly all.",
        Range(1, 256),
    ),
    Setting("PARLEY_SYSTEM_PROMPT", "str", None, "The base identity prompt, which a model is sent first."),
    Setting(
        "PARLEY_DOCS_DIR",
        "str",
        None,
        "Folder of Markdown files, e.g. runbooks; the sections that match a message best go into the prompt.",
    ),
    Setting(
        "PARLEY_DOCS_CHARS",
        "int",
        8_000,
        "Maximum characters of those sections in a prompt, with the text around them.",
        Range(100, 1_000_000),
    ),
    Setting("PARLEY_ACTIONS_FILE", "str", None, "TOML file of the webhook actions that users may run."),
    Setting(
        "PARLEY_LLM_BASE_URL",
        "str",
        None,
        "An OpenAI-compatible API, e.g. `http://127.0.0.1:11434/v1`; unset: no chat.",
        api_url,
    ),
    Setting(
        "PARLEY_LLM_API_KEY",
        "str",
        None,
        "Its key, sent as a bearer token.",
        Regexp(r"[\x21-\x7e]*\Z", error="Only printable ASCII characters without spaces are allowed."),
    ),
    Setting("PARLEY_LLM_MODEL", "str", None, "The model to request; unset: the API's default."),
    Setting(
        "PARLEY_LLM_CONTEXT_CHARS",
        "int",
        32_000,
        "Maximum characters of the conversation in a prompt; its oldest messages are left out first.",
        Range(1, 100_000_000),
    ),
    Setting("PARLEY_LLM_TIMEOUT_SECONDS", "int", 300, "Maximum duration of a completion.", Range(1, 86_400)),
    Setting(
        "PARLEY_MAX_STREAMS",
        "int",
        64,
        "Maximum concurrent chats, two threads each; at most three per user.",
        Range(1, 1_024),
    ),
    Setting(
        "PARLEY_TRUSTED_PROXIES",
        "int",
        0,
        "Number of proxies in front that are trusted to name the client's address, host, scheme and sub-path "
        "(`X-Forwarded-…`).",
        Range(0, 16),
    ),
    Setting(
        "PARLEY_SQLITE_SYNCHRONOUS",
        "str",
        "FULL",
        "`FULL`: acknowledged writes survive a power failure; `NORMAL`: only a crash of the process.",
        OneOf(("FULL", "NORMAL", "EXTRA")),
    ),
    Setting(
        "PARLEY_LOG_LEVEL",
        "str",
        "INFO",
        "`INFO` logs one line per request; `WARNING` and `ERROR` only what goes wrong.",
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
"""The settings that commands read. Others may be wrong: a user can be created while a model's URL is mistyped."""


def is_command() -> bool:
    """Return whether the app is loaded for a command, which does not serve.

    Raises:
        StartupError: the command is ``flask run``, which would serve without ``server``, even beside another server.

    """
    context = click.get_current_context(silent=True)
    root = context and context.find_root()
    if not (root and isinstance(root.command, FlaskGroup)):
        return False
    if root.invoked_subcommand == "run":
        raise StartupError(
            "flask run is Flask's own development server. Serve Parley with: make run, or python app.py."
        )
    return True


def load(overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all settings by name: those in ``overrides`` unchecked, the others from the environment.

    Raises:
        StartupError: names each setting whose value is not of its type or not within its limits.

    """
    values = dict(overrides or {})
    env = FileAwareEnv(file_suffix=FILE_SUFFIX, eager=False, strip_whitespace=True)
    command = is_command()
    try:
        load_env_file(ENV_FILE, PREFIX, (setting.name for setting in SETTINGS))
        for setting in SETTINGS:
            if setting.name in values:
                continue
            if command and setting.name not in COMMAND_SETTINGS:
                values[setting.name] = setting.default
            else:
                parse = getattr(env, setting.parser)
                values[setting.name] = parse(setting.name, setting.default, validate=setting.validate)
        env.seal()
    except EnvError as error:
        raise StartupError(_format_errors(error)) from None
    except ValueError as error:  # the cause: why a file that a ..._FILE variable names cannot be read
        raise StartupError(f"{error} {error.__cause__ or ''}".rstrip()) from None
    return values


def warn_of_unknown(secrets: Iterable[str] = ()) -> None:
    """Log a warning of each ``PARLEY_`` variable that nothing reads, without its value.

    ``secrets`` are the variables that the webhook actions read.
    """
    settings = [setting.name for setting in SETTINGS]
    known = {*settings, *(name + FILE_SUFFIX for name in settings)}
    choices = {name.removeprefix(PREFIX): name for name in sorted(known)}  # which all have in common
    for name in sorted(os.environ.keys() - known - {*secrets, "PARLEY_PASSWORD"}):
        if name.startswith(PREFIX):
            (nearest,) = difflib.get_close_matches(name.removeprefix(PREFIX), choices, n=1, cutoff=0)
            log.warning("%a is not a setting; the nearest is %s", name, choices[nearest])


def log_format() -> str:
    """Return the format of the logs, for reporting what is wrong with other settings."""
    try:
        return str(FileAwareEnv(strip_whitespace=True).str("PARLEY_LOG_FORMAT", "text"))
    except ValueError:
        return "text"


def _format_errors(error: EnvError) -> str:
    """Return what is wrong, one line per setting, without the values: one may be a secret."""
    problems: Mapping[str, list[str]] = getattr(error, "error_messages", {})
    return "\n".join(f"{name}: {' '.join(messages)}" for name, messages in problems.items())
