"""Requests that the service itself sends: a thread with an event loop, where they can wait and be cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0


class Outgoing:
    """One thread for all that is under way. It begins with the first request, and so does httpx."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._clients: list[httpx.AsyncClient] = []

    def start(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, begun where there is none yet."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="outgoing", daemon=True)
                self._thread.start()
            return self._loop

    def run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begin some work and return what will hold its result; cancelling that cancels the work."""
        return asyncio.run_coroutine_threadsafe(work, self.start())

    def client(self, **options: Any) -> httpx.AsyncClient:
        """Return a new client for that loop. Redirects are not followed; nobody's cookies are kept."""
        import httpx  # 15 MiB and 0.2 s, for those who need it

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)  # the rest has a deadline as a whole
        client = httpx.AsyncClient(limits=limits, timeout=timeout, headers={"User-Agent": "parley"}, **options)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close the connections and end the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop and self._thread:
            asyncio.run_coroutine_threadsafe(self._close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    async def _close(self) -> None:
        for client in self._clients:
            await client.aclose()
        self._clients.clear()
