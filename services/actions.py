"""The webhook actions that the operator offers: their TOML file, and the check of an input by its JSON Schema.

The file is TOML 1.0 (https://toml.io/en/v1.0.0) and is checked as a whole at start. ``parameters`` is a JSON
Schema, of the 2020-12 draft unless it names another (https://json-schema.org/draft/2020-12). A secret is
written as in the Standard Webhooks specification (see ``services.webhooks``).
"""

from __future__ import annotations

import json
import os
import tomllib
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from marshmallow import RAISE, Schema, ValidationError, fields
from marshmallow.validate import Length, Range, Regexp
from standardwebhooks import Webhook

from config import StartupError, http_url
from errors import ApiError, NotFound

MAX_TIMEOUT = 10.0  # seconds
MIN_SECRET_BYTES = 16
MAX_ERRORS = 20  # of one input in a response
MAX_ERROR_LENGTH = 300


def webhook_url(value: str) -> str:
    """Check the URL of a webhook. Unlike ``http_url`` it may have a query, which may be a secret and is never shown.

    Raises:
        ValidationError: it is not a URL of HTTP.

    """
    http_url(value.replace("?", "/"))  # a path may have all the characters that a query may
    return value


class ActionSchema(Schema):
    """One ``[[actions]]`` table of the file."""

    class Meta:
        unknown = RAISE

    name = fields.String(
        required=True, validate=Regexp(r"[A-Za-z0-9_.-]{1,64}\Z", error="Not a name: A-Z a-z 0-9 _ . -")
    )
    description = fields.String(required=True, validate=Length(1, 2_000))
    url = fields.String(required=True, validate=(Length(1), webhook_url))
    secret_env = fields.String(required=True, validate=Length(1))
    timeout = fields.Float(load_default=MAX_TIMEOUT, validate=Range(0, MAX_TIMEOUT, min_inclusive=False))
    parameters = fields.Dict(load_default=lambda: {"type": "object"})


