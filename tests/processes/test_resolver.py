"""Promise: a resolver that does not answer holds up neither the end of a loop nor that of the process."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from scorer.processes.event_loop import on_loop

RECORDS = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))]


@pytest.mark.parametrize("name", ["judge.test", "3judge.test"])
def test_loop_ends_while_a_look_up_is_under_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = threading.Event(), threading.Event()
    asking: list[threading.Thread] = []

    def silent(*_: Any, **__: Any) -> Any:
        asking.append(threading.current_thread())
        begun.set()
        release.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)

    async def main() -> None:
        look_up = asyncio.ensure_future(asyncio.get_running_loop().getaddrinfo(name, 80))
        await asyncio.to_thread(begun.wait, 20)
        look_up.cancel()

    on_loop(main())
    assert asking[0].is_alive()
    assert asking[0].daemon
    release.set()
    asking[0].join()  # what it found goes nowhere, without an error


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), UnicodeError()])
def test_look_up_returns_or_raises_what_the_resolver_does(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def known(host: str, port: int, **options: Any) -> list[Any]:
        assert (port, options) == (80, {"type": socket.SOCK_STREAM})
        if host != "judge.test":
            raise error
        return RECORDS

    monkeypatch.setattr(socket, "getaddrinfo", known)

    async def main(host: str) -> list[Any]:
        return await asyncio.get_running_loop().getaddrinfo(host, 80, type=socket.SOCK_STREAM)

    assert on_loop(main("judge.test")) == RECORDS
    with pytest.raises(type(error)):
        on_loop(main("other.test"))
