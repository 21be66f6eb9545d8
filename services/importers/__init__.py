"""Conversion of other programs' conversations, which differ by their shape, into documents of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from errors import ApiError
from services.importers import chatgpt, claude, librechat, openwebui


class Importer(Protocol):
    """A module that converts one program's conversations; ``left_out`` counts what cannot be carried over."""

    def matches(self, item: dict[str, Any]) -> bool:
        """Return whether an item has the shape of the program's conversations."""

    def convert_session(self, item: dict[str, Any], left_out: Counter[str]) -> tuple[dict[str, Any], str | None]:
        """Return the session of our document, and the system prompt."""

    def convert_messages(self, item: dict[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the messages of our document, each after its path in the item."""


IMPORTERS: dict[str, Importer] = {
    "ChatGPT": chatgpt,
    "Claude": claude,
    "LibreChat": librechat,
    "Open WebUI": openwebui,
}
"""The importers, by the programs whose exports they convert."""

# Our own document has no importer: it is validated whole, with its version and all other keys.
PROGRAMS = (*IMPORTERS, "Parley")
NAMES = f"{', '.join(PROGRAMS[:-1])} or {PROGRAMS[-1]}"


@dataclass
class ConvertedConversation:
    """A conversation as the ``document`` that the import validates, and what the document does not have."""

    document: dict[str, Any]
    system_prompt: str | None = None
    paths: list[str] = field(default_factory=list)
    """The path of each message in the item; none if the item is the document."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Counts what cannot be carried over."""


def convert(item: Any) -> ConvertedConversation:
    """Return a conversation that one of PROGRAMS has exported.

    Raises:
        ApiError: ``validation_error``, if it has no known shape, or not all that its shape promises.

    """
    if isinstance(item, dict):
        for name, importer in IMPORTERS.items():
            if importer.matches(item):
                return _convert(name, importer, item)
        if "session" in item:
            return ConvertedConversation(item)
    raise ApiError("validation_error", {"_schema": [f"Not a conversation of a known kind: {NAMES}."]})


def _convert(name: str, importer: Importer, item: dict[str, Any]) -> ConvertedConversation:
    left_out: Counter[str] = Counter()
    try:
        session, system_prompt = importer.convert_session(item, left_out)
        messages = list(importer.convert_messages(item, left_out))
    except (AttributeError, TypeError, LookupError, ValueError) as error:
        raise ApiError("validation_error", {"_schema": [f"Not what {name} exports: {error}"[:300]]}) from None
    document = {"session": session, "messages": [message for _, message in messages]}
    return ConvertedConversation(document, system_prompt, [path for path, _ in messages], +left_out)
