"""An `HttpTransport` that posts to every endpoint through aiohttp's session, as it does with a proxy."""

from __future__ import annotations

from scorer.client.http.target import Origin
from scorer.client.transport import HttpTransport


class ThroughSession(HttpTransport):
    def _origin(self, url: str, scheme: str, host: str, port: int) -> Origin:
        made = super()._origin(url, scheme, host, port)
        made.general = made.general or "this test wants it"
        return made
