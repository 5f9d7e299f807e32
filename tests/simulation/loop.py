"""A simulated process: virtual time, and a crash between any two callbacks or system calls.

What dies is dropped, not cancelled: no `finally` of it reaches the disk any more, as after kill -9 or a power cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import selectors
import sys
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any


class PowerCut(BaseException):
    """Raised in a process that has crashed."""


class Fuse:
    """Crashes the process after a number of callbacks or of system calls."""

    def __init__(self) -> None:
        self.burnt = False
        self._callbacks: int | None = None
        self._calls: int | None = None

    @property
    def armed(self) -> bool:
        return self._callbacks is not None or self._calls is not None

    def arm(self, *, callbacks: int | None = None, calls: int | None = None) -> None:
        self._callbacks, self._calls = callbacks, calls

    def burn(self) -> None:
        self.burnt = True

    def callback(self) -> None:
        """Before each callback of the loop."""
        if self._callbacks is not None:
            self._callbacks -= 1
            self.burnt = self.burnt or self._callbacks < 0
        if self.burnt:
            raise PowerCut

    def call(self) -> None:
        """Before each system call that a file makes."""
        if self._calls is not None:
            self._calls -= 1
            self.burnt = self.burnt or self._calls < 0
        if self.burnt:
            raise PowerCut


class _Ready(deque[Any]):
    """The loop's due callbacks; taking one may crash the process."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def popleft(self) -> Any:
        self._fuse.callback()
        return super().popleft()


class _Task(asyncio.Task[Any]):
    """A task that hashes by its number, so that a group cancels its tasks in the same order in every replay."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class _Jump(selectors.DefaultSelector):
    """Waits by advancing the clock: only timers wake a simulated process."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everybody waits, and no timer is set that would wake anybody")
        self.now += max(0.0, timeout)
        return []


class MortalLoop(asyncio.SelectorEventLoop):
    """A loop in virtual time that begins at `now` and ends when its fuse does; `bury` clears it away."""

    def __init__(self, now: float, fuse: Fuse) -> None:
        self._jump = _Jump(now)
        super().__init__(self._jump)
        self._ready = _Ready(fuse)
        self._tasks: list[_Task] = []
        numbers = itertools.count()

        def task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> _Task:
            made = _Task(coro, number=next(numbers), loop=loop, **options)
            self._tasks.append(made)
            if len(self._tasks) > 4096:
                self._tasks = [one for one in self._tasks if not one.done()]
            return made

        self.set_task_factory(task)

    def time(self) -> float:
        return self._jump.now

    def bury(self, *, quietly: bool = False) -> None:
        """Closes the loop and every coroutine that hangs in it; `quietly` where they are those of a dead process."""
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.close()
                if quietly:
                    self.set_exception_handler(lambda *_: None)
                asyncio.set_event_loop(None)  # a `finally` that begins a task finds no loop that would keep it
                for task in reversed(self._tasks):
                    _close(task.get_coro())
                self._tasks.clear()
        finally:
            sys.unraisablehook = hook

    def offload(self, delays: Callable[[], tuple[float, float]]) -> Callable[..., asyncio.Future[Any]]:
        """An `Offload` as a pool of threads behaves, without threads.

        The work is done whole at one moment, `delays()[0]` after it was asked, and answered `delays()[1]` later. Who
        cancels does not undo it.
        """

        def offload(fn: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
            future = self.create_future()
            before, after = delays()

            def work() -> None:
                if future.cancelled():
                    return  # it had not begun
                try:
                    answer, result = future.set_result, fn(*args)
                except PowerCut:
                    self.call_soon(int)  # which is where the loop finds out
                    return
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits the future
                    answer, result = future.set_exception, error
                self.call_later(after, _answer, future, answer, result)

            self.call_later(before, work)
            return future

        return offload


def _answer(future: asyncio.Future[Any], answer: Callable[[Any], None], result: Any) -> None:
    if not future.done():
        answer(result)
        if answer == future.set_exception:
            future.exception()  # nobody may be left to ask for it


def _close(coro: Any) -> None:
    for _ in range(8):  # a `finally` that awaits refuses the first time
        with contextlib.suppress(BaseException):
            coro.close()
            return
