"""JSON values as they are received and as they are stored."""

from __future__ import annotations

import json
from typing import Any

import orjson

from limits import MAX_METADATA_DEPTH
from text import check_text

_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19  # the shortest integer that may not fit into 64 bits has nineteen digits


def stored_json(text: str) -> orjson.Fragment:
    """Return stored JSON text as a value that orjson writes unchanged."""
    return orjson.Fragment(text)


def parse_json(raw: bytes) -> Any:
    """Return the value of a JSON text, with integers of any size exact.

    Raises:
        ValueError: it is not JSON in UTF-8 (RFC 8259), or is nested too deeply.

    """
    value = orjson.loads(raw)
    if _LONG_NUMBER not in raw.translate(_DIGITS):
        return value
    try:
        # orjson turns an integer of more than 64 bits into a float, which is another number.
        return json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dump_metadata(value: dict[str, Any]) -> str:
    """Return a metadata object as the JSON text that is stored.

    Raises:
        ValueError: it is nested too deeply, or has U+0000 in a string.

    """
    if not value:
        return "{}"
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # too deep for it, or an integer of more than 64 bits
        _check_metadata(value)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if "\\u0000" in text or text.count("[") + text.count("{") > MAX_METADATA_DEPTH:
        _check_metadata(value)
    return text


def _check_metadata(value: dict[str, Any]) -> None:
    """Check the depth of a metadata object, and that its texts can be stored.

    It goes level by level, which is ten times as fast as value by value: 1 MB may have 300,000 of them.

    Raises:
        ValueError: it is nested too deeply, or has U+0000 in a string.

    """
    level: list[Any] = [value]
    for _ in range(MAX_METADATA_DEPTH):
        objects = [item for item in level if type(item) is dict]
        check_text("".join([key for item in objects for key in item]))
        parts = [part for item in level for part in (item.values() if type(item) is dict else item)]
        check_text("".join([part for part in parts if type(part) is str]))
        level = [part for part in parts if type(part) is dict or type(part) is list]
        if not level:
            return
    raise ValueError("Nested too deeply.")
