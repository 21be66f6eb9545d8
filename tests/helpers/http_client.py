"""A client with a persistent connection."""

from __future__ import annotations

import http.client
import json
from typing import Any

from tests.helpers.process import ServerProcess


class HttpClient:
    """One connection, over which one user's requests are sent."""

    def __init__(self, server: ServerProcess, token: str):
        self._connection = http.client.HTTPConnection(*server.address, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        with self._connection.getresponse() as response:
            content = response.read()
        return response.status, json.loads(content) if content else None

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
