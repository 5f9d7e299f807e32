"""The process and its loop: blocking work off it, work that a cancellation must not cut in two, memory kept flat."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # it loads pyarrow, which `keep_memory_flat` must come before
    from scorer.schema import Offload

T = TypeVar("T")

START_S = 10.0
"""What a thread may take to begin."""

_M_ARENA_MAX = -8  # malloc.h of glibc


def keep_memory_flat() -> None:
    """Makes a process that streams for hours give memory back: Arrow allocates by malloc, malloc in two arenas.

    Call it before pyarrow is first imported, which reads the variable then. Measured (docs/log.md): Arrow's own pool
    holds 50 MB more, an arena for each thread 15 MB. The second half does nothing where the C library is not glibc.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def give_memory_back() -> None:
    """Hands back to the system what is free in between: call it before a large piece of work. glibc's; else nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def calm_collector() -> None:
    """Makes the cycle collector look more rarely. Call it before anything large is imported.

    Rows make no cycles, and modules hardly any: looking for them took 68 us of each row and 40 ms of a start
    (docs/log.md).
    """
    gc.set_threshold(50_000, 20, 50)


def keep_what_is_loaded() -> None:
    """Keeps the cycle collector off what will live as long as the process. Call it when everything is loaded."""
    gc.freeze()


def threads(stack: contextlib.ExitStack) -> Offload:
    """Runs blocking work on four threads, which are waited for when `stack` ends. Call it inside the running loop."""
    pool = stack.enter_context(ThreadPoolExecutor(4, thread_name_prefix="scorer"))
    loop = asyncio.get_running_loop()
    return lambda fn, *args: loop.run_in_executor(pool, fn, *args)


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is finished even where the caller is cancelled; the cancellation goes on after it.

    For steps that write and then remember what they wrote: a thread cannot be cancelled, so nobody may forget it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at: what ended the caller is told, and asyncio need not complain of this one
        raise


def to_the_end(main: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, also where a loop runs in this thread already, as in a notebook.

    It then has a thread and a loop of its own, which are waited for. KeyboardInterrupt cancels it, and is raised once
    it has ended.
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
        Thread(target=work, name="scorer-run").start()
        ended.result()
    except KeyboardInterrupt:
        if wait([begun], START_S).done:
            loop, task = begun.result()
            loop.call_soon_threadsafe(task.cancel)
            ended.result()  # not the thread's join, which takes an interrupted wait for the thread's end
        raise
    return begun.result(0)[1].result()


def on_loop(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end on uvloop, or on asyncio where uvloop is not to be had."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
