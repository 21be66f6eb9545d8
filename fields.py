"""The types of fields that schemas have: marshmallow's, and ours for text, times, ids, metadata and messages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from marshmallow import Schema, ValidationError
from marshmallow.fields import UUID, Boolean, DateTime, Dict, Field, Integer, List, Nested, Raw, String
from marshmallow.validate import Length

import limits
from json_values import dump_metadata
from text import check_text
from timestamps import parse_timestamp
from usernames import normalize_name

__all__ = [
    "Boolean", "DateTime", "Dict", "Field", "Integer", "List", "Nested", "Raw", "String", "UUID",
    "Content", "Digits", "ExternalId", "IsoTime", "JsonBoolean", "JsonObject", "MessageList", "NewPassword",
    "NextCursor", "Number", "OptionalText", "Password", "Text", "Timestamp", "TrimmedText", "Username", "Uuid",
]  # fmt: skip

# What ECMAScript's trim() removes, and so what clients' own trimming does (ECMA-262, 22.1.3.32).
WHITESPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
MAX_LISTED_ERRORS = 20
"""The most messages of one import whose errors are listed."""

MessageRow = tuple[str, str, str, str | None]
"""A message to be stored: role, content, metadata as JSON text, time."""

_ROLES = {role: role for role in limits.ROLES}  # one string for all messages of a role


def _checked(function: Callable[[Any], Any], value: Any) -> Any:
    """Call a function with a value, and raise its ValueError as a field's error."""
    try:
        return function(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


class Text(String):
    """A string that can be stored everywhere."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        _checked(check_text, text)
        return text


class TrimmedText(Text):
    """A string without the whitespace at its ends."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).strip(WHITESPACE)


class Username(Text):
    """The name of a new user, loaded in its normal form."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        return str(_checked(normalize_name, text)) if text else text


class ExternalId(Field[str | None]):
    """An id from another service, loaded as None if it cannot be stored."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str | None:
        if not isinstance(value, str) or not 0 < len(value) <= limits.MAX_EXTERNAL_ID_LENGTH:
            return None
        try:
            check_text(value)
        except ValueError:
            return None
        return value


class Digits(Integer):
    """A number in a query, in plain digits; ``int()`` would accept ``1_0`` too."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not (isinstance(value, str) and value.isascii() and value.isdigit()):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class JsonBoolean(Boolean):
    """A boolean in a body: ``true`` or ``false``. ``Boolean``, for queries, accepts ``"yes"``, 1 and the like too."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if type(value) is not bool:
            raise self.make_error("invalid", input=value)
        return value


class IsoTime(String):
    """A time in any form of ISO 8601, loaded as it is stored."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            return parse_timestamp(text)
        except ValueError:
            raise ValidationError("Not a valid ISO 8601 time.") from None


class Timestamp(DateTime):
    """A time in a response: UTC, ISO 8601, with milliseconds and ``Z``."""


class Uuid(UUID):
    """An id in a response: a UUID in lower case."""


class JsonObject(Field[str]):
    """A JSON object with any content, loaded as the JSON text that is stored."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, dict):
            raise ValidationError("Not a valid JSON object.")
        return str(_checked(dump_metadata, value))


class MessageList(Field[list[MessageRow]]):
    """A list of messages, loaded as MessageRow tuples.

    Valid messages are loaded in one loop: 10,000 in 3 ms; through the schema of a message it takes 135. The schema
    explains the others. The elements of a large list are rows already: ``load_fast`` made them as it was parsed.
    """

    def __init__(self, schema: type[Schema], **kwargs: Any):
        super().__init__(**kwargs)
        self.schema = schema()

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[MessageRow]:
        if not isinstance(value, list):
            raise ValidationError("Not a valid list.")
        rows = []
        errors: dict[int, Any] = {}
        for index, item in enumerate(value):
            try:
                rows.append(item if type(item) is tuple else self.load_fast(item) or self._load_checked(item))
            except ValidationError as error:
                errors[index] = error.messages
                if len(errors) == MAX_LISTED_ERRORS:
                    break
        if errors:
            raise ValidationError(errors)  # keyed by index, as List does it
        return rows

    @staticmethod
    def load_fast(item: Any) -> MessageRow | None:
        """Return the row of a valid message, None if it must be loaded through the schema."""
        try:
            role, content = _ROLES[item["role"]], item["content"]
            if (
                type(content) is str
                and 0 < len(content) <= limits.MAX_CONTENT_LENGTH
                and "\0" not in content
                and type(metadata := item.get("metadata", {})) is dict
            ):
                created_at = parse_timestamp(item["created_at"]) if "created_at" in item else None
                return role, content, dump_metadata(metadata), created_at
        except (KeyError, TypeError, ValueError):
            pass
        return None

    def _load_checked(self, item: Any) -> MessageRow:
        message = self.schema.load(item)
        return message["role"], message["content"], message["metadata"], message["created_at"]


# What several schemas have.
Content = partial(Text, required=True, validate=Length(1, limits.MAX_CONTENT_LENGTH))
Password = partial(Text, required=True, validate=Length(1, limits.MAX_PASSWORD_LENGTH))
NewPassword = partial(Text, required=True, validate=Length(limits.MIN_PASSWORD_LENGTH, limits.MAX_PASSWORD_LENGTH))
OptionalText = partial(String, required=True, allow_none=True)
Number = partial(Integer, required=True)
NextCursor = partial(String, allow_none=True, metadata={"description": "For the next page; null if this is the last."})
