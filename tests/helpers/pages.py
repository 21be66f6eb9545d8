"""Reading a list page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.helpers.client import ApiClient


def read_pages(
    caller: ApiClient, path: str, limit: int, between_pages: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """Return the items of all pages, and check that each page but the last has ``limit`` items."""
    items: list[dict[str, Any]] = []
    path += f"{'&' if '?' in path else '?'}limit={limit}"
    response = caller.get(path).get_json()
    while True:
        assert set(response) == {"items", "next_cursor"}
        items += response["items"]
        if response["next_cursor"] is None:
            return items
        assert len(response["items"]) == limit
        between_pages()
        response = caller.get(f"{path}&cursor={quote(response['next_cursor'])}").get_json()
