"""Looks names up in threads that neither the end of the loop nor that of the process waits for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any


def look_up_in_daemon_threads(loop: asyncio.AbstractEventLoop) -> None:
    """Replaces `loop.getaddrinfo`. A resolver that is silent takes 10 to 30 s, and nothing can end its call.

    Addresses are left to the loop, which reads them itself.
    """
    of_loop = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **options: Any) -> list[Any]:
        if not isinstance(host, str) or ":" in host or host.rpartition(".")[2].isdecimal():
            return await of_loop(host, port, **options)
        found: asyncio.Future[list[Any]] = loop.create_future()

        def tell(say: Callable[[Any], None], what: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(lambda: None if found.done() else say(what))

        def work() -> None:
            try:
                records = socket.getaddrinfo(host, port, **options)
            except (OSError, UnicodeError) as error:
                tell(found.set_exception, error)
            else:
                tell(found.set_result, records)

        threading.Thread(target=work, name="scorer-resolver", daemon=True).start()
        return await found

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
