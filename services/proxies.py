"""The proxy that the environment names for a URL (``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from marshmallow import ValidationError

from config import StartupError, http_url


def environment_proxy(url: str) -> str | None:
    """Return the proxy for a URL; None if there is none, and for this machine itself.

    Raises:
        StartupError: the variable names a proxy that cannot be used.

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
    except ValidationError:  # its value may have a password, and so is not shown
        names = (name for name in os.environ if name.lower() == f"{scheme}_proxy")
        name = max(names, key=str.islower)  # of two, the one in lower case counts
        raise StartupError(
            f"{name}: not a proxy of the form http://HOST:PORT, and no other kind can be used; "
            "NO_PROXY names the hosts that need none."
        ) from None


def is_loopback(host: str) -> bool:
    """Return whether a host, a name or an address, is this machine itself."""
    host = host.lower().rstrip(".")
    with suppress(OSError, UnicodeError):
        host = socket.inet_ntoa(socket.inet_aton(host))  # 127.1, 0x7f.0.0.1: as connect() accepts them
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, section 6.3
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified
