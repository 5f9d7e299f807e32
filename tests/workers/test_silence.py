"""Promise: a worker that is silent for too long is found, and the owner's own suspension does not count."""

from __future__ import annotations

import asyncio

from support.clock import now, run

from scorer.workers.broker_client import BEAT_S
from scorer.workers.silence import SILENT_S, STARTS_S, SilenceTimeout


def test_silence_timeout_never_fires_for_reporting_worker() -> None:
    async def scenario() -> None:
        silence = SilenceTimeout()
        silence.awaited()
        watching = asyncio.ensure_future(silence.too_long())
        for _ in range(2000):
            await asyncio.sleep(BEAT_S * 2)
            silence.heard()
            silence.awaited()
        assert not watching.done()
        watching.cancel()

    run(scenario())


def test_silence_timeout_fires_after_limit_and_later_before_first_report() -> None:
    async def scenario() -> None:
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

    run(scenario())


def test_silence_timeout_of_starting_worker_is_that_of_others_once_no_row_is_left() -> None:
    async def scenario() -> None:
        silence = SilenceTimeout(lambda: now() >= 100)
        silence.awaited()
        assert "30 s" in await silence.too_long()
        assert 100 <= now() <= 101
        silence = SilenceTimeout(lambda: True)
        silence.awaited()
        await silence.too_long()
        assert 100 + SILENT_S <= now() <= 103 + SILENT_S

    run(scenario())


def test_silence_timeout_excludes_time_waiting_for_owner() -> None:
    async def scenario() -> None:
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

    run(scenario())


def test_silence_timeout_does_not_fire_after_suspension_of_owner() -> None:
    async def scenario() -> None:
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

    run(scenario())
