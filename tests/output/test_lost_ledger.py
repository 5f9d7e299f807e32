"""Promise: a lost ledger does not reset the cap; with a whole ledger, no result file is opened for it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import orjson
import pytest
from support.clock import inline
from support.clock import run as in_virtual_time
from support.inprocess import Run

from scorer.errors import BudgetSpent, StorageError
from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, Demand, LocalLimiter, Outcome, RateLimits
from scorer.output.layout import Layout
from scorer.output.ledger import UNWRITTEN, Ledger
from scorer.output.ledger_totals import Totals
from scorer.output.lost_ledger import with_recovered_costs
from scorer.output.manifest import Manifest
from scorer.output.status import status

NOTHING = Manifest("", {}, {}, "")
"""A run without shards."""


def truncated(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"")


def older(folder: Path) -> None:
    """A copy from when the run had just begun."""
    shutil.rmtree(folder)
    folder.mkdir()
    ledger = Ledger(LocalFiles(), str(folder), "0", offload=inline, strict=True)
    ledger.open()


LOSSES: dict[str, Callable[[Path], None]] = {
    "deleted": shutil.rmtree,
    "emptied": lambda folder: [path.unlink() for path in folder.iterdir()] and None,
    "truncated": truncated,
    "older": older,
}


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_lost_ledger_is_rebuilt_once_with_the_cost_of_stored_rows(tmp_path: Path, loss: str, progress: bool) -> None:
    run = Run(tmp_path, 100, 10)
    run.stop_after(50)
    before = status(LocalFiles(), run.out)
    assert before.scored
    LOSSES[loss](Path(run.out, "ledger"))
    if not progress:
        Path(run.out, "progress.json").unlink()
    run.run()
    after = status(LocalFiles(), run.out)
    if loss == "older" and not progress:
        assert after.prompt_tokens < 1100, "nothing tells that this ledger is not whole"
        return
    assert (after.prompt_tokens, after.completion_tokens, after.requests) == (1100, 220, 110)
    assert after.cost_usd == pytest.approx(run.wire.billed * 14e-6)
    (said,) = [text for text in run.said if "ledger" in text]
    assert f"{before.scored * 12} tokens" in said
    run.said.clear()
    run.add(3)
    run.run()
    assert run.said == [], "it is entered once"


def test_lost_ledger_costs_count_towards_max_usd(tmp_path: Path) -> None:
    run = Run(tmp_path, 100)
    run.stop_after(50)
    shutil.rmtree(Path(run.out, "ledger"))
    billed, job = run.wire.billed, run.job()
    object.__setattr__(job.plan.spec.limits, "max_usd", billed * 14e-6)
    with pytest.raises(BudgetSpent):
        in_virtual_time(job.run())
    assert run.wire.billed == billed


@pytest.mark.parametrize(
    ("held", "known_pico", "maybe_pico"),
    [
        (Totals(2, 20, 4, 0, 5_000_000, 1, 40, 3_000_000), 5_000_000, 9_000_000),
        (Totals(1, 10, 2, 0, 2_500_000, 2, 80, 6_000_000), 5_000_000, 9_000_000),
        (Totals(1, 10, 2, 0, 2_500_000, 4, 160, 10_000_000), 4_000_000, 10_000_000),
    ],
    ids=["timeouts", "both", "bills of reserved requests"],
)
def test_costs_that_were_reported_as_possible_are_not_entered_as_known(
    tmp_path: Path, held: Totals, known_pico: int, maybe_pico: int
) -> None:
    """Twins, seed 143: killed with a slow disk; progress.json was ahead of a ledger without a cap."""
    reported = {"requests": 2, "prompt_tokens": 20, "completion_tokens": 4, "cost_usd": 5e-6, "maybe_billed_usd": 9e-6}
    (tmp_path / "progress.json").write_bytes(orjson.dumps(reported))
    whole = with_recovered_costs(LocalFiles(), Layout(str(tmp_path)), NOTHING, [].append)(held, True)
    assert (whole.pico, whole.maybe_pico) == (known_pico, maybe_pico)


def test_tokens_that_were_reported_as_possible_are_entered_as_possible(tmp_path: Path) -> None:
    reported = {"requests": 5, "prompt_tokens": 20, "completion_tokens": 4, "maybe_billed_requests": 3}
    (tmp_path / "progress.json").write_bytes(orjson.dumps({**reported, "maybe_billed_tokens": 90}))
    held, mend = Totals(1, 10, 2), with_recovered_costs(LocalFiles(), Layout(str(tmp_path)), NOTHING, [].append)
    assert mend(held, True) == Totals(2, 20, 4, maybe_requests=3, maybe_tokens=90)


def test_whole_ledger_opens_no_sealed_file_at_start(tmp_path: Path) -> None:
    run = Run(tmp_path, 10, 90)
    run.stop_after(60)
    assert run.sealed("a").exists()
    opened: list[str] = []

    class Watched(LocalFiles):
        def open(self, path: str) -> BinaryIO:
            opened.append(path)
            return super().open(path)

    at_first: list[str] = []
    run.wire.then = lambda: at_first.extend(opened) if not at_first else None
    run.run(Watched())
    opened = at_first
    assert opened
    assert not [path for path in opened if path.startswith(f"{run.out}/scores/a")]
    assert run.said == []


def test_ledger_without_cap_bounds_requests_while_storage_refuses(tmp_path: Path) -> None:
    async def refuse(*_: object) -> None:
        await asyncio.sleep(5.0)
        raise StorageError("refused")

    async def scenario() -> int:
        ledger = Ledger(LocalFiles(), str(tmp_path), "o", offload=refuse, strict=False)
        limits = LocalLimiter(RateLimits(concurrency=10**6), Budget(ledger))
        sent = 0

        async def ask() -> None:
            nonlocal sent
            limits.settle(await limits.admit(Demand(1, 1, 10)), Outcome(Billing.NOTHING))
            sent += 1

        async def everybody() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(ledger.serve())
                for _ in range(10 * UNWRITTEN):
                    group.create_task(ask())

        with pytest.raises(ExceptionGroup, match="TaskGroup") as failure:
            await everybody()
        assert failure.group_contains(StorageError)
        return sent

    assert in_virtual_time(scenario()) == UNWRITTEN


def test_ledger_without_cap_delays_requests_only_when_writes_are_behind(tmp_path: Path) -> None:
    writes: list[float] = []

    async def slow(fn: Callable[..., None], *args: object) -> None:
        writes.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1.0)
        fn(*args)

    async def scenario() -> tuple[float, list[str]]:
        ledger = Ledger(LocalFiles(), str(tmp_path), "o", offload=slow, strict=False, gather_s=60.0)
        limits = LocalLimiter(RateLimits(concurrency=10**6), Budget(ledger))
        for _ in range(3 * UNWRITTEN):
            limits.settle(await limits.admit(Demand(1, 1, 10)), Outcome(Billing.NOTHING))
        took = asyncio.get_running_loop().time()
        await ledger.close()
        return took, list(limits.waits.shares())

    took, waits = in_virtual_time(scenario())
    # The first write begins at half of the bound; each of the two waits is for the write that began before it.
    assert took == 2.0
    assert waits == ["ledger"]
    assert writes[0] == 0.0
