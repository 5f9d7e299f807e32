"""What a target takes from its address."""

from __future__ import annotations

import pytest

from scorer.client.http.target import Origin, parsed, target


@pytest.mark.parametrize("address", ["http://[fe80::1%25eth0]:80/v1", "http://[fe80::1%eth0]/v1"])
def test_zone_of_ipv6_address_is_connected_to_and_not_sent(address: str) -> None:
    url = parsed(address)
    assert url.raw_host == "fe80::1%eth0"
    assert b"\r\nHost: [fe80::1]\r\n" in target(url, {}, Origin("", 0, False)).head
