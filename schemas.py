"""What comes in, with its limits, and what goes out, for the documentation and its test.

Bodies are loaded through these schemas. Answers are not dumped through them, for speed; a test
holds every answer against them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validates_schema
from marshmallow.validate import Equal, Length, OneOf, Range

import limits
from errors import STATUS_BY_CODE, ApiError
from json_values import dump_metadata
from text import check_text
from timestamps import parse_timestamp
from usernames import normalize_name

# What ECMAScript's trim() takes off, and so what the clients' own does (ECMA-262, 22.1.3.32).
WHITESPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
EXPLAINED_ERRORS = 20  # the most messages of one import that are told what is wrong with them

_ROLES = {role: role for role in limits.ROLES}  # one string for all messages of a role

MessageRow = tuple[str, str, str, str | None]
"""A message to be written: role, content, metadata as JSON text, time."""


def _valid(check: Callable[[Any], Any], value: Any) -> Any:
    """Call a check of the values module, with its error as a field's."""
    try:
        return check(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


class Text(fields.String):
    """A string without U+0000."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        _valid(check_text, text)
        return text


class TrimmedText(Text):
    """A string whose blanks at both ends do not count."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).strip(WHITESPACE)


class Username(Text):
    """The name of a new user."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        return str(_valid(normalize_name, text)) if text else text


class IsoTime(fields.String):
    """A time in any form of ISO 8601, loaded as it is stored."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            return parse_timestamp(text)
        except ValueError:
            raise ValidationError("Not a valid ISO 8601 time.") from None


class Count(fields.Integer):
    """A number of a query, in plain digits: Python's own reading of numbers takes ``1_0``, too."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not (isinstance(value, str) and value.isascii() and value.isdigit()):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class Metadata(fields.Field[str]):
    """An object of any content, loaded as the JSON text that is stored."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, dict):
            raise ValidationError("Not a valid mapping type.")
        return str(_valid(dump_metadata, value))


class RequestSchema(Schema):
    """Unknown keys are ignored."""

    class Meta:
        unknown = EXCLUDE


# What comes in ---------------------------------------------------------------------------------


class ListPage(RequestSchema):
    limit = Count(
        load_default=None,
        validate=Range(1, limits.MAX_PAGE_SIZE),
        metadata={"description": f"Most items of the answer; {limits.DEFAULT_PAGE_SIZE} where only a cursor is given."},
    )
    cursor = fields.String(
        load_default=None, metadata={"description": "`next_cursor` of the page before.", "pattern": "^[A-Za-z0-9_.-]+$"}
    )


class ListSessions(ListPage):
    q = Text(
        load_default=None,
        validate=Length(max=limits.MAX_SEARCH_QUERY_LENGTH),
        metadata={"description": "Words to look for in titles and messages: the best sessions first, with a `match`."},
    )

    @validates_schema
    def check_cursor(self, data: dict[str, Any], **kwargs: Any) -> None:
        """There is one page of what is found: the best."""
        if data["q"] is not None and data["cursor"] is not None:
            raise ValidationError("Not together with q.", "cursor")


class ExportSession(RequestSchema):
    format = fields.String(load_default="json", validate=OneOf(("json", "markdown")))


class ImportOptions(RequestSchema):
    dry_run = fields.Boolean(load_default=False, metadata={"description": "Check it all, and write nothing."})


class BulkImportOptions(ImportOptions):
    duplicate = fields.Boolean(load_default=False, metadata={"description": "Import also what is there already."})


class CreateSession(RequestSchema):
    title = Text(validate=Length(1, limits.MAX_TITLE_LENGTH))


class UpdateSession(RequestSchema):
    title = TrimmedText(
        required=True, validate=Length(1, limits.MAX_TITLE_LENGTH), metadata={"description": "Trimmed."}
    )


class SetSystemPrompt(RequestSchema):
    system_prompt = Text(
        allow_none=True,
        validate=Length(max=limits.MAX_SYSTEM_PROMPT_LENGTH),
        metadata={"description": "Empty or blank clears the override; null or absent changes nothing."},
    )

    @post_load
    def clear_blank(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return None for what clears the prompt, and nothing for what changes nothing."""
        prompt = data.get("system_prompt")
        return {} if prompt is None else {"system_prompt": prompt if prompt.strip(WHITESPACE) else None}


class AppendMessage(RequestSchema):
    role = Text(required=True, validate=OneOf(limits.ROLES))
    content = Text(required=True, validate=Length(1, limits.MAX_CONTENT_LENGTH))
    metadata = Metadata(load_default="{}")


class StartChat(RequestSchema):
    content = Text(required=True, validate=Length(1, limits.MAX_CONTENT_LENGTH))
    metadata = Metadata(load_default="{}")


class GetPrompt(RequestSchema):
    content = Text(
        load_default=None,
        validate=Length(1, limits.MAX_CONTENT_LENGTH),
        metadata={"description": "A next user message."},
    )


class FireAction(RequestSchema):
    input = Metadata(
        load_default="{}",
        validate=Length(max=limits.MAX_INPUT_LENGTH, error="Longer than {max} characters of JSON."),
        metadata={"description": "What the action's `parameters` ask for."},
    )


class ImportMessage(AppendMessage):
    created_at = IsoTime(load_default=None, allow_none=False)


class MessageList(fields.Field[list[MessageRow]]):
    """A list of ImportMessage, loaded as MessageRow tuples.

    The good case is checked in one loop: 10,000 messages in 3 ms, through the nested schema in
    135. What the loop does not take, the schema explains. Of a large list, the elements are rows
    already: ``load_fast`` is what is kept of each while it is parsed.
    """

    nested = ImportMessage()

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
                if len(errors) == EXPLAINED_ERRORS:
                    break
        if errors:
            raise ValidationError(errors)  # keyed by index, as fields.List does it
        return rows

    @staticmethod
    def load_fast(item: Any) -> MessageRow | None:
        """Return the row of a message that is as it should be, else None."""
        try:
            role, content = _ROLES[item["role"]], item["content"]
            if (
                type(content) is str
                and 0 < len(content) <= limits.MAX_CONTENT_LENGTH
                and "\0" not in content
                and type(metadata := item.get("metadata", {})) is dict
            ):
                moment = parse_timestamp(item["created_at"]) if "created_at" in item else None
                return role, content, dump_metadata(metadata), moment
        except (KeyError, TypeError, ValueError):
            pass
        return None

    def _load_checked(self, item: Any) -> MessageRow:
        message = self.nested.load(item)
        return message["role"], message["content"], message["metadata"], message["created_at"]


class ExternalId(fields.Field[str | None]):
    """An id from elsewhere; where it is none that could be kept, there is none."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str | None:
        if not isinstance(value, str) or not 0 < len(value) <= limits.MAX_EXTERNAL_ID_LENGTH:
            return None
        try:
            check_text(value)
        except ValueError:
            return None
        return value


class ImportSession(RequestSchema):
    external_id = ExternalId(data_key="id", load_default=None, allow_none=True)
    title = Text(allow_none=True, load_default=None, validate=Length(max=limits.MAX_TITLE_LENGTH))
    created_at = IsoTime(load_default=None, allow_none=False)
    updated_at = IsoTime()


class ImportDocument(RequestSchema):
    version = fields.Integer(validate=Equal(1))
    session = fields.Nested(ImportSession, required=True)
    messages = MessageList(required=True)
    error = fields.Raw(
        allow_none=True,
        validate=OneOf((None,), error="The export was broken off: the session was deleted while it was sent."),
        metadata={"description": "Says of a line of an export that it was broken off, and is not imported."},
    )

    compact = staticmethod(MessageList.load_fast)

    @pre_load
    def check_version(self, data: Any, **kwargs: Any) -> Any:
        """Look at the version before anything else: another one may mean other keys."""
        version = data.get("version", 1) if isinstance(data, dict) else 1
        if type(version) is not int or version != 1:
            raise ApiError("unsupported_version")
        return data


class Credentials(RequestSchema):
    username = Text(required=True, validate=Length(1, 1_024))
    password = Text(required=True, validate=Length(1, limits.MAX_PASSWORD_LENGTH))


class ChangePassword(RequestSchema):
    current_password = Text(required=True, validate=Length(1, limits.MAX_PASSWORD_LENGTH))
    new_password = Text(required=True, validate=Length(limits.MIN_PASSWORD_LENGTH, limits.MAX_PASSWORD_LENGTH))


class CreateUser(RequestSchema):
    username = Username(required=True, validate=Length(1, limits.MAX_USERNAME_LENGTH))
    password = Text(required=True, validate=Length(limits.MIN_PASSWORD_LENGTH, limits.MAX_PASSWORD_LENGTH))


# What goes out ---------------------------------------------------------------------------------


class Uuid(fields.UUID):
    """A lower-case UUID."""


class Timestamp(fields.DateTime):
    """UTC, ISO 8601, with milliseconds and ``Z``."""


class Session(Schema):
    id = Uuid(required=True)
    title = fields.String(required=True, allow_none=True)
    system_prompt = fields.String(required=True, allow_none=True)
    created_at = Timestamp(required=True)
    updated_at = Timestamp(required=True)


class Message(Schema):
    id = Uuid(required=True)
    session_id = Uuid(required=True)
    role = fields.String(required=True, validate=OneOf(limits.ROLES))
    content = fields.String(required=True)
    metadata = fields.Dict(required=True)
    created_at = Timestamp(required=True)


NextCursor = partial(
    fields.String, allow_none=True, metadata={"description": "For the next page; null where there is none."}
)


class ListedSession(Session):
    match = fields.String(
        metadata={"description": "Of a search: a piece of the text as HTML, with `<mark>` round what was looked for."}
    )


class SessionList(Schema):
    items = fields.List(fields.Nested(ListedSession), required=True)
    next_cursor = NextCursor()


class MessagePage(Schema):
    items = fields.List(fields.Nested(Message), required=True)
    next_cursor = NextCursor(required=True)


class SessionWithMessages(Session):
    messages = fields.List(fields.Nested(Message), required=True)


class ExportedSession(Session):
    class Meta:
        exclude = ("system_prompt",)


class ExportDocument(Schema):
    version = fields.Integer(required=True, validate=Equal(1))
    exported_at = Timestamp(required=True)
    session = fields.Nested(ExportedSession, required=True)
    messages = fields.List(fields.Nested(Message), required=True)


class ImportedSession(Schema):
    session = fields.Nested(Session, required=True)
    imported_messages = fields.Integer(required=True)


class ImportDryRun(Schema):
    imported_messages = fields.Integer(required=True)


class ImportItemReport(Schema):
    line = fields.Integer(required=True, metadata={"description": "Of an array, the item; from 1."})
    status = fields.String(required=True, validate=OneOf(("imported", "skipped", "refused")))
    session_id = Uuid()
    error = fields.String()
    details = fields.Raw()
    left_out = fields.Dict(
        keys=fields.String(), values=fields.Integer(), metadata={"description": "How much of what is not carried over."}
    )


class ImportCounts(Schema):
    imported = fields.Integer(required=True)
    skipped = fields.Integer(required=True)
    refused = fields.Integer(required=True)


class ImportReport(Schema):
    sessions = fields.List(fields.Nested(ImportItemReport), required=True)
    not_listed = fields.Integer(
        metadata={
            "description": "How many were refused that are not among the `sessions`: those after the first 1,000."
        }
    )
    counts = fields.Nested(ImportCounts, required=True)


class DeletedSessions(Schema):
    deleted = fields.Integer(required=True)


class PromptMessage(Schema):
    role = fields.String(required=True, validate=OneOf(limits.ROLES))
    content = fields.String(required=True)


class Prompt(Schema):
    messages = fields.List(fields.Nested(PromptMessage), required=True)


class ChatMessages(Schema):
    messages = fields.List(fields.Nested(Message), required=True)


class Action(Schema):
    name = fields.String(required=True)
    description = fields.String(required=True)
    parameters = fields.Dict(required=True, metadata={"description": "A JSON Schema."})


class ActionList(Schema):
    items = fields.List(fields.Nested(Action), required=True)


class WebhookRun(Schema):
    id = Uuid(required=True)
    session_id = Uuid(required=True)
    action = fields.String(required=True)
    status = fields.String(required=True, validate=OneOf(limits.RUN_STATUSES))
    request = fields.Dict(required=True, metadata={"description": "The body that was sent."})
    response_status = fields.Integer(required=True, allow_none=True)
    response_body = fields.String(required=True, allow_none=True, metadata={"description": "Its first 16 KiB."})
    error = fields.String(
        required=True,
        allow_none=True,
        validate=OneOf(("timeout", "unreachable", "bad_status")),
    )
    started_at = Timestamp(required=True)
    finished_at = Timestamp(required=True, allow_none=True)
    duration_ms = fields.Integer(required=True, allow_none=True)


class WebhookRunList(Schema):
    items = fields.List(fields.Nested(WebhookRun), required=True)


class TokenPair(Schema):
    access_token = fields.String(required=True)
    refresh_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=OneOf(("Bearer",)))
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds of the access token."})


class User(Schema):
    id = Uuid(required=True)
    username = fields.String(required=True)
    created_at = Timestamp(required=True)


class Limits(Schema):
    title = fields.Integer(required=True, metadata={"description": "In characters, like the next two."})
    content = fields.Integer(required=True)
    system_prompt = fields.Integer(required=True)
    import_bytes = fields.Integer(required=True)
    body_bytes = fields.Integer(required=True)


class About(Schema):
    version = fields.String(required=True)
    chat = fields.Boolean(required=True, metadata={"description": "Whether a model is set up."})
    model = fields.String(
        required=True, allow_none=True, metadata={"description": "Null where the model's API takes its own."}
    )
    actions = fields.Integer(required=True, metadata={"description": "How many can be fired."})
    limits = fields.Nested(Limits, required=True)


class Health(Schema):
    status = fields.String(required=True, validate=OneOf(("ok",)))


class Error(Schema):
    error = fields.String(required=True, validate=OneOf(tuple(STATUS_BY_CODE)))
    details = fields.Raw()
