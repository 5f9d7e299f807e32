"""HTTP by aiohttp: the only module that knows it. Posts bytes, returns bytes, and says what failed.

One session: keep-alive, as many connections as requests may be in flight, no cookies, no redirects. A reply
larger than `LARGEST` is not read: no judge's verdict is that long.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

import aiohttp

from scorer.errors import Faltered, Unreachable
from scorer.schema import Call, Reply

LARGEST = 32 * 1024 * 1024
CONNECT_S = 15.0


class HttpTransport:
    """`Transport` over aiohttp; an async context manager.

    `timeout_s` bounds a whole call, first byte to last. `proxies` heeds HTTPS_PROXY and its like.
    """

    def __init__(self, *, connections: int, timeout_s: float, proxies: bool = False) -> None:
        self._proxies = proxies
        self._timeout_s = timeout_s
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HttpTransport:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ttl_dns_cache=60, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            trust_env=self._proxies,
            skip_auto_headers=("User-Agent",),
            headers={"Content-Type": "application/json", "User-Agent": "scorer"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def post(self, call: Call) -> Reply:
        session = self._session
        assert session is not None, "use it as a context manager"
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                session.post(call.url, data=call.body, headers=call.headers, allow_redirects=False) as response,
            ):
                if (response.content_length or 0) > LARGEST:
                    raise Faltered(f"{call.url} answered {response.content_length} bytes", billed=True)
                body = await (response.read() if response.content_length is not None else _limited(response))
                return Reply(response.status, response.headers, body)
        # aiohttp's errors as ours, once, at this boundary. Billed unless the request surely never arrived.
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(f"cannot reach {call.url}: {error}", billed=False) from error
        except TimeoutError as error:
            raise Unreachable(f"{call.url} did not answer within {self._timeout_s:g} s", billed=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{call.url} broke off: {error or type(error).__name__}", billed=True) from error


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    """The body of a reply that does not say how long it is."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise Faltered(f"{response.url} answered more than {LARGEST} bytes", billed=True)
    return b"".join(parts)
