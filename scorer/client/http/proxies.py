"""The proxy that the environment names for an address."""

from __future__ import annotations

from urllib.parse import urlsplit


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for an address; None where there is none, or `no_proxy` excepts it."""
    from urllib.request import getproxies, proxy_bypass  # 15 modules, for nothing where the judge is on this machine

    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def without_password(proxy: str) -> str:
    """A proxy's address as it may be shown."""
    scheme, colon, rest = proxy.partition("://")
    return f"{scheme}{colon}{rest.rpartition('@')[2]}"
