"""HTTP of the batch APIs: JSON both ways, files streamed both ways, and failures as typed errors.

A POST that makes something is unclear unless the answer says that it was made or refused. Knows no provider.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, BinaryIO, Self

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter

from scorer.batch.types import Gone, NotAccepted, Unresolved
from scorer.client.http.connecting import CONNECT_S, tls_context
from scorer.client.http.proxies import proxy_for
from scorer.client.providers.errors import fault
from scorer.client.providers.settings import ProviderSettings
from scorer.errors import RowError, ServerFault, SetupError, Throttled, TooLong, TransientError, Unreachable
from scorer.escapes import printable_line
from scorer.types import Offload, Reply

PIECE = 256 * 1024
"""So much of a file is in memory at once."""
ANSWER_S = 120.0
SLOWEST_BYTES_S = 100_000
"""An upload may take `ANSWER_S` and as long as this many bytes a second need."""
LARGEST_JSON = 64 * 1024 * 1024
"""A page of a listing is never so long."""
JSON = {"Content-Type": "application/json"}


class Streamed(aiohttp.Payload):
    """The first `size` bytes of a file between `head` and `tail`, read in pieces while they are sent."""

    def __init__(self, file: BinaryIO, size: int, offload: Offload, head: bytes = b"", tail: bytes = b"") -> None:
        super().__init__(file)
        self._file, self._bytes, self._offload = file, size, offload
        self._head, self._tail = head, tail

    @property
    def size(self) -> int:
        return len(self._head) + self._bytes + len(self._tail)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a streamed body is not decoded")

    async def write(self, writer: AbstractStreamWriter) -> None:
        await writer.write(self._head)
        await self._offload(self._file.seek, 0)
        left = self._bytes
        while left:
            piece = await self._offload(self._file.read, min(PIECE, left))
            if not piece:
                raise OSError("the file of requests is shorter than it was")
            left -= len(piece)
            await writer.write(piece)
        await writer.write(self._tail)


class BatchHttp:
    """Requests below the `base_url` of a provider's settings; an async context manager. It follows no redirect."""

    def __init__(
        self, settings: ProviderSettings, headers: Mapping[str, str], *, offload: Offload, proxies: bool = False
    ) -> None:
        self.base_url = settings.base_url.rstrip("/")
        self._headers = {"User-Agent": "scorer", **headers, **(settings.headers or {})}
        self._query, self._place = dict(settings.query or {}), settings.place
        self.offload = offload
        self._proxies = proxies
        self._session: aiohttp.ClientSession | None = None
        self.now: float | None = None
        """The server's clock in its last reply that named one, in seconds since 1970."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls_context() if self.base_url.startswith("https:") else True),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """The JSON object at `path`. Raises Gone, TransientError, SetupError."""
        async with self._answer("GET", path, query=query) as response:
            return self._object(path, response, await self._body(response))

    async def get_list(self, path: str) -> list[dict[str, Any]]:
        """The JSON array of objects at `path`. Raises Gone, TransientError, SetupError."""
        async with self._answer("GET", path) as response:
            found = _parsed(await self._body(response))
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ServerFault(f"{self.base_url}{path} answered without a JSON array of objects", garbled=True)
        return found

    async def delete(self, path: str) -> None:
        """Raises Gone, TransientError, SetupError."""
        async with self._answer("DELETE", path) as response:
            await self._body(response)

    async def post(self, path: str, body: Any = None) -> dict[str, Any]:
        """What a POST that makes nothing answers. Raises Gone, NotAccepted, TransientError, SetupError."""
        async with self._answer("POST", path, orjson.dumps({} if body is None else body), JSON) as response:
            return self._object(path, response, await self._body(response))

    async def make(self, path: str, body: bytes | Streamed, headers: Mapping[str, str] = JSON) -> dict[str, Any]:
        """What a POST that makes something answers.

        Raises Unresolved where it may have been made; NotAccepted, Throttled, Unreachable and SetupError where not.
        """
        try:
            async with self._answer("POST", path, body, headers, making=True) as response:
                return self._object(path, response, await self._body(response))
        except Throttled:
            raise
        except Unreachable as error:
            if not error.billed:
                raise
            raise Unresolved(error.detail) from error
        except TransientError as error:
            raise Unresolved(error.detail) from error

    async def fetch(self, path: str, into: BinaryIO) -> None:
        """Writes the body of a GET into an empty file. Raises Gone, and Unreachable where it ends early."""
        async with self._answer("GET", path, whole=False) as response:
            async for piece in response.content.iter_chunked(PIECE):
                await self.offload(into.write, piece)

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        body: bytes | Streamed | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str | int] | None = None,
        making: bool = False,
        whole: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "use it as a context manager"
        url, sending = f"{self.base_url}{path}", body.size if isinstance(body, Streamed) else len(body or b"")
        limit_s = ANSWER_S + sending / SLOWEST_BYTES_S if whole else None
        try:
            async with self._session.request(
                method,
                url,
                data=body,
                params={**self._query, **(query or {})},
                headers={**self._headers, **(headers or {})},
                proxy=proxy_for(url) if self._proxies else None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=limit_s, sock_connect=CONNECT_S, sock_read=limit_s or ANSWER_S),
            ) as response:
                self._note_date(response.headers.get("Date"))
                if not 200 <= response.status < 300:
                    raise self._refusal(url, response, await self._body(response), making=making)
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError) as error:
            raise Unreachable(f"cannot reach {url}: {printable_line(str(error))}") from error
        except TimeoutError as error:
            raise Unreachable(f"{url} did not answer within {limit_s or ANSWER_S:g} s", billed=True) from error
        except aiohttp.InvalidURL as error:
            raise SetupError(f"{url!r} is no address. Check model.base_url.") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            why = self._place.quote(str(error)) or type(error).__name__
            raise Unreachable(f"{url} broke off: {why}", billed=True) from error

    def _refusal(self, url: str, response: aiohttp.ClientResponse, body: bytes, *, making: bool) -> Exception:
        if response.status == 404 and not making:
            return Gone(f"{url} answered 404: it is not there, or not any more.")
        found = fault(Reply(response.status, _lower(response.headers), body), self._place, url)
        if isinstance(found, RowError):
            return NotAccepted(
                f"{url} answered {response.status}: {found.detail}", too_large=isinstance(found, TooLong)
            )
        return found

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_chunked(PIECE):
            body += piece
            if len(body) > LARGEST_JSON:
                raise ServerFault(f"{self.base_url} answered with more than {LARGEST_JSON:,} bytes", garbled=True)
        return bytes(body)

    def _object(self, path: str, response: aiohttp.ClientResponse, body: bytes) -> dict[str, Any]:
        value = _parsed(body)
        if not isinstance(value, dict):
            raise ServerFault(f"{self.base_url}{path} answered {response.status} without a JSON object", garbled=True)
        return value

    def _note_date(self, date: str | None) -> None:
        with suppress(ValueError):
            self.now = parsedate_to_datetime(date or "").timestamp()


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
