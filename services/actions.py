"""The webhook actions that the operator offers, from a TOML file that is checked as a whole at start."""

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

LONGEST_TIMEOUT = 10.0
SHORTEST_SECRET = 16  # bytes
MESSAGE_LENGTH = 300
EXPLAINED_PROBLEMS = 20  # the most of one input that are told


def webhook_url(value: str) -> str:
    """Check the URL of a webhook. It may have a query: many carry a signature there, so it is shown nowhere."""
    http_url(value.replace("?", "/"))  # what a query may hold, a path may
    return value


class ActionIn(Schema):
    """One ``[[actions]]`` table of the file."""

    class Meta:
        unknown = RAISE

    name = fields.String(
        required=True, validate=Regexp(r"[A-Za-z0-9_.-]{1,64}\Z", error="Not a name: A-Z a-z 0-9 _ . -")
    )
    description = fields.String(required=True, validate=Length(1, 2_000))
    url = fields.String(required=True, validate=(Length(1), webhook_url))
    secret_env = fields.String(required=True, validate=Length(1))
    timeout = fields.Float(load_default=LONGEST_TIMEOUT, validate=Range(0, LONGEST_TIMEOUT, min_inclusive=False))
    parameters = fields.Dict(load_default=lambda: {"type": "object"})


@dataclass(frozen=True)
class Action:
    """One action: ``signer`` holds the secret of ``secret_env``, ``check`` yields what is wrong with an input."""

    name: str
    description: str
    parameters: dict[str, Any]
    url: str = field(repr=False)
    timeout: float
    signer: Webhook = field(repr=False)
    check: Callable[[Any], Iterator[Any]]
    secret_env: str = ""

    @property
    def public(self) -> dict[str, Any]:
        """What users get to see of it."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}

    def check_input(self, text: str) -> None:
        """Hold an input, as JSON text, against the action's parameters.

        Raises:
            ApiError: ``validation_error``, with the path of each part that is wrong.

        """
        problems: dict[str, list[str]] = {}
        try:
            for problem in islice(self.check(json.loads(text)), EXPLAINED_PROBLEMS):
                path = ".".join(["input", *map(str, problem.absolute_path)])
                problems.setdefault(path, []).append(problem.message[:MESSAGE_LENGTH])
        except RecursionError:  # of a schema that holds itself, with an input as deep
            problems = {"input": ["Nested too deeply."]}
        if problems:
            raise ApiError("validation_error", problems)


class Actions(dict[str, Action]):
    """All actions by name, in the order of the file."""

    def get_action(self, name: str) -> Action:
        """Return one, or raise Missing."""
        if name not in self:
            raise NotFound("action")
        return self[name]


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> Actions:
    """Read the file of actions; no path, no actions.

    Raises:
        StartupError: names the line of what is wrong with it.

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
    except (ValueError, RecursionError) as error:  # the first says the line itself
        raise StartupError(f"PARLEY_ACTIONS_FILE: {path}: {error}.") from None

    def wrong(problem: str, key: str, *inside: str | int) -> StartupError:
        return StartupError(f"PARLEY_ACTIONS_FILE: {path}, line {_line(text, (*inside, key))}: {key}: {problem}")

    if unknown := [key for key in document if key != "actions"]:
        raise wrong("Not known; each action is a table [[actions]].", unknown[0])
    tables = document.get("actions", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise wrong("Not a list of tables [[actions]].", "actions")
    for index, table in enumerate(tables):
        try:
            action = _action(table, environ)
            if action.name in actions:
                raise ValidationError({"name": [f"There are two actions {action.name!r}."]})
        except ValidationError as error:
            # What is there too much first: it may be what is missing, misspelt.
            key = next((key for key in error.messages_dict if key in table), next(iter(error.messages_dict)))
            raise wrong(" ".join(map(str, error.messages_dict[key])), key, "actions", index) from None
        actions[action.name] = action
    return actions


def _line(text: str, keys: tuple[str | int, ...]) -> int:
    """Return the line of the statement that brings in what the keys lead to, or else to the last but one.

    TOML's parser does not keep the lines. So it is asked of the first line, of the first two, and so on.
    """
    lines = text.split("\n")
    found: dict[int, int] = {}
    begins = 1
    for count in range(1, len(lines) + 1):
        with suppress(ValueError):  # the middle of a statement
            part: Any = tomllib.loads("\n".join(lines[:count]) + "\n")
            with suppress(LookupError):
                for depth, key in enumerate(keys):
                    part = part[key]
                    found.setdefault(depth, begins)
            begins = count + 1
    return found[max(found)]


def _action(table: dict[str, Any], environ: Mapping[str, str]) -> Action:
    given = ActionIn().load(table)
    schema = given["parameters"]
    try:
        check = _checker(schema)
    except Exception as error:  # whatever a schema may do to those who read it
        raise ValidationError({"parameters": [str(error)[:MESSAGE_LENGTH]]}) from None
    name = given["secret_env"]
    signer = _signer(name, environ)
    return Action(given["name"], given["description"], schema, given["url"], given["timeout"], signer, check, name)


def _checker(schema: dict[str, Any]) -> Callable[[Any], Iterator[Any]]:
    """Return what checks an input against a JSON Schema; raise anything where that is none that could be used."""
    from jsonschema.exceptions import SchemaError  # 10 MiB, for those who have actions
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
    # An empty registry: a $ref must be found in the schema itself, and nothing is fetched.
    registry: Registry[Any] = Registry()
    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    _check_references(resource, registry.resolver_with_root(resource))
    check: Callable[[Any], Iterator[Any]] = validator(schema, registry=registry).iter_errors
    list(check({}))  # one that refers to itself alone never ends
    return check


def _check_references(resource: Any, resolver: Any) -> None:
    """Follow each reference of a schema once, at whatever depth; raise where one leads nowhere."""
    schema = resource.contents
    for key in ("$ref", "$dynamicRef") if isinstance(schema, dict) else ():
        if key in schema:
            resolver.lookup(schema[key])
    for part in resource.subresources():
        _check_references(part, resolver.in_subresource(part))


def _signer(name: str, environ: Mapping[str, str]) -> Webhook:
    secret = "".join(environ.get(name, "").split())  # openssl breaks long lines
    body = secret.removeprefix("whsec_")
    try:
        if len(b64decode(body, validate=True)) >= SHORTEST_SECRET:
            return Webhook(body)
    except ValueError:
        pass
    state = "is not a secret" if secret else "is not in the environment"
    raise ValidationError({"secret_env": [f"{name} {state}: whsec_ and then base64, of 24 to 64 random bytes."]})
