"""What `model.base_url` and `model.base_urls` may hold: plain HTTP addresses, or the source of a fleet's addresses.

Checks words only: it opens no file and looks up no name.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

FILE, DNS = "file:", "dns:"
"""How the source of a fleet begins: `file:PATH`, or `dns://HOST:PORT/PATH`."""


def names_fleet(address: str) -> bool:
    """Whether it is the source of a fleet, whose replicas may change while a run goes on."""
    return address.startswith((FILE, DNS))


def is_plain(url: str) -> bool:
    """Whether it is an http(s) address with a host, and without spaces, user, password, query or fragment."""
    return bool(re.fullmatch(r"https?://[^\s@?#]+", url)) and _has_host(url)


def fleet_problem(source: str) -> str | None:
    """What is wrong with the source of a fleet; None where it can be read."""
    if source.startswith(FILE):
        return None if source.removeprefix(FILE).strip() else "has no path: write file:/etc/judges.txt."
    parts = dns_parts(source)
    if parts is None or parts.query or parts.fragment or parts.username is not None:
        return "must be a name and a port, such as dns://judges.svc:8000/v1: all its A and AAAA records are replicas."
    return None


def dns_parts(source: str) -> SplitResult | None:
    """Host, port and path of `dns://HOST:PORT/PATH`; None where one of host and port is missing."""
    try:
        parts = urlsplit(source)
        return parts if parts.hostname and parts.port and not re.search(r"\s", source) else None
    except ValueError:
        return None


def _has_host(url: str) -> bool:
    """False where the host is missing or an IPv6 address without a closing bracket, or where the port is not valid."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
