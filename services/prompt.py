"""The prompt of a session, in this order: base prompt, the session's override, docs and actions, conversation.

It is built of parts, of which a message has one or more. ``build`` returns the messages as the model is sent them;
``explain`` returns the same with the parts, and with what was left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from database import db
from services.actions import Actions
from services.docs_index import MAX_SECTIONS, DocsIndex
from store import messages, sessions

DOCS_INTRODUCTION = "Documentation that may help:"
# An explanation lists the best matches, also those that come after the sections of a prompt.
MAX_EXPLAINED_SECTIONS = 20

PromptMessage = dict[str, str]
"""A message as the model is sent it: ``role`` and ``content``."""


class Part(NamedTuple):
    """A part of a prompt, and where it is from: a setting, a section of the docs, or a message."""

    kind: str
    content: str
    source: str | None
    role: str = "system"

    def explain(self) -> dict[str, Any]:
        """Return the part as the API does, without the role, which its message has."""
        return {
            "content": self.content,
            "kind": self.kind,
            "source": self.source,
            "characters": len(self.content),
        }


class Prompt(NamedTuple):
    """The messages of a prompt, each a list of its parts, and descriptions of what was left out."""

    messages: list[list[Part]]
    left_out: list[dict[str, Any]]


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
        prompt = self._compose(user_id, session_id, next_message, without)
        return [_message(parts) for parts in prompt.messages]

    def explain(self, user_id: str, session_id: str, next_message: str | None = None) -> dict[str, Any]:
        """Return the prompt with the origin and the size of its parts, what was left out, and the limits.

        Raises:
            NotFound: there is no such session of the user's.

        """
        prompt = self._compose(user_id, session_id, next_message, explain=True)
        return {
            "messages": [_explain_message(parts) for parts in prompt.messages],
            "left_out": prompt.left_out,
            "limits": {"conversation": self._max_characters, "docs": self._max_docs_characters},
        }

    def _compose(
        self,
        user_id: str,
        session_id: str,
        next_message: str | None,
        without: str | None = None,
        explain: bool = False,
    ) -> Prompt:
        """Return the parts of a prompt; what was left out of it is read if it is to be explained."""
        with db.read_transaction():
            override = sessions.get(user_id, session_id)["system_prompt"]
            conversation, left_out_from = self._conversation(session_id, next_message, without)
            left_out = _explain_left_out(session_id, left_out_from) if explain and left_out_from else []
        query = next((part.content for part in reversed(conversation) if part.role == "user"), "")
        context, left_out_docs = self.docs_context(query, MAX_EXPLAINED_SECTIONS if explain else MAX_SECTIONS)
        if self._actions:
            actions = "\n\n" + self._actions if context else self._actions
            context.append(Part("actions", actions, "PARLEY_ACTIONS_FILE"))
        system = (
            [Part("base", self._base, "PARLEY_SYSTEM_PROMPT")] if self._base else [],
            [Part("override", override, None)] if override else [],
            context,
        )
        return Prompt(
            [parts for parts in system if parts] + [[part] for part in conversation], left_out_docs + left_out
        )

    def _conversation(
        self, session_id: str, next_message: str | None, without: str | None
    ) -> tuple[list[Part], int | None]:
        """Return the newest messages, as many as fit, and the ``seq`` of the newest one that does not.

        The newest message of all is always one of them.
        """
        newest_first = [] if next_message is None else [Part("message", next_message, None, "user")]
        remaining = self._max_characters - len(next_message or "")
        for seq, message_id, role, content in messages.iter_newest_first(session_id):
            if message_id == without:
                continue
            remaining -= len(content)
            if remaining < 0 and newest_first:
                return newest_first[::-1], seq
            newest_first.append(Part("message", content, message_id, role))
        return newest_first[::-1], None

    def docs_context(self, query: str, limit: int = MAX_SECTIONS) -> tuple[list[Part], list[dict[str, Any]]]:
        """Return the sections of the docs that match best, as many as fit, and what was left out of the matches.

        Their contents together, with introduction and headings, are the text for the model.
        """
        parts: list[Part] = []
        left_out: list[dict[str, Any]] = []
        remaining = self._max_docs_characters
        for rank, section in enumerate(self._docs.search(query, limit) if self._docs else ()):
            source = f"{section.file} › {section.heading}" if section.heading else section.file
            heading = f"\n\n[{section.file}{': ' if section.heading else ''}{section.heading}]\n"
            heading = heading if parts else DOCS_INTRODUCTION + heading
            in_prompt = rank < MAX_SECTIONS
            text = section.text[: max(remaining - len(heading), 0)] if in_prompt else ""
            if text:  # a heading is never cut
                parts.append(Part("docs", heading + text, source))
                remaining -= len(heading) + len(text)
            if text != section.text:
                reason = "docs_limit" if in_prompt else "section_limit"
                characters = len(section.text) - len(text)
                left_out.append({"kind": "docs", "source": source, "characters": characters, "reason": reason})
        return parts, left_out


def _message(parts: list[Part]) -> PromptMessage:
    return {"role": parts[0].role, "content": "".join(part.content for part in parts)}


def _explain_message(parts: list[Part]) -> dict[str, Any]:
    """Return a message with its origin; one of several parts has them as ``parts``."""
    kind, source = parts[0].kind, parts[0].source if len(parts) == 1 else None
    message = _message(parts)
    explained = message | {"kind": kind, "source": source, "characters": len(message["content"])}
    return explained | ({"parts": [part.explain() for part in parts]} if len(parts) > 1 else {})


def _explain_left_out(session_id: str, last: int) -> list[dict[str, Any]]:
    """Return the description, in a list, of the messages up to the ``seq`` ``last``."""
    summary = messages.summarize(session_id, last)
    return [{"kind": "message", "source": None, **summary, "reason": "conversation_limit"}]


def _format_actions(actions: Actions) -> str:
    """Return the list of actions for the model, empty if there are none."""
    lines = (
        f"- {action.name}: {action.description} Parameters: {orjson.dumps(action.parameters).decode()}"
        for action in actions.values()
    )
    return "\n".join(["Actions that the user can fire from this session:", *lines]) if actions else ""
