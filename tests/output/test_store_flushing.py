"""Promise: results are written once there are `flush_rows` of them, also where they come while others are written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.clock import now, run
from support.outputs import Output, result


def test_a_flush_that_comes_due_while_another_is_written_begins_when_that_has_ended(tmp_path: Path) -> None:
    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(5.0)
        return fn(*args)

    async def scenario() -> None:
        output = Output(tmp_path, 1000)
        store = output.store(flush_rows=10, flush_s=100.0, offload=slow)
        list(store.work(output.shards))
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            for n in range(10):
                store.add(result(output.shards[0], n))
            await asyncio.sleep(1.0)
            for n in range(10, 20):
                assert not store.full
                store.add(result(output.shards[0], n))
            assert store.full
            await store.room()
            assert now() == pytest.approx(5.0)
            await asyncio.sleep(5.5)
            assert len(output.segments()) == 2
            store.stop()

    run(scenario())


def test_a_flush_that_comes_due_while_the_folder_is_checked_waits_for_no_clock(tmp_path: Path) -> None:
    async def owned() -> None:
        await asyncio.sleep(5.0)

    async def scenario() -> None:
        output = Output(tmp_path, 1000)
        store = output.store(flush_rows=10, flush_s=100.0)
        writer = store._writer
        writer._hooks = replace(writer._hooks, owned=owned)
        list(store.work(output.shards))
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            writer.wake()  # a turn with nothing to write
            await asyncio.sleep(1.0)
            for n in range(10):
                store.add(result(output.shards[0], n))
            await asyncio.sleep(9.5)
            assert len(output.segments()) == 1
            store.stop()

    run(scenario())


def test_results_beyond_a_flush_call_for_no_further_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 1000)
        store = output.store(flush_rows=10, flush_s=100.0)
        list(store.work(output.shards))
        woken: list[int] = []
        monkeypatch.setattr(store._writer, "wake", lambda: woken.append(store._writer._held))
        for n in range(30):
            store.add(result(output.shards[0], n))
        assert woken[0] == 10
        assert [held for held in woken if 10 < held < 20] == []
        assert store.full

    run(scenario())
