"""Schemas of the bodies of requests and responses. Those of query parameters are in ``web.parameters``.

Requests are loaded through these schemas. Responses are not dumped through them, for speed; the tests check each
response against them. A request is named by its verb, what is returned by its noun.

Longer than 300 lines, so that what the API takes and returns can be read in one place. What openapi.json says of a
schema besides its fields is its ``json_schema``.
"""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, post_load, pre_load
from marshmallow.validate import Equal, Length, OneOf

import fields
import limits
from errors import STATUS_BY_CODE, ApiError


class RequestSchema(Schema):
    """Base of what requests contain: unknown keys are ignored."""

    class Meta:
        unknown = EXCLUDE


# Requests --------------------------------------------------------------------------------------


class CreateLogin(RequestSchema):
    username = fields.Text(required=True, validate=Length(1, 1_024))
    password = fields.Password()
    cookie = fields.JsonBoolean(
        load_default=False, metadata={"description": "Return the refresh token as a cookie instead: for web pages."}
    )


class ChangePassword(RequestSchema):
    current_password = fields.Password()
    new_password = fields.NewPassword()


class CreateUser(RequestSchema):
    username = fields.Username(required=True, validate=Length(1, limits.MAX_USERNAME_LENGTH))
    password = fields.NewPassword()


class CreateSession(RequestSchema):
    title = fields.Text(validate=Length(1, limits.MAX_TITLE_LENGTH))


class UpdateSession(RequestSchema):
    title = fields.TrimmedText(required=True, validate=Length(1, limits.MAX_TITLE_LENGTH))


class DeleteSessions(RequestSchema):
    ids = fields.List(
        fields.Text(),
        required=True,
        validate=Length(1, limits.MAX_DELETED_SESSIONS),
        metadata={"description": "Those to delete. Without a body, all are deleted."},
    )


