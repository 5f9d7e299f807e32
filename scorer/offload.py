"""The process and its loop: blocking work off it, work that a cancellation must not cut in two, memory kept flat."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_M_ARENA_MAX = -8  # malloc.h of glibc


def keep_memory_flat() -> None:
    """Makes a process that streams for hours give memory back: Arrow allocates by malloc, malloc in two arenas.

    Call it before pyarrow is first imported, which reads the variable then. Measured (docs/log.md): Arrow's own pool
    holds 50 MB more, an arena for each thread 15 MB. The second half does nothing where the C library is not glibc.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def calm_collector() -> None:
    """Keeps the cycle collector off what will live as long as the process, and makes it look more rarely.

    Call it when everything is loaded. Rows make no cycles; looking for them took 68 us of each (docs/log.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


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


def on_loop(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end on uvloop, or on asyncio where uvloop is not to be had."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
