"""Promise: a coroutine is run to its end wherever it is asked for, and Ctrl-C lets it put its things in order."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest

from scorer.offload import to_the_end


async def where() -> int:
    return threading.get_ident()


def test_without_a_loop_it_runs_here() -> None:
    assert to_the_end(where()) == threading.get_ident()


def test_inside_a_running_loop_it_has_a_thread_of_its_own() -> None:
    async def cell() -> int:
        return to_the_end(where())

    assert asyncio.run(cell()) != threading.get_ident()


def test_an_error_reaches_who_asked() -> None:
    async def fails() -> None:
        raise LookupError("nothing there")

    async def cell() -> None:
        to_the_end(fails())

    with pytest.raises(LookupError, match="nothing there"):
        asyncio.run(cell())


def test_an_interrupt_inside_a_running_loop_cancels_it_and_waits_until_it_has_ended() -> None:
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
        to_the_end(scores())

    loop = asyncio.new_event_loop()  # as in a notebook, whose loop leaves Ctrl-C to Python
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell())
    finally:
        loop.close()
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    assert put_away == ["what was finished"]
