"""Outgoing HTTP requests, run on one asyncio thread, where they can wait and be cancelled."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from marshmallow import ValidationError

from config import StartupError, http_url

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 4.0  # how long an idle connection is kept; many servers close theirs after five


class AsyncRunner:
    """One thread for all requests under way. It begins with the first request, and so does httpx."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._clients: list[httpx.AsyncClient] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, begun where there is none yet."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="outgoing", daemon=True)
                self._thread.start()
            return self._loop

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begin some work and return what will hold its result; cancelling that cancels the work."""
        return asyncio.run_coroutine_threadsafe(work, self.start())

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin some work that nobody waits for; to be called in the loop."""
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    def create_client(self, proxy: str | None = None, keep_alive: bool = True) -> httpx.AsyncClient:
        """Return a new client for that loop. It follows no redirect and keeps no cookie.

        Of the environment it takes nothing but the authorities to trust (``SSL_CERT_FILE``).

        Raises:
            ValueError: the proxy's URL is none that could be used.

        """
        import httpx  # 15 MiB and 0.2 s, for those who need it

        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs, and a query may be a secret
        client = httpx.AsyncClient(
            proxy=proxy,
            trust_env=False,
            verify=httpx.create_ssl_context(trust_env=True),
            # What one user's request was told must not come with the next one's: no domain may set a cookie.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_keepalive_connections=20 if keep_alive else 0, keepalive_expiry=KEEP_ALIVE_SECONDS),
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # the rest has a deadline as a whole
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


def environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL: never one for this machine itself.

    Raises:
        StartupError: the variable holds none that could be used.

    """
    parts = urlsplit(url)
    proxies = getproxies_environment()
    if is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc.rpartition("@")[2], proxies):
        return None
    scheme = next((scheme for scheme in (parts.scheme, "all") if scheme in proxies), None)
    if scheme is None:
        return None
    proxy = proxies[scheme].strip()
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        return http_url(proxy)
    except ValidationError:  # its value may hold a password, and so is not shown
        names = (name for name in os.environ if name.lower() == f"{scheme}_proxy")
        name = max(names, key=str.islower)  # of two, that in lower case counts
        raise StartupError(
            f"{name}: not a proxy of the form http://HOST:PORT, and no other kind can be used; "
            "NO_PROXY names the hosts that need none."
        ) from None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself, by its name or address."""
    host = host.lower().rstrip(".")
    with suppress(OSError, UnicodeError):
        host = socket.inet_ntoa(socket.inet_aton(host))  # 127.1, 0x7f.0.0.1: as connect() takes them
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, section 6.3
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified
