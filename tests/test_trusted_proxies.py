"""Whose address a request has, behind proxies or not."""

from __future__ import annotations

import pytest

from tests.helpers.data_folder import DataFolder
from tests.helpers.process import ServerProcess


@pytest.mark.parametrize(
    ("proxies", "then"),
    [
        (0, {"1.1.1.1": 429, "2.2.2.2": 429, "1.1.1.1, 2.2.2.2": 429}),
        (
            1,
            {
                "1.1.1.1": 429,
                "2.2.2.2": 401,
                "1.1.1.1, 2.2.2.2": 401,
                "2.2.2.2, 1.1.1.1": 429,
                "1.1.1.1:4711": 429,
                "1.1.1.1:4712": 429,
                "2.2.2.2:4711": 401,
                "::ffff:1.1.1.1": 429,
            },
        ),
    ],
)
def test_forwarded_addresses_count_only_behind_trusted_proxies(
    data_folder: DataFolder, proxies: int, then: dict[str, int]
) -> None:
    with ServerProcess(data_folder.path, TRUSTED_PROXIES=proxies) as server:

        def log_in(address: str) -> int:
            body = {"username": "alice", "password": "a wrong password"}
            status: int = server.request("POST", "/api/auth/login", body, headers={"X-Forwarded-For": address})[0]
            return status

        assert [log_in("1.1.1.1") for _ in range(10)] == [401] * 10
        assert {address: log_in(address) for address in then} == then


def test_addresses_of_one_network_share_their_login_attempts(data_folder: DataFolder) -> None:
    with ServerProcess(data_folder.path, TRUSTED_PROXIES=1) as server:

        def log_in(address: str) -> int:
            body = {"username": "alice", "password": "a wrong password"}
            status: int = server.request("POST", "/api/auth/login", body, headers={"X-Forwarded-For": address})[0]
            return status

        tried = ["2001:db8::1", "[2001:db8::2]:443", "2001:DB8:0:0:ffff::", "[2001:db8::3]", "2001:db8::%eth0"] * 2
        assert [log_in(address) for address in tried] == [401] * 10
        then = {"2001:db8::9": 429, "[2001:db8::a]:1": 429, "2001:db8:0:1::1": 401, "9.9.9.9": 401}
        assert {address: log_in(address) for address in then} == then
