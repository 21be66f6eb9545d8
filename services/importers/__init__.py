"""Conversations of other programs as documents of ours, told apart by their shape.

An importer is a module with ``matches(item)``, ``session(item)`` and ``messages(item, left_out)``,
a generator of pairs: where a message stands in the item, and the message as our document has it.
What it leaves out it counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from errors import ApiError
from services.importers import chatgpt, claude, librechat, openwebui, parley

KINDS: dict[str, Any] = {
    "ChatGPT": chatgpt,
    "Claude": claude,
    "LibreChat": librechat,
    "Open WebUI": openwebui,
    "Parley": parley,
}
"""The importers, by the programs whose exports they take."""

NAMES = f"{', '.join([*KINDS][:-1])} and {[*KINDS][-1]}"


@dataclass
class ConvertedConversation:
    """One conversation: the ``document`` that the import takes, and what is not in it.

    ``paths`` says where each message stood. ``left_out`` counts what cannot be carried over.
    """

    document: dict[str, Any]
    system_prompt: str | None
    paths: list[str]
    left_out: Counter[str]


def convert(item: Any) -> ConvertedConversation:
    """Return a conversation, whoever has exported it.

    Raises:
        ApiError: ``validation_error``, where it is of no known shape.

    """
    kinds = KINDS.items() if isinstance(item, dict) else ()
    name, importer = next(((name, importer) for name, importer in kinds if importer.matches(item)), ("", None))
    if importer is None:
        raise ApiError("validation_error", {"_schema": [f"Not a conversation of a known kind: {NAMES}."]})
    if importer is parley:
        return ConvertedConversation(item, None, [], Counter())
    left_out: Counter[str] = Counter()
    try:
        session, prompt = importer.session(item, left_out)
        pairs = list(importer.messages(item, left_out))
    except (AttributeError, TypeError, LookupError, ValueError) as error:
        raise ApiError("validation_error", {"_schema": [f"Not what {name} exports: {error}"[:300]]}) from None
    document = {"session": session, "messages": [message for _, message in pairs]}
    return ConvertedConversation(document, prompt, [path for path, _ in pairs], +left_out)
