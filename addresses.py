"""The network that stands for a client's addresses."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([\d.]+):\d+")


def client_network(address: str | None) -> str:
    """Return the network of a client's address; what is not an address is returned as it is.

    For IPv6 that is the /64 prefix, since a client is assigned a whole one; for IPv4 the address
    itself. A port, which a proxy may add, is ignored.
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
