"""The network that stands for a client's addresses."""

from __future__ import annotations

import pytest

from addresses import client_network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("[2001:db8::1]:443", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("unknown", "unknown"),
        ("_hidden", "_hidden"),
        ("999.1.1.1", "999.1.1.1"),
        ("", ""),
        (None, ""),
    ],
)
def test_addresses_of_one_client_have_one_network(address: str | None, network: str) -> None:
    assert client_network(address) == network
