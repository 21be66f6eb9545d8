"""The prompt of a session, in this order: base prompt, the session's override, docs and actions, conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from database import db
from services.actions import Actions
from services.docs_index import DocsIndex
from store import messages, sessions

DOCS_INTRODUCTION = "Documentation that may help:"

PromptMessage = dict[str, str]
"""A message as the model is sent it: ``role`` and ``content``."""


class PromptBuilder:
    """Builds prompts from the settings, the docs, the actions and a session's messages."""

    def __init__(self, config: Mapping[str, Any], docs: DocsIndex | None, actions: Actions):
        self._base: str = config["PARLEY_SYSTEM_PROMPT"] or ""
        self._max_characters: int = config["PARLEY_LLM_CONTEXT_CHARS"]
        self._max_docs_characters: int = config["PARLEY_DOCS_CHARS"]
        self._docs = docs
        self._actions = _format_actions(actions)

    def build(
        self, user_id: str, session_id: str, next_message: str | None = None, without: str | None = None
    ) -> list[PromptMessage]:
        """Return the prompt of a session, as if the user had appended ``next_message``.

        The message whose id is ``without`` is left out: an answer that is to be replaced. Empty parts are omitted, and
        so are the oldest messages of a conversation that is too long.

        Raises:
            NotFound: there is no such session of the user's.

        """
        with db.read_transaction():
            override = sessions.get(user_id, session_id)["system_prompt"]
            conversation = self._conversation(session_id, next_message, without)
        query = next((message["content"] for message in reversed(conversation) if message["role"] == "user"), "")
        system = (self._base, override, "\n\n".join(filter(None, (self.docs_context(query), self._actions))))
        return [{"role": "system", "content": content} for content in system if content] + conversation

    def _conversation(self, session_id: str, next_message: str | None, without: str | None) -> list[PromptMessage]:
        """Return the newest messages, as many as fit; the newest is always one of them."""
        newest_first: list[PromptMessage] = [] if next_message is None else [{"role": "user", "content": next_message}]
        remaining = self._max_characters - len(next_message or "")
        for message_id, role, content in messages.iter_newest_first(session_id):
            if message_id == without:
                continue
            remaining -= len(content)
            if remaining < 0 and newest_first:
                break
            newest_first.append({"role": role, "content": content})
        return newest_first[::-1]

    def docs_context(self, query: str) -> str:
        """Return the sections of the docs that match best, with introduction and headings as many as fit."""
        text = DOCS_INTRODUCTION
        for section in self._docs.search(query) if self._docs else ():
            heading = f"\n\n[{section.file}{': ' if section.heading else ''}{section.heading}]\n"
            remaining = self._max_docs_characters - len(text) - len(heading)
            if remaining > 0:  # a heading is never cut
                text += heading + section.text[:remaining]
        return text if text != DOCS_INTRODUCTION else ""


def _format_actions(actions: Actions) -> str:
    """Return the list of actions for the model, empty if there are none."""
    lines = (
        f"- {action.name}: {action.description} Parameters: {orjson.dumps(action.parameters).decode()}"
        for action in actions.values()
    )
    return "\n".join(["Actions that the user can fire from this session:", *lines]) if actions else ""
