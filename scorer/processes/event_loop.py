"""Runs coroutines to their end, blocking work in threads, and shields work from cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from scorer.processes.resolver import look_up_in_daemon_threads

if TYPE_CHECKING:  # it loads pyarrow, which `memory.keep_memory_flat` must come before
    from scorer.types import Offload

T = TypeVar("T")

MEANWHILE_S = 0.5
START_S = 10.0
"""Most seconds that a thread may take to start."""


def threads(stack: contextlib.ExitStack) -> Offload:
    """Runs blocking work on four threads, which are joined when `stack` ends. Call it inside the running loop."""
    pool = stack.enter_context(ThreadPoolExecutor(4, thread_name_prefix="scorer"))
    loop = asyncio.get_running_loop()
    return lambda fn, *args: loop.run_in_executor(pool, fn, *args)


async def shielded(work: Coroutine[Any, Any, T], *, failure_first: bool = False) -> T:
    """Awaits `work` to its end, however often the caller is cancelled, and then raises CancelledError if it was.

    For steps that write in a thread and then record what they wrote: a thread cannot be cancelled. Where `work` fails
    and the caller was cancelled, CancelledError is raised; with `failure_first`, the failure.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None or task.cancelled():
        return task.result()
    # Retrieved even where it is not raised, so that asyncio does not log it.
    if (failure := task.exception()) is not None and failure_first:
        raise failure
    raise cancelled


def run_blocking(main: Coroutine[Any, Any, T], *, meanwhile: Callable[[], None] | None = None) -> T:
    """Runs a coroutine and returns its result, also where a loop already runs in this thread, as in a notebook.

    In that case the coroutine runs in a new thread with its own loop, and this thread waits; it calls `meanwhile` every
    half second and at the end. KeyboardInterrupt cancels the coroutine and is raised once it has ended; until then
    SIGINT does nothing.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return on_loop(main)
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()
    ended: Future[None] = Future()

    async def there() -> None:
        task: asyncio.Task[T] = asyncio.ensure_future(main)
        begun.set_result((asyncio.get_running_loop(), task))
        await asyncio.wait([task])

    def work() -> None:
        try:
            on_loop(there())
        finally:
            ended.set_result(None)

    try:
        try:
            Thread(target=work, name="scorer-run").start()
        except RuntimeError:  # the system refuses it
            main.close()
            raise
        while meanwhile is not None and not ended.done():
            wait([ended], MEANWHILE_S)
            meanwhile()
        ended.result()
    except KeyboardInterrupt:
        with _interrupts_ignored():
            if wait([begun], START_S).done:
                loop, task = begun.result()
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(task.cancel)
                ended.result()  # not the thread's join, which takes an interrupted wait for the thread's end
        raise
    return begun.result(0)[1].result()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """SIGINT does nothing within the block; its handler is back afterwards. Only the main thread is interrupted."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:  # None: it is not Python's
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, which a process that starts meanwhile would inherit
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def on_loop(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end on uvloop, or on asyncio where uvloop is not installed.

    Ctrl-C cancels it, and KeyboardInterrupt is raised once it has ended; asyncio's own runner interrupts the coroutine
    at the second Ctrl-C, in the middle of a write. Another handler of SIGINT stays in place. A coroutine that sets
    SIGINT to be ignored leaves it so.
    """
    interrupted = False

    async def shielded() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            nonlocal interrupted
            if not interrupted:
                interrupted = True
                task.cancel()

        if ours:
            loop.add_signal_handler(signal.SIGINT, interrupt)
        return await main

    here = threading.current_thread() is threading.main_thread()
    ours = here and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            return runner.run(shielded())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        # uvloop's close leaves a handler that does nothing.
        if ours and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    look_up_in_daemon_threads(loop)
    return loop
