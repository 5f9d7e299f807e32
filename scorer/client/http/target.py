"""Where requests go: the address with its headers, encoded once, and the origin that connections belong to."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from scorer.client.http.address import Address, shown
from scorer.errors import SetupError
from scorer.frozen import dataclass

if TYPE_CHECKING:
    from scorer.client.http.connection import Connection

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ZONE = re.compile(r"%[^]]*")
"""Of an IPv6 address: it says nothing to the server."""
_ADDED = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "scorer",
    "Content-Type": "application/octet-stream",
}


@dataclass(slots=True, eq=False)
class Origin:
    """One scheme, host and port. `idle` holds its connections that wait for a request, the last used at the end.

    `general` says why it is asked through aiohttp's session; None where our own connections serve. `proxy` is the URL
    of the proxy that it is reached by.
    """

    host: str
    port: int
    tls: bool
    proxy: str | None = field(default=None, repr=False)
    general: str | None = None
    aiohttp_unpacks: bool = False
    """It uses a content coding that is not implemented here."""
    idle: dict[Connection, None] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Target:
    """An address with headers. `head` is the request's head up to the value of Content-Length, its last header.

    `url` is the encoded address without user and password, which became a header. `given` are the headers as they were
    handed over: a target is known by them, so they stay alive as long as it does. No repr shows what may hold a key.
    """

    origin: Origin
    url: str = field(repr=False)
    shown: str
    headers: Mapping[str, str] = field(repr=False)
    head: bytes = field(repr=False)
    given: Mapping[str, str] = field(repr=False)


def target(address: Address, given: Mapping[str, str], origin: Origin) -> Target:
    """Raises SetupError where a header cannot be sent."""
    where = shown(str(address))
    headers = _headers(address, given)
    lines = [f"POST {address.path} HTTP/1.1"]
    for name, value in headers.items():
        if _CONTROL.search(name) or _CONTROL.search(value):
            raise SetupError(
                f"The header {name!r} of {where} holds a line break or another control character, which "
                "cannot be sent. Check model.headers, and the variable that model.api_key_env names."
            )
        lines.append(f"{name}: {value}")
    head = "\r\n".join([*lines, "Content-Length: "]).encode()
    return Target(origin, str(address), where, headers, head, given)


def basic(user: str | None, password: str | None) -> str:
    """The value of an Authorization header for a user and a password (RFC 7617, as latin-1)."""
    pair = f"{user or ''}:{password or ''}".encode("latin-1", "replace")
    return f"Basic {base64.b64encode(pair).decode()}"


def _headers(address: Address, given: Mapping[str, str]) -> dict[str, str]:
    """All that is sent but Content-Length: what was given goes before what is added."""
    named = {name.lower() for name in given}
    headers = {} if "host" in named else {"Host": _ZONE.sub("", address.authority)}
    headers |= {name: value for name, value in given.items() if name.lower() != "content-length"}
    if (address.user is not None or address.password is not None) and "authorization" not in named:
        headers["Authorization"] = basic(address.user, address.password)
    return headers | {name: value for name, value in _ADDED.items() if name.lower() not in named}
