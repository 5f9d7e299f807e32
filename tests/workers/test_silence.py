"""Promise: a worker that is silent for too long is found, and nobody is blamed for the owner's own sleep."""

from __future__ import annotations

import asyncio

from support.clock import now, run

from scorer.workers.broker_client import BEAT_S
from scorer.workers.silence import SILENT_S, STARTS_S, SilenceTimeout


def test_a_worker_that_reports_is_never_found_silent() -> None:
    async def night() -> None:
        silence = SilenceTimeout()
        silence.awaited()
        watching = asyncio.ensure_future(silence.too_long())
        for _ in range(2000):
            await asyncio.sleep(BEAT_S * 2)
            silence.heard()
            silence.awaited()
        assert not watching.done()
        watching.cancel()

    run(night())


def test_one_that_stops_is_found_after_the_limit_and_later_before_its_first_report() -> None:
    async def night() -> None:
        silence = SilenceTimeout()
        silence.awaited()
        assert "300 s" in await silence.too_long()
        assert STARTS_S <= now() <= STARTS_S + 1
        silence = SilenceTimeout()
        silence.heard()
        silence.awaited()
        began = now()
        assert await silence.too_long() == f"reported nothing for {SILENT_S:g} s and was killed"
        assert SILENT_S <= now() - began <= SILENT_S + 1

    run(night())


def test_time_in_which_it_waits_for_its_owner_does_not_count() -> None:
    async def night() -> None:
        silence = SilenceTimeout()
        silence.awaited()
        watching = asyncio.ensure_future(silence.too_long())
        silence.heard()
        await asyncio.sleep(10 * SILENT_S)
        assert not watching.done()
        silence.awaited()
        await asyncio.sleep(SILENT_S - 2)
        assert not watching.done()
        await asyncio.sleep(3)
        assert watching.done()

    run(night())


def test_an_owner_that_was_itself_stopped_blames_no_worker() -> None:
    async def night() -> None:
        loop = asyncio.get_running_loop()
        silence = SilenceTimeout()
        silence.heard()
        silence.awaited()
        watching = asyncio.ensure_future(silence.too_long())
        await asyncio.sleep(0)
        loop._jump.now += 3600  # type: ignore[attr-defined]
        await asyncio.sleep(0.5)
        assert not watching.done()
        watching.cancel()

    run(night())
