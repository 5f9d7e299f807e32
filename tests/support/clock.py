"""Virtual time: an event loop whose clock jumps to the next timer. Also real time, of which a test can skip some."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everybody waits, and no timer is set that would wake anybody")
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that begins at 0 s and never sleeps. Where all tasks wait for ever, it fails instead of hanging."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now

    def stand_still(self, seconds: float) -> None:
        """The process is not run for so long: timers that are due then come late."""
        self._jump.now += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns, run to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class _SkippingLoop(asyncio.SelectorEventLoop):
    skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_s


def run_skipping(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns, run to its end in real time, for real sockets; `skip` is for it.

    So a timeout can be longer than any standstill of the machine, and is yet over when a test wants it.
    """
    with asyncio.Runner(loop_factory=_SkippingLoop) as runner:
        return runner.run(main)


def skip(seconds: float) -> None:
    """The running loop's clock is so much later from now on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _SkippingLoop)
    loop.skipped_s += seconds


def now() -> float:
    """Seconds on the running loop's clock."""
    return asyncio.get_running_loop().time()


async def nothing(*_: Any) -> None:
    """An `Offload` that does nothing: for what must not touch the disk."""


def inline(fn: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    """An `Offload` without threads: the work is done at once."""
    future = asyncio.get_running_loop().create_future()
    try:
        future.set_result(fn(*args))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to whoever awaits it
        future.set_exception(error)
    return future
