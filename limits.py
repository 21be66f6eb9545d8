"""Lengths, counts and choices that the service accepts; the database's constraints have them too."""

from __future__ import annotations

ROLES = ("user", "assistant", "system")
RUN_STATUSES = ("running", "succeeded", "failed", "interrupted")
PROMPT_PARTS = ("base", "override", "docs", "actions", "message")
LEFT_OUT_REASONS = ("docs_limit", "section_limit", "conversation_limit")
ORDERS = ("asc", "desc")
MAX_USERNAME_LENGTH = 64
MIN_PASSWORD_LENGTH, MAX_PASSWORD_LENGTH = 8, 1_024
MAX_TITLE_LENGTH = 120
MAX_SYSTEM_PROMPT_LENGTH = 8_000
MAX_CONTENT_LENGTH = 50_000
MAX_INPUT_LENGTH = 65_536  # of an action's input, as JSON text
MAX_EXTERNAL_ID_LENGTH = 255
MAX_METADATA_DEPTH = 200
MAX_SEARCH_QUERY_LENGTH = 10_000
DEFAULT_SEARCH_LIMIT = 20  # sessions
MAX_DELETED_SESSIONS = 1_000  # by their ids, in one request
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 200
