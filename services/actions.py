"""The webhook actions that the operator offers, from a TOML file that is checked as a whole at start."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields
from marshmallow.validate import Length, Range, Regexp
from standardwebhooks import Webhook

from config import StartError, http_url
from errors import ApiError, Missing

LONGEST_TIMEOUT = 10.0
MESSAGE_LENGTH = 300


class ActionIn(Schema):
    """One ``[[actions]]`` table of the file."""

    class Meta:
        unknown = RAISE

    name = fields.String(
        required=True, validate=Regexp(r"[A-Za-z0-9_.-]{1,64}\Z", error="Not a name: A-Z a-z 0-9 _ . -")
    )
    description = fields.String(required=True, validate=Length(1, 2_000))
    url = fields.String(required=True, validate=http_url)
    secret_env = fields.String(required=True, validate=Length(1))
    timeout = fields.Float(load_default=LONGEST_TIMEOUT, validate=Range(0, LONGEST_TIMEOUT, min_inclusive=False))
    parameters = fields.Dict(load_default=lambda: {"type": "object"})


@dataclass(frozen=True)
class Action:
    """One action: ``signer`` holds its secret, ``check`` yields what is wrong with an input."""

    name: str
    description: str
    parameters: dict[str, Any]
    url: str
    timeout: float
    signer: Webhook
    check: Callable[[Any], Iterator[Any]]

    @property
    def shown(self) -> dict[str, Any]:
        """What users get to see of it."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}

    def check_input(self, text: str) -> None:
        """Hold an input, as JSON text, against the action's parameters.

        Raises:
            ApiError: ``validation_error``, with the path of each part that is wrong.

        """
        problems: dict[str, list[str]] = {}
        for problem in self.check(json.loads(text)):
            path = ".".join(["input", *map(str, problem.absolute_path)])
            problems.setdefault(path, []).append(problem.message[:MESSAGE_LENGTH])
        if problems:
            raise ApiError("validation_error", problems)


class Actions(dict[str, Action]):
    """All actions by name, in the order of the file."""

    def named(self, name: str) -> Action:
        """Return one, or raise Missing."""
        if name not in self:
            raise Missing("action")
        return self[name]


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> Actions:
    """Read the file of actions; no path, no actions.

    Raises:
        StartError: names the line of what is wrong with it.

    """
    actions = Actions()
    if not path:
        return actions
    try:
        text = Path(path).read_bytes().decode()
        document = tomllib.loads(text)
    except OSError as error:
        raise StartError(f"PARLEY_ACTIONS_FILE: {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # says the line itself
        raise StartError(f"PARLEY_ACTIONS_FILE: {path}: {error}.") from None
    where = _Lines(path, text)
    if unknown := set(document) - {"actions"}:
        raise where.wrong(None, unknown.pop(), "Not known; each action is a table [[actions]].")
    tables = document.get("actions", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise where.wrong(None, "actions", "Not a list of tables [[actions]].")
    for index, table in enumerate(tables):
        try:
            action = _action(table, environ)
        except ValidationError as error:
            key, problem = next(iter(error.messages_dict.items()))
            raise where.wrong(index, key, " ".join(map(str, problem))) from None
        if action.name in actions:
            raise where.wrong(index, "name", f"There are two actions {action.name!r}.")
        actions[action.name] = action
    return actions


def _action(table: dict[str, Any], environ: Mapping[str, str]) -> Action:
    from jsonschema.exceptions import SchemaError  # 10 MiB, for those who have actions
    from jsonschema.validators import validator_for
    from referencing import Registry

    given = ActionIn().load(table)
    schema = given["parameters"]
    validator = validator_for(schema)
    try:
        json.dumps(schema, allow_nan=False)  # TOML has dates and nan, JSON has neither
        validator.check_schema(schema)
    except SchemaError as error:
        path = ".".join(["parameters", *map(str, error.absolute_path)])
        raise ValidationError({"parameters": [f"{path}: {error.message[:MESSAGE_LENGTH]}"]}) from None
    except (TypeError, ValueError) as error:
        raise ValidationError({"parameters": [f"Not JSON: {error}."]}) from None
    if schema.get("type", "object") != "object":
        raise ValidationError({"parameters": ["Not of type object."]})
    # An empty registry: a $ref must be found in the schema itself, and nothing is fetched.
    check = validator(schema, registry=Registry()).iter_errors
    try:
        list(check({}))
    except Exception as error:  # whatever a $ref that leads nowhere raises
        raise ValidationError({"parameters": [f"{error}"]}) from None
    signer = _signer(given["secret_env"], environ)
    return Action(given["name"], given["description"], schema, given["url"], given["timeout"], signer, check)


def _signer(name: str, environ: Mapping[str, str]) -> Webhook:
    secret = environ.get(name, "").strip()
    body = secret.removeprefix("whsec_")
    if not re.fullmatch(r"[A-Za-z0-9+/]{16,}={0,2}", body):
        state = "is not in the environment" if not secret else "is not a secret"
        raise ValidationError({"secret_env": [f"{name} {state}: whsec_ and then base64, of 24 to 64 random bytes."]})
    try:
        return Webhook(body)
    except ValueError as error:
        raise ValidationError({"secret_env": [f"{name} is not base64: {error}."]}) from None


class _Lines:
    """Finds the line of the file that is wrong: TOML's parser does not keep them."""

    def __init__(self, path: str, text: str):
        self._path = path
        self._lines = text.splitlines()

    def wrong(self, index: int | None, key: str, problem: str) -> StartError:
        """Return the error for a key of the table with this index, or of the file itself."""
        starts = [at for at, line in enumerate(self._lines) if re.match(r"\s*\[\[\s*actions\s*\]\]", line)]
        start, end = 0, len(self._lines)
        if index is not None and index < len(starts):
            start, end = (*starts, end)[index : index + 2]
        names_key = re.compile(rf"\s*\[*\s*(actions\s*\.\s*)?[\"']?{re.escape(key)}\b")
        found = (at for at in range(start, end) if names_key.match(self._lines[at]))
        return StartError(f"PARLEY_ACTIONS_FILE: {self._path}, line {next(found, start) + 1}: {key}: {problem}")