class SetSystemPrompt(RequestSchema):
    system_prompt = fields.Text(
        allow_none=True,
        validate=Length(max=limits.MAX_SYSTEM_PROMPT_LENGTH),
        metadata={"description": "Empty or blank clears the override; null or absent changes nothing."},
    )

    @post_load
    def clear_blank(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return None for a prompt that clears the override, and no prompt for one that changes nothing."""
        prompt = data.get("system_prompt")
        return {} if prompt is None else {"system_prompt": prompt if prompt.strip(fields.WHITESPACE) else None}


class AppendMessage(RequestSchema):
    role = fields.Text(required=True, validate=OneOf(limits.ROLES))
    content = fields.Content()
    metadata = fields.JsonObject(load_default="{}")


class StartChat(RequestSchema):
    content = fields.Content(required=False)
    metadata = fields.JsonObject()
    retry = fields.JsonBoolean(
        metadata={"description": "Asks the newest question again, instead of sending `content` and `metadata`."}
    )

    json_schema = {
        "anyOf": [
            {"required": ["content"], "properties": {"retry": {"const": False}}},
            {"required": ["retry"], "properties": {"retry": {"const": True}, "content": False, "metadata": False}},
        ]
    }

    @post_load
    def check_retry(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the content, None to ask the newest question again, and the metadata.

        Raises:
            ValidationError: there is no content, or something is sent beside ``retry``.

        """
        retry = data.pop("retry", False)
        if retry and data:
            raise ValidationError({name: ["Not allowed with retry."] for name in data})
        if not (retry or "content" in data):
            raise ValidationError({"content": ["Missing data for required field."]})
        return {"content": None, "metadata": "{}"} | data


class FireAction(RequestSchema):
    input = fields.JsonObject(
        load_default="{}",
        validate=Length(max=limits.MAX_INPUT_LENGTH, error="Longer than maximum length {max} as JSON."),
        metadata={"description": "As the action's `parameters` describe it."},
    )


class ImportDocumentMessage(AppendMessage):
    created_at = fields.IsoTime(load_default=None, allow_none=False)


class ImportDocumentSession(RequestSchema):
    external_id = fields.ExternalId(data_key="id", load_default=None, allow_none=True)
    title = fields.Text(allow_none=True, load_default=None, validate=Length(max=limits.MAX_TITLE_LENGTH))
    created_at = fields.IsoTime(load_default=None, allow_none=False)
    updated_at = fields.IsoTime()


class ImportDocument(RequestSchema):
    version = fields.Integer(validate=Equal(1))
    session = fields.Nested(ImportDocumentSession, required=True)
    messages = fields.MessageList(ImportDocumentMessage, required=True)
    error = fields.Raw(
        allow_none=True,
        validate=OneOf((None,), error="The export was broken off: the session was deleted while it was sent."),
        metadata={"description": "Marks a line of an export as incomplete; such a line is not imported."},
    )

    compact = staticmethod(fields.MessageList.load_fast)

    @pre_load
    def check_version(self, data: Any, **kwargs: Any) -> Any:
        """Check the version before all else: another one may have other keys.

        Raises:
            ApiError: ``unsupported_version``.

        """
        version = data.get("version", 1) if isinstance(data, dict) else 1
        if type(version) is not int or version != 1:
            raise ApiError("unsupported_version", {"version": ["Must be 1."]})
        return data


# Responses -------------------------------------------------------------------------------------


class Session(Schema):
    id = fields.Uuid(required=True)
    title = fields.OptionalText()
    system_prompt = fields.OptionalText()
    created_at = fields.Timestamp(required=True)
    updated_at = fields.Timestamp(required=True)


class Message(Schema):
    id = fields.Uuid(required=True)
    session_id = fields.Uuid(required=True)
    role = fields.String(required=True, validate=OneOf(limits.ROLES))
    content = fields.String(required=True)
    metadata = fields.Dict(required=True)
    created_at = fields.Timestamp(required=True)


class SessionWithMessages(Session):
    messages = fields.List(fields.Nested(Message), metadata={"description": "Absent with `?messages=false`."})


class SessionListItem(Session):
    match = fields.String(metadata={"description": "Of a search: an excerpt as HTML, with the matches in `<mark>`."})


class SessionList(Schema):
    items = fields.List(fields.Nested(SessionListItem), required=True)
    next_cursor = fields.NextCursor()


class MessagePage(Schema):
    items = fields.List(fields.Nested(Message), required=True)
    next_cursor = fields.NextCursor(required=True)


class DeletedSessions(Schema):
    deleted = fields.Number()


class ExportDocumentSession(Session):
    class Meta:
        exclude = ("system_prompt",)


class ExportDocument(Schema):
    version = fields.Integer(required=True, validate=Equal(1))
    exported_at = fields.Timestamp(required=True)
    session = fields.Nested(ExportDocumentSession, required=True)
    messages = fields.List(fields.Nested(Message), required=True)


class ImportDryRunResult(Schema):
    imported_messages = fields.Number()


class ImportResult(ImportDryRunResult):
    session = fields.Nested(Session, required=True)


class ImportReportItem(Schema):
    line = fields.Number(metadata={"description": "From 1; in a JSON array, the number of the item."})
    status = fields.String(required=True, validate=OneOf(("imported", "skipped", "refused")))
    title = fields.String()
    messages = fields.Integer(metadata={"description": "Number of messages."})
    session_id = fields.Uuid()
    error = fields.String()
    details = fields.Raw()
    left_out = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"description": "Count of each kind that is not imported."},
    )


class ImportReportCounts(Schema):
    imported = fields.Number()
    skipped = fields.Number()
    refused = fields.Number()


class ImportReport(Schema):
    sessions = fields.List(fields.Nested(ImportReportItem), required=True)
    not_listed = fields.Integer(
        metadata={"description": "Number of refused items that are not in `sessions`: those after the first 1,000."}
    )
    counts = fields.Nested(ImportReportCounts, required=True)


class PromptPart(Schema):
    content = fields.String(required=True)
    kind = fields.String(required=True, validate=OneOf(limits.PROMPT_PARTS))
    source = fields.OptionalText(metadata={"description": "A setting, the file and heading, or the message's id."})
    characters = fields.Number()


class PromptMessage(Schema):
    role = fields.String(required=True, validate=OneOf(limits.ROLES))
    content = fields.String(required=True)
    kind = fields.String(
        validate=OneOf(limits.PROMPT_PARTS),
        metadata={"description": "This and all below with `explain`. Of several parts, that of the first."},
    )
    source = fields.String(
        allow_none=True, metadata={"description": "As in `parts`; null for several parts and for the next message."}
    )
    characters = fields.Integer()
    parts = fields.List(
        fields.Nested(PromptPart),
        metadata={"description": "If there are several: their contents together are the message's."},
    )


class PromptLeftOut(Schema):
    kind = fields.String(required=True, validate=OneOf(("docs", "message")))
    source = fields.OptionalText(metadata={"description": "The file and heading; null for messages."})
    characters = fields.Number(metadata={"description": "How many of it are left out."})
    reason = fields.String(
        required=True,
        validate=OneOf(limits.LEFT_OUT_REASONS),
        metadata={
            "description": "No room in `limits.docs`; other sections match better; no room in `limits.conversation`."
        },
    )
    count = fields.Integer(metadata={"description": "Of messages: how many. The next two are their ends."})
    first_id = fields.Uuid()
    last_id = fields.Uuid()


class PromptLimits(Schema):
    conversation = fields.Number(metadata={"description": "Characters of the conversation, at most."})
    docs = fields.Number(metadata={"description": "Characters of the sections of the documentation, at most."})


class Prompt(Schema):
    messages = fields.List(fields.Nested(PromptMessage), required=True)
    left_out = fields.List(fields.Nested(PromptLeftOut), metadata={"description": "With `explain`."})
    limits = fields.Nested(PromptLimits, metadata={"description": "With `explain`."})


class ChatMessages(Schema):
    messages = fields.List(fields.Nested(Message), required=True)


class Action(Schema):
    name = fields.String(required=True)
    description = fields.String(required=True)
    parameters = fields.Dict(required=True, metadata={"description": "A JSON Schema."})


class ActionList(Schema):
    items = fields.List(fields.Nested(Action), required=True)


class WebhookRun(Schema):
    id = fields.Uuid(required=True)
    session_id = fields.Uuid(required=True)
    action = fields.String(required=True)
    status = fields.String(required=True, validate=OneOf(limits.RUN_STATUSES))
    request = fields.Dict(required=True, metadata={"description": "The body that was sent."})
    response_status = fields.Number(allow_none=True)
    response_body = fields.OptionalText(metadata={"description": "Its first 16 KiB."})
    error = fields.OptionalText(validate=OneOf(("timeout", "unreachable", "bad_status")))
    started_at = fields.Timestamp(required=True)
    finished_at = fields.Timestamp(required=True, allow_none=True)
    duration_ms = fields.Number(allow_none=True)


class WebhookRunList(Schema):
    items = fields.List(fields.Nested(WebhookRun), required=True)


class TokenPair(Schema):
    access_token = fields.String(required=True)
    refresh_token = fields.String(metadata={"description": "Absent where it is the cookie `parley_refresh`."})
    token_type = fields.String(required=True, validate=OneOf(("Bearer",)))
    expires_in = fields.Number(metadata={"description": "Seconds until the access token expires."})


class User(Schema):
    id = fields.Uuid(required=True)
    username = fields.String(required=True)
    created_at = fields.Timestamp(required=True)


class Limits(Schema):
    title = fields.Number(metadata={"description": "In characters, like the next two."})
    content = fields.Number()
    system_prompt = fields.Number()
    import_bytes = fields.Number()
    body_bytes = fields.Number()


class About(Schema):
    version = fields.String(required=True)
    chat = fields.Boolean(required=True, metadata={"description": "Whether a model is configured."})
    model = fields.OptionalText(metadata={"description": "Null if the model's API chooses its own."})
    actions = fields.Number(metadata={"description": "How many actions are configured."})
    limits = fields.Nested(Limits, required=True)


class Health(Schema):
    status = fields.String(required=True, validate=OneOf(("ok",)))


class Error(Schema):
    error = fields.String(required=True, validate=OneOf(tuple(STATUS_BY_CODE)))
    details = fields.Raw()
