"""Regressions that the simulation found: one test for each, with its cause in one line."""

from __future__ import annotations

from pathlib import Path
from random import Random

from simulation.disk import Disk
from simulation.loop import Fuse
from support.clock import inline, now, run

from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, Demand, LocalLimiter, Outcome, RateLimits
from scorer.limits.breaker import Breaker
from scorer.output.ledger import Ledger, totals
from scorer.output.ledger_totals import Totals
from scorer.types import (
    Gauge,
    RateHint,
)
from scorer.usage import (
    Usage,
)

NEED = Demand(tokens=60, output_tokens=10, worst_tokens=300)


def limits(folder: Path) -> LocalLimiter:
    """A limiter of 6,000 tokens a minute without a ledger."""
    ledger = Ledger(LocalFiles(), str(folder), "1", offload=inline, strict=False)
    return LocalLimiter(RateLimits(tokens_per_minute=6000, concurrency=4), Budget(ledger))


def lie() -> Outcome:
    """An answer whose headers allow one token a minute."""
    hint = RateHint({"tokens": Gauge(limit=1.0)})
    return Outcome(Billing.KNOWN, usage=Usage(60, 10), hint=hint, alive=True)


def test_limiter_fails_no_row_when_a_header_lowers_a_limit_below_one_request(tmp_path: Path) -> None:
    """Rows ended in TooLong because the headers of one reply allowed one token a minute."""

    async def scenario() -> None:
        gate = limits(tmp_path)
        gate.settle(await gate.admit(NEED), lie())
        await gate.admit(NEED)

    run(scenario())


def test_limiter_restores_the_declared_limit_after_a_minute_without_a_header(tmp_path: Path) -> None:
    """One request under a wrong header left a debt of an hour; with nothing in flight no reply could correct it."""

    async def scenario() -> None:
        gate = limits(tmp_path)
        for _ in range(3):
            since = now()
            gate.settle(await gate.admit(NEED), lie())
            assert now() - since <= 61

    run(scenario())


def test_retry_does_not_count_a_failure_at_the_edge_of_an_outage() -> None:
    """Late answers to what was sent before an outage made its first failures look like the rows' own."""
    time = 0.0
    breaker = Breaker(lambda: time, threshold=3)
    breaker.answered(success=True, sent_at=0.0)
    time = 2.0  # sent at 1.0, when the outage had begun; what was sent at 0.5 is answered meanwhile
    breaker.answered(success=True, sent_at=0.5)
    breaker.failed(probe=False)
    assert not breaker.was_up(1.0)
    for _ in range(2):
        breaker.failed(probe=False)
    time = 60.0
    breaker.answered(success=True, sent_at=59.0)
    assert not breaker.was_up(1.0)  # nor once it is over
    breaker.answered(success=True, sent_at=62.0)
    assert breaker.was_up(61.0)  # sent after it, failed while what was sent later was answered


def test_retry_does_not_count_failures_of_an_outage_too_short_for_the_breaker() -> None:
    """Seed 106075: after 1.5 s of an outage, what was sent later was answered before the outage's last, slow 500."""
    time = 0.0
    breaker = Breaker(lambda: time)
    breaker.answered(success=True, sent_at=0.0)
    for sent_at in (1.0, 1.2, 1.4):
        breaker.failed(probe=False, sent_at=sent_at)
    breaker.answered(success=True, sent_at=2.5)
    assert [breaker.was_up(sent_at) for sent_at in (1.0, 1.2, 1.4)] == [False] * 3
    for sent_at in (3.0, 3.4):  # two of many, among answers, are two rows' own
        breaker.failed(probe=False, sent_at=sent_at)
        breaker.answered(success=True, sent_at=sent_at + 0.1)
    assert breaker.was_up(3.0)
    assert breaker.was_up(3.4)


def test_ledger_keeps_its_totals_when_an_owner_name_repeats(tmp_path: Path) -> None:
    """Where a clock starts anew at each boot, two ledgers of a container had one name, and each covered the other."""
    folder, files = str(tmp_path), LocalFiles()

    async def scenario() -> None:
        for owner in ("1", "2", "1", "1"):
            ledger = Ledger(files, folder, owner, offload=inline, strict=True)
            ledger.open()
            ledger.settle(ledger.reserve(9, 9), Usage(5, 2), 8)
            await ledger.close()

    run(scenario())
    assert totals(files, folder) == Totals(requests=4, prompt_tokens=20, completion_tokens=8, pico=32)


def test_folder_of_a_killed_process_outlasts_a_power_cut_once_another_process_writes_in_it() -> None:
    """Batch seed 309: a segment was lost with its folder, which a process that was killed had made and not synced."""
    lost = []
    for seed in range(20):
        disk = Disk(Random(seed), Fuse())
        with disk.mounted():
            for folder in ("out", "out/segments", "out/segments/a"):
                disk.make_unsynced(folder)
            files = LocalFiles()
            files.lock("out/lock", "the next process")
            with files.create("out/segments/a/one") as file:
                file.write(b"results")
            disk.cut()
            lost += [] if disk.has("out/segments/a/one") else [seed]
    assert lost == []
