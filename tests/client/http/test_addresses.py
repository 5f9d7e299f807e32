"""Promise: an address is sent as aiohttp would send it; a plain one, which is read without yarl, too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from scorer.client.http import address
from scorer.client.http.address import parsed
from scorer.client.http.target import Origin, target
from scorer.errors import SetupError


@given(st.from_regex(address._PLAIN, fullmatch=True))
def test_a_plain_address_is_read_as_yarl_reads_it(url: str) -> None:
    try:
        found = parsed(url)
    except SetupError:
        with pytest.raises(ValueError, match="Port out of range"):
            URL(url)
        return
    read = URL(url)
    parts = (found.scheme, found.host, found.port, found.authority, found.path)
    assert parts == (read.scheme, read.raw_host, read.port, read.host_port_subcomponent, read.raw_path_qs)
    assert (found.user, found.password) == (None, None)
    assert found == address._any(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://a/v1/é x", "https://exämple.com:8443/v1", "http://[::1]:8000/v1?a=b c", "HTTP://A.example/v1/./x/../y",
        "http://u%3A:p%40@a.example:80/v1", "https://a.example?api-version=1",
    ],
)  # fmt: skip
def test_any_other_address_is_sent_as_aiohttp_would_send_it(url: str) -> None:
    found, read = parsed(url), URL(url)
    assert found.path == read.raw_path_qs
    assert found.authority == read.host_port_subcomponent
    again = URL(str(found), encoded=True)
    assert (again.raw_host, again.port, again.raw_path_qs) == (read.raw_host, read.port, read.raw_path_qs)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "a.example:0", "a.example:65536"])
def test_what_no_connection_can_be_made_to_is_no_address(host: str) -> None:
    with pytest.raises(SetupError, match="is no address"):
        parsed(f"http://{host}/v1")


@pytest.mark.parametrize("url", ["http://[fe80::1%25eth0]:80/v1", "http://[fe80::1%eth0]/v1"])
def test_zone_of_ipv6_address_is_connected_to_and_not_sent(url: str) -> None:
    found = parsed(url)
    assert found.host == "fe80::1%eth0"
    assert b"\r\nHost: [fe80::1]\r\n" in target(found, {}, Origin("", 0, False)).head


def test_no_repr_shows_user_password_or_query() -> None:
    assert "secret" not in repr(parsed("http://secret:secret@a.example/v1?key=secret"))
