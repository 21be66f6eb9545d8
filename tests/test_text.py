"""Text for terminals and logs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from text import printable


@settings(derandomize=True)
@given(st.text())
def test_printable_escapes_only_what_is_not_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert shown.replace("\\", "") == text.replace("\\", "") or shown != text
