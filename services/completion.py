"""A chat completion, read from the chunks of its stream.

The format is that of https://platform.openai.com/docs/api-reference/chat/streaming. Compatible servers
deviate from it: they omit fields, or send null or an empty text instead.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from typing import Any

import orjson

from json_values import dump_metadata
from text import sanitize_text

MAX_NAME_LENGTH = 200  # of the model's name and of the finish reason
MAX_USAGE_LENGTH = 4_096  # of JSON text


class UpstreamError(Exception):
    """The API did not respond as it should have."""


@dataclass
class Completion:
    """A completion without its text. ``error`` is the code of the error that it has ended with."""

    model: str | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: str | None = None

    def read_chunk(self, data: str) -> str:
        """Return the text of a chunk (JSON), and store the rest; of several choices only the first is read.

        The text may begin or end with half of a surrogate pair.

        Raises:
            ValueError: it is not JSON.
            UpstreamError: it is not a chunk, or reports an error.

        """
        chunk = _load_json(data)
        texts = []
        try:
            if chunk.get("error"):
                raise UpstreamError("it reports an error")
            self.model = _clean_name(chunk.get("model")) or self.model
            self.usage = _check_usage(chunk.get("usage")) or self.usage
            # Empty, or null, in the chunk that has the usage.
            for position, choice in enumerate(chunk.get("choices") or ()):
                index = choice.get("index")
                if (position if index is None else index) == 0:
                    self.finish_reason = _clean_name(choice.get("finish_reason")) or self.finish_reason
                    texts.append((choice.get("delta") or {}).get("content") or "")
            return "".join(texts)
        except (AttributeError, TypeError) as error:
            raise UpstreamError(f"not a chat completion chunk: {error}") from None


class Utf16Joiner:
    """Joins text that comes in deltas, each of which may begin or end with half of a surrogate pair.

    JSON's escapes allow that (RFC 8259, section 8.2). A half without the other becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")

    def join(self, delta: str) -> str:
        """Return the text that is complete, without what earlier calls have returned."""
        return self._decoder.decode(delta.encode("utf-16-le", "surrogatepass"))

    def end(self) -> str:
        """Return U+FFFD if the last delta ended with half of a pair."""
        return self._decoder.decode(b"", final=True)


def _load_json(data: str) -> Any:
    """Parse JSON whose strings may have halves of surrogate pairs."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if "\\u" not in data:
            raise
    try:
        return json.loads(data)  # which accepts them
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _clean_name(value: Any) -> str | None:
    """Return a name as it is stored, None if it is blank or not text."""
    if type(value) is not str:
        return None
    text = Utf16Joiner()
    return sanitize_text(text.join(value.strip()) + text.end(), MAX_NAME_LENGTH) or None


def _check_usage(value: Any) -> dict[str, Any] | None:
    """Return the usage as it is stored, None if it cannot be."""
    try:
        return value if type(value) is dict and len(dump_metadata(value)) <= MAX_USAGE_LENGTH else None
    except ValueError:
        return None
