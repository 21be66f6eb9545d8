"""The panels beside a session, as a person finds them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page


def open_panel(page: Page, session: dict[str, Any], name: str) -> Locator:
    """Open a session with one of its panels, and return the panel."""
    page.goto(f"./#/s/{session['id']}/{name.lower()}")
    return page.get_by_role("complementary", name=name)


def no_sideways_scroll(page: Page) -> bool:
    """Return whether everything fits in the width of the page."""
    return bool(page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"))
