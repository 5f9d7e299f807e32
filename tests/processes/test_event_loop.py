"""Promise: run_blocking runs a coroutine to its end with or without a running loop, and Ctrl-C lets it clean up."""

from __future__ import annotations

import asyncio
import platform
import signal
import subprocess
import sys
import threading
from concurrent.futures import wait
from typing import Any

import pytest

from scorer.processes import event_loop
from scorer.processes.event_loop import run_blocking


async def where() -> int:
    return threading.get_ident()


def test_run_blocking_uses_calling_thread_without_running_loop() -> None:
    assert run_blocking(where()) == threading.get_ident()


def test_run_blocking_uses_other_thread_inside_running_loop() -> None:
    async def cell() -> int:
        return run_blocking(where())

    assert asyncio.run(cell()) != threading.get_ident()


def test_run_blocking_raises_error_of_coroutine() -> None:
    async def fails() -> None:
        raise LookupError("nothing there")

    async def cell() -> None:
        run_blocking(fails())

    with pytest.raises(LookupError, match="nothing there"):
        asyncio.run(cell())


def test_run_blocking_cancels_and_awaits_coroutine_on_interrupt() -> None:
    put_away: list[str] = []

    async def scores() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 10)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            put_away.append("what was finished")
            raise

    async def cell() -> None:
        run_blocking(scores())

    loop = asyncio.new_event_loop()  # as in a notebook, whose loop leaves Ctrl-C to Python
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell())
    finally:
        loop.close()
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    assert put_away == ["what was finished"]


def test_run_blocking_interrupted_before_it_waits_for_the_end_waits_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second Ctrl-C comes while the first one is still being handled."""
    put_away: list[str] = []

    async def scores() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            put_away.append("what was finished")

    async def cell() -> None:
        run_blocking(scores())

    def interrupted(*given: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return wait(*given)

    monkeypatch.setattr(event_loop, "wait", interrupted)
    loop = asyncio.new_event_loop()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell())
        assert put_away == ["what was finished"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        loop.close()
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


HOLES = """
import ctypes
from scorer.processes.memory import stream_from_here

class Heap(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.mallinfo2.restype = Heap
stream_from_here()
before = libc.mallinfo2().hblks
libc.free(libc.malloc(16 << 20))  # after this, glibc by itself makes holes in the heap for pieces of up to 16 MB
piece = libc.malloc(1 << 20)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tunes the malloc of glibc")
def test_malloc_gives_large_blocks_their_own_pages() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "1"
