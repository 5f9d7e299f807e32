"""Where requests go: the address with its headers, encoded once, and the origin that connections belong to."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from yarl import URL

from scorer.errors import SetupError
from scorer.frozen import dataclass

if TYPE_CHECKING:
    from scorer.client.http.connection import Connection

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ESCAPED = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})+")
_ZONE = re.compile(r"%[^]]*")
"""Of an IPv6 address: it says nothing to the server."""
_ADDED = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "scorer",
    "Content-Type": "application/octet-stream",
}


def shown(url: str) -> str:
    """The address without its query, which may hold a key."""
    return url.partition("?")[0]


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

    `url` is the address without user and password, which became a header. `given` are the headers as they were handed
    over: a target is known by them, so they stay alive as long as it does. No repr shows what may hold a key.
    """

    origin: Origin
    url: URL = field(repr=False)
    shown: str
    headers: Mapping[str, str] = field(repr=False)
    head: bytes = field(repr=False)
    given: Mapping[str, str] = field(repr=False)


def parsed(url: str) -> URL:
    """The address, whose path goes out as it is written: `%3A` is not `:` to a server that checks a signature.

    Raises SetupError where it is no http or https address.
    """
    try:
        found = _as_written(URL(url), urlsplit(url).path)
        if found.scheme not in ("http", "https") or not found.raw_host or not found.port:
            raise ValueError(url)
        found.raw_host.encode("idna")  # as the look-up will; no label may be empty or too long
        if "%25" in found.raw_host:  # before an IPv6 zone (RFC 6874)
            found = found.with_host(str(found.host))
    except ValueError:
        raise SetupError(f"{shown(url)!r} is no address to post to. Check model.base_url.") from None
    return found


def _as_written(url: URL, path: str) -> URL:
    """The address with a path that is escaped already."""
    if "%" not in path or not _ESCAPED.fullmatch(path):
        return url
    scheme, authority, query = url.scheme, url.raw_authority, url.raw_query_string
    return URL.build(scheme=scheme, authority=authority, path=path, query_string=query, encoded=True)


def target(url: URL, given: Mapping[str, str], origin: Origin) -> Target:
    """Raises SetupError where a header cannot be sent."""
    bare = url.with_user(None) if url.user is not None or url.password is not None else url
    where = shown(str(bare))
    headers = _headers(url, given)
    lines = [f"POST {bare.raw_path_qs} HTTP/1.1"]
    for name, value in headers.items():
        if _CONTROL.search(name) or _CONTROL.search(value):
            raise SetupError(
                f"The header {name!r} of {where} holds a line break or another control character, which "
                "cannot be sent. Check model.headers, and the variable that model.api_key_env names."
            )
        lines.append(f"{name}: {value}")
    head = "\r\n".join([*lines, "Content-Length: "]).encode()
    return Target(origin, bare, where, headers, head, given)


def basic(url: URL) -> str:
    """The value of an Authorization header for the user and password in an address (RFC 7617, as latin-1)."""
    pair = f"{url.user or ''}:{url.password or ''}".encode("latin-1", "replace")
    return f"Basic {base64.b64encode(pair).decode()}"


def _headers(url: URL, given: Mapping[str, str]) -> dict[str, str]:
    """All that is sent but Content-Length: what was given goes before what is added."""
    named = {name.lower() for name in given}
    headers = {} if "host" in named else {"Host": _ZONE.sub("", url.host_port_subcomponent or "")}
    headers |= {name: value for name, value in given.items() if name.lower() != "content-length"}
    if (url.user is not None or url.password is not None) and "authorization" not in named:
        headers["Authorization"] = basic(url)
    return headers | {name: value for name, value in _ADDED.items() if name.lower() not in named}
