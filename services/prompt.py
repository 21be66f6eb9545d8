"""What a model is sent: base identity prompt, the session's override, docs and actions context, conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from database import db
from services.actions import Actions
from services.docs_index import DocsIndex
from store import messages, sessions

INTRODUCTION = "Documentation that may help:"

PromptMessage = dict[str, str]
"""A message as the model gets it: ``role`` and ``content``."""


class PromptBuilder:
    """Builds prompts from what the settings name and what a session holds."""

    def __init__(self, config: Mapping[str, Any], docs: DocsIndex | None, actions: Actions):
        self._base: str = config["PARLEY_SYSTEM_PROMPT"] or ""
        self._budget: int = config["PARLEY_LLM_CONTEXT_CHARS"]
        self._docs_budget: int = config["PARLEY_DOCS_CHARS"]
        self._docs = docs
        self._actions = _format_actions(actions)

    def build(self, user_id: str, session_id: str, next_message: str | None = None) -> list[PromptMessage]:
        """Return the prompt of a session, or raise Missing; ``next_message`` is a user message that is yet to come.

        What is empty is left out, and of a conversation beyond the budget its oldest messages are.
        """
        with db.read_transaction():
            override = sessions.get(user_id, session_id)["system_prompt"]
            conversation = self._conversation(session_id, next_message)
        question = next((part["content"] for part in reversed(conversation) if part["role"] == "user"), "")
        system = (self._base, override, "\n\n".join(filter(None, (self._documentation(question), self._actions))))
        return [{"role": "system", "content": content} for content in system if content] + conversation

    def _conversation(self, session_id: str, next_message: str | None) -> list[PromptMessage]:
        parts: list[PromptMessage] = [] if next_message is None else [{"role": "user", "content": next_message}]
        left = self._budget - len(next_message or "")
        for role, content in messages.iter_newest_first(session_id):
            left -= len(content)
            if left < 0 and parts:  # the newest is always in
                break
            parts.append({"role": role, "content": content})
        return parts[::-1]

    def _documentation(self, question: str) -> str:
        """Return the sections that fit a question, with all that is round them within the budget."""
        text = INTRODUCTION
        for section in self._docs.search(question) if self._docs else ():
            head = f"\n\n[{section.file}{': ' if section.heading else ''}{section.heading}]\n"
            left = self._docs_budget - len(text) - len(head)
            if left > 0:  # no half of a heading
                text += head + section.text[:left]
        return text if text != INTRODUCTION else ""


def _format_actions(actions: Actions) -> str:
    lines = (
        f"- {action.name}: {action.description} Parameters: {orjson.dumps(action.parameters).decode()}"
        for action in actions.values()
    )
    return "\n".join(["Actions that the user can fire from this session:", *lines]) if actions else ""
