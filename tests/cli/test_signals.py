"""Promise: what was answered is stored, however many signals come and whenever; only kill -9 can cut that."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.clock import now
from support.clock import run as in_virtual_time
from support.command import (
    IN_FLIGHT,
    JUDGE,
    PATIENCE_S,
    Ended,
    all_places_wait,
    answer,
    run_file,
    shard,
    slow_disk,
    standing,
    started,
    wait_until,
)
from support.inprocess import Run

from scorer.build.assemble import make_client
from scorer.cli.signals import Stages
from scorer.errors import Interrupted, StorageError
from scorer.files.local_files import LocalFiles
from scorer.job.job import Job
from scorer.output import store as stores
from scorer.processes.event_loop import run_blocking, shielded
from scorer.rehearsal.process import RehearsalProcess

# --- what must not be cut ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [0, 1, 2, 5])
def test_shielded_work_finishes_however_often_its_caller_is_cancelled(times: int) -> None:
    async def night() -> None:
        done: list[float] = []

        async def write() -> str:
            for _ in range(10):
                await asyncio.sleep(1.0)
                done.append(now())
            return "written"

        task = asyncio.ensure_future(shielded(write()))
        for _ in range(times):
            await asyncio.sleep(1.3)
            task.cancel()
        if times:
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert await task == "written"
        assert len(done) == 10

    in_virtual_time(night())


@pytest.mark.parametrize("failure_first", [False, True])
def test_shielded_raises_the_failure_of_cancelled_work_where_asked(failure_first: bool) -> None:
    async def fails() -> None:
        await asyncio.sleep(1.0)
        raise StorageError("full")

    async def night() -> None:
        task = asyncio.ensure_future(shielded(fails(), failure_first=failure_first))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(StorageError if failure_first else asyncio.CancelledError):
            await task
        with pytest.raises(StorageError):
            await shielded(fails(), failure_first=failure_first)

    in_virtual_time(night())


def test_stages_stop_at_the_first_signal_and_leave_at_the_second() -> None:
    done: list[str] = []
    stages = Stages(lambda: done.append("stop"), lambda: done.append("leave"), lambda _: None)
    for _ in range(7):
        stages()
    assert done == ["stop", "leave"]


# --- a whole run, in virtual time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_run_stores_every_answer_at_any_number_of_signals(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that takes seconds, with a flush that would come much later."""
    draw, given = Random(seed), Run(tmp_path, *[10] * 8, flush_rows=1000, flush_s=60.0)
    added: list[tuple[str, int]] = []
    add = stores.Store.add

    def note(store: stores.Store, result: Any) -> None:
        added.append((result.row.shard, result.row.number))
        add(store, result)

    monkeypatch.setattr(stores.Store, "add", note)
    post, slow = given.wire.post, draw.uniform(0.5, 2.0)

    async def answered(call: Any) -> Any:
        await asyncio.sleep(draw.uniform(0.5, 2.0))
        return await post(call)

    async def later(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(slow)
        return fn(*args)

    def offload(fn: Callable[..., Any], *args: Any) -> asyncio.Task[Any]:
        return asyncio.ensure_future(later(fn, *args))

    monkeypatch.setattr(given.wire, "post", answered)

    async def night() -> None:
        job = Job(
            given.job().plan, LocalFiles(), offload=offload, wall_s=given.wall_s,
            connect=partial(make_client, transport=given.wire),
        )  # fmt: skip
        task = asyncio.ensure_future(job.run())
        await asyncio.sleep(draw.uniform(2.0, 20.0))
        if draw.random() < 0.5:
            job.stop()
        for _ in range(draw.randint(2, 6)):  # more than the command does, which cancels once
            task.cancel()
            await asyncio.sleep(draw.choice([0.0, 0.01, slow / 2, slow * 1.5]))
        with pytest.raises((asyncio.CancelledError, Interrupted)):
            await task

    in_virtual_time(night())
    monkeypatch.undo()
    stored = given.run()
    assert stored.scored == 80
    assert given.wire.asked.total() - 80 <= 4  # what was in flight, and nothing that was answered
    assert given.verify().findings == ()
    assert added


# --- loops of others --------------------------------------------------------------------------------------------------

TWICE = """
import asyncio, os, signal, sys
from scorer.processes.event_loop import on_loop, shielded

async def write():
    for _ in range(4):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)
    print("written", flush=True)

async def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
    finally:
        await shielded(write())

try:
    on_loop(main())
except KeyboardInterrupt:
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.slow
def test_script_interrupted_again_cuts_nothing() -> None:
    """Slow: an interpreter starts, for a loop's handling of signals is the process's."""
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["written", "True"], done.stderr


def test_loop_interrupted_again_waits_for_the_end() -> None:
    """As in a notebook: the coroutine has a thread of its own, and Python raises KeyboardInterrupt in this one."""
    done: list[str] = []

    async def scores() -> None:
        interrupt = partial(signal.pthread_kill, threading.main_thread().ident or 0, signal.SIGINT)
        interrupt()
        try:
            await asyncio.sleep(10)
        finally:
            for _ in range(3):
                await asyncio.sleep(0.02)
                interrupt()
            await asyncio.sleep(0.02)
            done.append("stored")

    async def cell() -> None:
        run_blocking(scores())

    loop = asyncio.new_event_loop()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell())
        assert done == ["stored"]
    finally:
        loop.close()
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


# --- the real command -------------------------------------------------------------------------------------------------

SHARDS, EACH = 6, 150


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "further", "workers"),  # the owner of workers gets the signals, and treats them as a run without any does
    [
        (signal.SIGINT, signal.SIGINT, 1),
        (signal.SIGINT, signal.SIGTERM, 1),
        (signal.SIGTERM, signal.SIGINT, 1),
        (signal.SIGTERM, signal.SIGINT, 2),
    ],
)
def test_run_stores_every_answer_on_a_slow_disk(
    tmp_path: Path, first: signal.Signals, further: signal.Signals, workers: int
) -> None:
    """Slow: the real command, whose every fsync takes a third of a second, and a judge of its own.

    What is in flight at the signals is never answered, however slowly the command ends. Signals come until it has.
    """
    with RehearsalProcess(JUDGE) as judge:
        stores_every_answer(judge, tmp_path, (first, further), workers)


def stores_every_answer(
    judge: RehearsalProcess, tmp_path: Path, signals: tuple[signal.Signals, signal.Signals], workers: int
) -> None:
    for number in range(SHARDS):
        shard(tmp_path / f"in/{number}.parquet", EACH, first=number * EACH)
    output = {"flush_rows": 1000, "flush_s": 60.0}
    run = run_file(tmp_path, judge.url, output=output, limits={"concurrency": IN_FLIGHT})
    judge.configure(latency_median_s=0.15)
    with started("run", run, "--workers", workers, "--json", **slow_disk(tmp_path, 0.3)) as process:
        wait_until(lambda: judge.stats()["ok"] >= 100)
        judge.configure(latency_median_s=600.0, latency_sigma=0.0)
        wait_until(lambda: all_places_wait(judge))
        paid = judge.stats()["ok"]
        said = ""
        for number in signals:
            process.send_signal(number)
            said += answer(process)  # or a line of the end: after the first signal the run ends by itself in 3 s

        def has_ended() -> bool:
            process.send_signal(signals[1])
            return process.poll() is not None

        wait_until(has_ended)
        out, err = process.communicate(timeout=PATIENCE_S)
        ended = Ended(process.returncode, out, said + err)
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.rstrip().endswith("The same command resumes.")
    left = standing(tmp_path)
    assert left is not None
    assert left.scored == paid
