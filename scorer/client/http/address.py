"""The address of a request: its parts, encoded as they are sent."""

from __future__ import annotations

import re
from dataclasses import field
from urllib.parse import urlsplit

from scorer.errors import SetupError
from scorer.frozen import dataclass
from scorer.patterns import pattern

_PLAIN = re.compile(
    r"(https?)://((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?::([1-9][0-9]{0,4}))?"
    r"((?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+)"
)
_PORTS = {"http": 80, "https": 443}
_ESCAPED = pattern(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class Address:
    """An http or https address. `authority` is the host, with the port where it is not the scheme's own.

    `path` has the query. `user` and `password` are as they were before they were escaped, None where none is given. No
    repr shows what may hold a key.
    """

    scheme: str
    host: str
    port: int
    authority: str
    path: str = field(repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """The address without user and password."""
        return f"{self.scheme}://{self.authority}{self.path}"


def shown(url: str) -> str:
    """The address without its query, which may hold a key."""
    return url.partition("?")[0]


def parsed(url: str) -> Address:
    """The address, whose path goes out as it is written: `%3A` is not `:` to a server that checks a signature.

    Raises SetupError where it is no http or https address.
    """
    try:
        return _plain(url) or _any(url)
    except ValueError:
        raise SetupError(f"{shown(url)!r} is no address to post to. Check model.base_url.") from None


def _plain(url: str) -> Address | None:
    """An address in which nothing is to be encoded; None for any other. Most are plain, and need no yarl."""
    found = _PLAIN.fullmatch(url)
    if found is None:
        return None
    scheme, host, given, path = found.groups()
    port = _PORTS[scheme] if given is None else int(given)
    if port > 65_535:
        raise ValueError(url)
    return Address(scheme, host, port, host if port == _PORTS[scheme] else f"{host}:{port}", path)


def _any(url: str) -> Address:
    """Any address, as aiohttp reads it. Raises ValueError where it is none."""
    from yarl import URL

    read, parts = URL(url), urlsplit(url)
    path = parts.path
    if "%" in path and _ESCAPED.fullmatch(path):  # it is escaped already
        scheme, authority, query = read.scheme, read.raw_authority, read.raw_query_string
        read = URL.build(scheme=scheme, authority=authority, path=path, query_string=query, encoded=True)
    if read.scheme not in _PORTS or not read.raw_host or parts.port == 0:  # which old yarls take for none
        raise ValueError(url)
    read.raw_host.encode("idna")  # as the look-up will; no label may be empty or too long
    if "%25" in read.raw_host:  # before an IPv6 zone (RFC 6874)
        read = read.with_host(read.raw_host.replace("%25", "%", 1))
    host, port, authority = str(read.raw_host), int(read.port or 0), read.host_port_subcomponent or ""
    return Address(read.scheme, host, port, authority, read.raw_path_qs, read.user, read.password)
