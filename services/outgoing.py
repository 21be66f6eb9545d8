"""Outgoing HTTP requests: they run on one asyncio thread, where they can wait and be cancelled."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT = 10.0  # seconds
KEEP_ALIVE_EXPIRY = 4.0  # seconds until an idle connection is closed; many servers close theirs after five


class AsyncRunner:
    """Runs coroutines on one thread, which starts with the first of them, as the import of httpx does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._clients: list[httpx.AsyncClient] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> asyncio.AbstractEventLoop:
        """Return the event loop, which is started if it does not run."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_task_factory(_create_task)
                self._thread = threading.Thread(target=self._loop.run_forever, name="outgoing", daemon=True)
                self._thread.start()
            return self._loop

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine; return the future of its result, whose cancellation cancels the coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self.start())

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that only ``close`` waits for; to be called on the thread."""
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself has only weak references to tasks
        task.add_done_callback(self._tasks.discard)

    def create_client(self, proxy: str | None = None, keep_alive: bool = True) -> httpx.AsyncClient:
        """Return a new HTTP client for coroutines of this runner.

        It follows no redirects and stores no cookies. Of the environment it uses only the certificate
        authorities to trust (``SSL_CERT_FILE``).

        Raises:
            ValueError: the proxy's URL cannot be used.

        """
        import httpx  # 15 MiB and 0.2 s, only if it is needed

        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs, and a query may be a secret
        client = httpx.AsyncClient(
            proxy=proxy,
            trust_env=False,
            verify=httpx.create_ssl_context(trust_env=True),
            # What one user's response sets must not be sent with another user's request: no domain may set a cookie.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_keepalive_connections=20 if keep_alive else 0, keepalive_expiry=KEEP_ALIVE_EXPIRY),
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),  # callers limit the whole of a request
            headers={"User-Agent": "parley", "Connection": "keep-alive" if keep_alive else "close"},
        )
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
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            await client.aclose()
        self._clients.clear()


def _create_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Create a task that has its coroutine's name, e.g. ``Llm.stream_completion``.

    The end of an asynchronous generator that is collected, as those within httpx may be, is a task without a name.
    """
    options["name"] = options.get("name") or getattr(coroutine, "__qualname__", None)
    return asyncio.Task(coroutine, loop=loop, **options)