@dataclass(frozen=True)
class Action:
    """One action. ``signer`` has the secret of ``secret_env``; ``iter_errors`` yields the errors of an input."""

    name: str
    description: str
    parameters: dict[str, Any]
    url: str = field(repr=False)
    timeout: float
    signer: Webhook = field(repr=False)
    iter_errors: Callable[[Any], Iterator[Any]]
    secret_env: str = ""

    @property
    def public(self) -> dict[str, Any]:
        """The fields that users may see."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}

    def check_input(self, text: str) -> None:
        """Validate an input, as JSON text, against the action's parameters.

        Raises:
            ApiError: ``validation_error``, with the path of each wrong value.

        """
        errors: dict[str, list[str]] = {}
        try:
            for error in islice(self.iter_errors(json.loads(text)), MAX_ERRORS):
                path = ".".join(["input", *map(str, error.absolute_path)])
                errors.setdefault(path, []).append(error.message[:MAX_ERROR_LENGTH])
        except RecursionError:  # of a schema that refers to itself, with an input as deep
            errors = {"input": ["Nested too deeply."]}
        if errors:
            raise ApiError("validation_error", errors)


class Actions(dict[str, Action]):
    """All actions by name, in the order of the file."""

    def get_action(self, name: str) -> Action:
        """Return an action.

        Raises:
            NotFound: there is no action with this name.

        """
        if name not in self:
            raise NotFound("action")
        return self[name]


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> Actions:
    """Read the file of actions; without a path there are none.

    Raises:
        StartupError: the file is wrong; the message has the line.

    """
    actions = Actions()
    if not path:
        return actions
    try:
        raw = Path(path).read_bytes()
        text = raw.decode()
        document = tomllib.loads(text)
    except OSError as error:
        raise StartupError(f"PARLEY_ACTIONS_FILE: {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise StartupError(f"PARLEY_ACTIONS_FILE: {path}, line {line}: Not UTF-8.") from None
    except (ValueError, RecursionError) as error:  # a ValueError's message has the line
        raise StartupError(f"PARLEY_ACTIONS_FILE: {path}: {error}.") from None

    def error_at(key: str, problem: str, *parents: str | int) -> StartupError:
        line = _line_of_key(text, (*parents, key))
        return StartupError(f"PARLEY_ACTIONS_FILE: {path}, line {line}: {key}: {problem}")

    if unknown := [key for key in document if key != "actions"]:
        raise error_at(unknown[0], "Not known; each action is a table [[actions]].")
    tables = document.get("actions", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise error_at("actions", "Not a list of tables [[actions]].")
    for index, table in enumerate(tables):
        try:
            action = _load_action(table, environ)
            if action.name in actions:
                raise ValidationError({"name": [f"There are two actions {action.name!r}."]})
        except ValidationError as error:
            # A key of the table first: an unknown one may be the missing one, misspelt.
            key = next((key for key in error.messages_dict if key in table), next(iter(error.messages_dict)))
            raise error_at(key, " ".join(map(str, error.messages_dict[key])), "actions", index) from None
        actions[action.name] = action
    return actions


def _line_of_key(text: str, keys: tuple[str | int, ...]) -> int:
    """Return the line of the statement that sets a path of keys, or the longest part of it that exists.

    TOML's parser does not record lines. So it parses the first line, the first two, and so on.
    """
    lines = text.split("\n")
    line_by_depth: dict[int, int] = {}
    statement_line = 1
    for count in range(1, len(lines) + 1):
        with suppress(ValueError):  # the middle of a statement
            part: Any = tomllib.loads("\n".join(lines[:count]) + "\n")
            with suppress(LookupError):
                for depth, key in enumerate(keys):
                    part = part[key]
                    line_by_depth.setdefault(depth, statement_line)
            statement_line = count + 1
    return line_by_depth[max(line_by_depth)]


def _load_action(table: dict[str, Any], environ: Mapping[str, str]) -> Action:
    """Return the action that a table describes.

    Raises:
        ValidationError: the messages have the keys that are wrong.

    """
    values = ActionSchema().load(table)
    schema = values["parameters"]
    try:
        iter_errors = compile_schema(schema)
    except Exception as error:  # a schema may break its reader in any way
        raise ValidationError({"parameters": [str(error)[:MAX_ERROR_LENGTH]]}) from None
    secret_env = values["secret_env"]
    signer = _load_signer(secret_env, environ)
    return Action(
        values["name"], values["description"], schema, values["url"], values["timeout"], signer, iter_errors, secret_env
    )


def compile_schema(schema: dict[str, Any]) -> Callable[[Any], Iterator[Any]]:
    """Return the function that yields the errors of a value by a JSON Schema.

    Raises:
        Exception: of any type: the schema cannot be used.

    """
    from jsonschema.exceptions import SchemaError  # 10 MiB, only if there are actions
    from jsonschema.validators import validator_for
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012

    json.dumps(schema, allow_nan=False)  # TOML has dates and nan, JSON has neither
    orjson.dumps(schema)  # and integers of any size
    validator = validator_for(schema)
    try:
        validator.check_schema(schema)
    except SchemaError as error:
        path = ".".join(["parameters", *map(str, error.absolute_path)])
        raise ValueError(f"{path}: {error.message}") from None
    if schema.get("type", "object") != "object":
        raise ValueError("Not of type object.")
    # The registry is empty: a $ref must be found in the schema itself, nothing is fetched.
    registry: Registry[Any] = Registry()
    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    _check_references(resource, registry.resolver_with_root(resource))
    iter_errors: Callable[[Any], Iterator[Any]] = validator(schema, registry=registry).iter_errors
    list(iter_errors({}))  # never ends, and so raises, if the schema only refers to itself
    return iter_errors


def _check_references(resource: Any, resolver: Any) -> None:
    """Resolve each reference of a schema, at any depth.

    Raises:
        referencing.exceptions.Unresolvable: a reference leads nowhere.

    """
    schema = resource.contents
    for key in ("$ref", "$dynamicRef") if isinstance(schema, dict) else ():
        if key in schema:
            resolver.lookup(schema[key])
    for part in resource.subresources():
        _check_references(part, resolver.in_subresource(part))


def _load_signer(name: str, environ: Mapping[str, str]) -> Webhook:
    """Return a signer with the secret of an environment variable.

    Raises:
        ValidationError: there is no such variable, or it is not a secret.

    """
    secret = "".join(environ.get(name, "").split())  # openssl wraps long lines
    body = secret.removeprefix("whsec_")
    try:
        if len(b64decode(body, validate=True)) >= MIN_SECRET_BYTES:
            return Webhook(body)
    except ValueError:
        pass
    state = "is not a secret" if secret else "is not in the environment"
    raise ValidationError({"secret_env": [f"{name} {state}: whsec_ and then base64, of 24 to 64 random bytes."]})
