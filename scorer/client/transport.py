"""The HTTP `Transport`: posts bytes, returns bytes, types failures. It chooses by endpoint how.

Connections of our own (http/direct.py) serve plain HTTP/1.1. aiohttp's session (http/general.py) serves an endpoint
behind a proxy, and one that was found to answer in a version or coding that ours do not implement.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from scorer.client.http import proxies
from scorer.client.http.address import parsed, shown
from scorer.client.http.direct import DirectTransport
from scorer.client.http.reply_reader import NotDecoded, NotSpoken
from scorer.client.http.target import Origin, Target, target
from scorer.client.reply_bytes import ReplyByteBudget, Room
from scorer.errors import SetupError
from scorer.types import Call, Reply

if TYPE_CHECKING:
    from scorer.client.http.general import GeneralTransport

REMEMBERED = 64
"""Targets that are kept encoded; a provider that makes its headers anew for each call gains nothing by it."""


class HttpTransport:
    """`Transport` over HTTP/1.1; an async context manager. Keep-alive, no cookies, no redirects.

    At most `connections` requests have a connection at once, each way. `timeout_s` bounds a whole call, first byte to
    last, where the call names no other. `proxies` heeds HTTPS_PROXY and its like, as they are when an origin is first
    posted to. Large replies are bounded together (reply_bytes.py) and wait while `room` is full; that wait is no part
    of `timeout_s`. `say` gets one sentence why an endpoint is asked through aiohttp's session.
    """

    def __init__(
        self,
        *,
        connections: int,
        timeout_s: float,
        proxies: bool = False,
        room: Room | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._connections = connections
        self._timeout_s = timeout_s
        self._proxies = proxies
        self._say = say
        self._inflow = ReplyByteBudget(room=room)
        self._origins: dict[tuple[str, str, int], Origin] = {}
        self._targets: dict[tuple[str, int], Target] = {}  # by address and headers, which they keep alive
        self._direct: DirectTransport | None = None
        self._general: GeneralTransport | None = None

    async def __aenter__(self) -> Self:
        self._direct = DirectTransport(self._connections, self._timeout_s, self._inflow, self._not_spoken)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._direct is not None
        await self._direct.close()
        if self._general is not None:
            await self._general.close()

    def post(self, call: Call) -> Coroutine[Any, Any, Reply]:
        """As `Transport.post`. Raises SetupError at once where the address is none, or a header cannot be sent."""
        aim = self._targets.get((call.url, id(call.headers))) or self._target(call)
        if aim.origin.general is not None:
            return self._through_session().post(aim, call)
        assert self._direct is not None, "use it as a context manager"
        return self._direct.post(aim, call)

    def _target(self, call: Call) -> Target:
        if len(self._targets) >= REMEMBERED:
            self._targets.clear()
        address = parsed(call.url)
        key = address.scheme, address.host, address.port
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = self._origin(call.url, *key)
        made = self._targets[call.url, id(call.headers)] = target(address, call.headers, origin)
        return made

    def _origin(self, url: str, scheme: str, host: str, port: int) -> Origin:
        made = Origin(host, port, scheme == "https")
        try:
            made.proxy = proxies.proxy_for(url) if self._proxies else None
        except ValueError:  # urlsplit's, for a bracket that is not closed
            raise SetupError(f"{shown(url)!r} is no address to post to. Check model.base_url.") from None
        if made.proxy is not None:
            made.general = f"the environment names the proxy {proxies.without_password(made.proxy)} for it"
            self._explain(made)
        return made

    def _not_spoken(self, origin: Origin, what: NotSpoken) -> None:
        origin.aiohttp_unpacks = origin.aiohttp_unpacks or isinstance(what, NotDecoded)
        if origin.general is None:
            origin.general = f"it answered with {what}"
            self._explain(origin)

    def _explain(self, origin: Origin) -> None:
        self._say(
            f"{origin.host}:{origin.port} is asked through aiohttp's session, which takes more CPU for a request: "
            f"{origin.general}."
        )

    def _through_session(self) -> GeneralTransport:
        if self._general is None:
            from scorer.client.http.general import GeneralTransport  # aiohttp is imported where it is needed

            self._general = GeneralTransport(self._connections, self._timeout_s, self._inflow)
        return self._general
