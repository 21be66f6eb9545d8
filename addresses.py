"""Whose an address is."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([\d.]+):\d+")


def client_network(address: str | None) -> str:
    """Return what stands for all addresses that one client has.

    An IPv6 address stands for its /64, of which a client gets all; a proxy may add a port.
    """
    with_port = _PORT.fullmatch(address or "")
    text = (with_port[1] or with_port[2] or "") if with_port else (address or "")
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if not isinstance(ip, IPv6Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(int(ip) >> 64 << 64)}/64"
