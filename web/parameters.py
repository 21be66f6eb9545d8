"""The query parameters of the routes, as schemas. Those that are unknown are ignored."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, validates_schema
from marshmallow.validate import Length, OneOf, Range

import fields
import limits
from schemas import RequestSchema


class Page(RequestSchema):
    limit = fields.Digits(
        load_default=None,
        validate=Range(1, limits.MAX_PAGE_SIZE),
        metadata={"description": f"Maximum number of items; {limits.DEFAULT_PAGE_SIZE} if there is only a `cursor`."},
    )
    cursor = fields.String(
        load_default=None,
        metadata={"description": "`next_cursor` of the previous page.", "pattern": "^[A-Za-z0-9_.-]+$"},
    )


class ListSessions(Page):
    q = fields.Text(
        load_default=None,
        validate=Length(max=limits.MAX_SEARCH_QUERY_LENGTH),
        metadata={"description": "Words to search for in titles and messages: the best first, each with a `match`."},
    )

    @validates_schema
    def check_cursor(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Reject a cursor with a search, which has one page: the best matches."""
        if data["q"] is not None and data["cursor"] is not None:
            raise ValidationError("Not allowed together with q.", "cursor")


class DeleteSessions(RequestSchema):
    listed = fields.Boolean(
        load_default=False,
        metadata={"description": "Require a body, so that a proxy that drops it cannot turn these sessions into all."},
    )


class GetSession(RequestSchema):
    messages = fields.Boolean(
        load_default=True, metadata={"description": "`false` leaves the messages out; the entity tag is the same."}
    )


class ListMessages(Page):
    order = fields.String(
        load_default="asc",
        validate=OneOf(limits.ORDERS),
        metadata={"description": "`desc`: newest first, without messages that are written after the first page."},
    )


class GetPrompt(RequestSchema):
    content = fields.Text(
        load_default=None,
        validate=Length(1, limits.MAX_CONTENT_LENGTH),
        metadata={"description": "A next user message."},
    )
    explain = fields.Boolean(
        load_default=False,
        metadata={"description": "Say where each part is from and how long it is, and what was left out."},
    )


class ExportSession(RequestSchema):
    format = fields.String(load_default="json", validate=OneOf(("json", "markdown")))


class ImportSession(RequestSchema):
    dry_run = fields.Boolean(load_default=False, metadata={"description": "Check everything and write nothing."})


class ImportAll(ImportSession):
    duplicate = fields.Boolean(load_default=False, metadata={"description": "Import what exists already, too."})
