"""Requests with an Idempotency-Key."""

from __future__ import annotations

from typing import Any

from tests.helpers.client import ApiClient
from tests.helpers.database import query_db


def send_with_key(client: ApiClient, path: str, body: Any, key: str = "a key", **headers: str) -> Any:
    """Post a body with a key and return the response."""
    return client.post(path, body, headers={"Idempotency-Key": key} | headers)


def count_rows() -> dict[str, int]:
    """Return how many rows each table has that requests create rows in."""
    return {
        table: query_db(f"SELECT count(*) FROM {table}")[0][0] for table in ("sessions", "messages", "webhook_runs")
    }
