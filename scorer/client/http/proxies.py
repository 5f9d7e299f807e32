"""The proxy that the environment names for an address."""

from __future__ import annotations

import socket
from contextlib import suppress
from urllib.parse import urlsplit

from scorer.errors import SetupError

VARIABLES = "the environment variables HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for an address; None where there is none, or `no_proxy` excepts it.

    One without a scheme is an http proxy, as curl takes it. A short IPv4 address is written in full: aiohttp takes no
    127.1. Raises SetupError for another kind, and for no address.
    """
    from urllib.request import getproxies, proxy_bypass  # 15 modules, for nothing where the judge is on this machine

    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    return named and _checked(named if "://" in named else f"http://{named}")


def without_password(proxy: str) -> str:
    """A proxy's address as it may be shown."""
    scheme, colon, rest = proxy.partition("://")
    return f"{scheme}{colon}{rest.rpartition('@')[2]}"


def _checked(proxy: str) -> str:
    from yarl import URL

    try:
        found = URL(proxy)
        if found.scheme in ("http", "https") and found.host and found.port:
            with suppress(OSError):  # it is a name, or IPv6
                full = socket.inet_ntoa(socket.inet_aton(found.host))
                return proxy if full == found.host else str(found.with_host(full))
            return proxy
    except ValueError:
        pass
    raise SetupError(
        f"The environment names the proxy {without_password(proxy)}, which is no address such as http://proxy:3128. "
        f"SOCKS is not spoken. Check {VARIABLES}, or except the judge's host by NO_PROXY."
    )
