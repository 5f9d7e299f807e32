"""Promise: no fault loses a row, invents a score or exceeds a limit; and the simulation would find it.

Slow: each of the 17 runs is minutes of virtual time and up to a second of real time. `.ci/run` simulates 325 more.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import pytest
from simulation.bad_pages import damaged
from simulation.settings import drawn
from simulation.simulated_run import SimulatedRun
from simulation.world import World

from scorer.client.attempt import Attempts
from scorer.client.endpoints import Endpoint
from scorer.client.providers import completions
from scorer.client.repeated_replies import DuplicateReplies
from scorer.engine.dedupe import Deduplicator
from scorer.errors import Unreachable
from scorer.files import local_files
from scorer.job import scoring_pass
from scorer.limits import Admission, Billing, Demand, LocalLimiter, Outcome, Permit
from scorer.limits.bills import LearnedBilling
from scorer.limits.cooldown import Cooldown
from scorer.output import inventory, sealer, segment_writer
from scorer.types import (
    Completion,
    Request,
)
from scorer.usage import (
    Usage,
)

RUNS, OTHERS = 5, 2
"""Seeds of plain runs, and of each other kind; `.ci/run` goes on from there."""
SEARCHED = 50
"""Seeds that are tried, after the one that is known to find it, until a planted bug is found."""


@pytest.mark.slow
def test_simulated_runs_keep_all_promises() -> None:
    """Slow: five runs."""
    for seed in range(RUNS):
        report = SimulatedRun(seed).run()
        assert report.findings == (), f"scripts/simulate --seed {seed}"
        assert report.rows >= 300
        assert report.shards >= 3
        assert report.outages >= 3
        assert report.crashes >= 2
        assert report.changes >= 1


@pytest.mark.slow
def test_simulated_runs_with_duplicates_send_no_identical_request_twice_in_a_start() -> None:
    """Slow: two runs."""
    for seed in range(OTHERS):
        report = SimulatedRun(seed, twins=True).run()
        assert report.findings == (), f"scripts/simulate --seed {seed} --twins"
        assert report.requests


@pytest.mark.slow
def test_simulated_runs_with_damaged_input_score_every_other_row() -> None:
    """Slow: two runs."""
    for seed in range(OTHERS):
        report = SimulatedRun(seed, pages=True).run()
        assert report.findings == (), f"scripts/simulate --seed {seed} --pages"
        assert report.requests


@pytest.mark.slow
def test_simulated_runs_over_json_lines_keep_all_promises() -> None:
    """Slow: three runs. That of seed 36 has a file of one row, without a text."""
    for seed in (*range(OTHERS), 36):
        report = SimulatedRun(seed, lines=True).run()
        assert report.findings == (), f"scripts/simulate --seed {seed} --lines"
        assert report.requests


@pytest.mark.slow
def test_simulated_runs_that_are_paused_and_given_higher_caps_keep_all_promises() -> None:
    """Slow: three runs. In that of seed 24 a cap is raised while the run, which found it used up, is being stopped."""
    for seed in (*range(OTHERS), 24):
        report = SimulatedRun(seed, pauses=True).run()
        assert report.findings == (), f"scripts/simulate --seed {seed} --pauses"
        assert report.requests


def test_planted_damage_is_in_pages_and_leaves_the_footer_of_an_empty_shard() -> None:
    shards = damaged(drawn(32)).shards.values()
    assert 0 in [pq.read_metadata(io.BytesIO(shard)).num_rows for shard in shards]


def test_no_request_is_expected_for_rows_that_cannot_be_read() -> None:
    """Pages, seeds 118 and 156: while the last row was slow, the damaged ones seemed to wait."""
    setting, said = damaged(drawn(118)), list[str]()
    world = World(setting, said.append, lambda _: None)
    world.clock = lambda: 1000.0
    for name, kind in setting.kinds.items():
        world.rows[name].good += kind != "damaged"
    world._open = 1
    world.watch()
    assert said == []


@pytest.mark.slow
def test_simulated_runs_with_wrong_usage_keep_all_promises() -> None:
    """Slow: two runs. No cap is passed by more than decision 20 says, and the ledger admits what was reported."""
    for seed in range(OTHERS):
        report = SimulatedRun(seed, lies=True).run()
        assert report.findings == (), f"scripts/simulate --seed {seed} --lies"
        assert report.requests


def nothing_learned(patch: pytest.MonkeyPatch) -> None:
    """Bills do not raise later reservations."""
    patch.setattr(LearnedBilling, "worst", lambda _, need: need)


def no_opening(patch: pytest.MonkeyPatch) -> None:
    """There is no opening."""
    patch.setattr(LearnedBilling, "places", property(lambda _: math.inf, lambda *_: None), raising=False)


def zeros_believed(patch: pytest.MonkeyPatch) -> None:
    """Usage without tokens counts as a bill of 0."""
    read = completions.read_usage

    def credulous(usage: Any, *, said: bool = False) -> Usage | None:
        zeros = isinstance(usage, dict) and usage.get("prompt_tokens") == 0
        return Usage(0, 0) if zeros else read(usage, said=said)

    patch.setattr(completions, "read_usage", credulous)


def totals_unread(patch: pytest.MonkeyPatch) -> None:
    """Tokens that only total_tokens counts are ignored."""
    read = completions.read_usage

    def short(usage: Any, *, said: bool = False) -> Usage | None:
        rest = {name: value for name, value in usage.items() if name != "total_tokens"} if usage else usage
        return read(rest if isinstance(usage, dict) else usage, said=said)

    patch.setattr(completions, "read_usage", short)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "known"), [(nothing_learned, 3), (no_opening, 23), (zeros_believed, 4), (totals_unread, 1)]
)
def test_simulation_finds_a_planted_bug_in_billing(
    plant: Callable[[pytest.MonkeyPatch], None], known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: runs until the first violation."""
    plant(monkeypatch)
    assert any(SimulatedRun(seed, lies=True).run().findings for seed in (known, *range(SEARCHED)))


@pytest.mark.slow
def test_simulation_finds_duplicates_that_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: runs until the first violation."""
    monkeypatch.setattr(Deduplicator, "waits", lambda *_: False)
    assert any(
        "asked the same again" in found for n in range(SEARCHED) for found in SimulatedRun(n, twins=True).run().findings
    )


@pytest.mark.slow
def test_simulation_is_deterministic_by_seed() -> None:
    """Slow: one run, twice."""
    lines: list[list[str]] = [[], []]
    first, second = (SimulatedRun(7, lines[i].append).run() for i in range(2))
    assert first == second
    assert lines[0] == lines[1]
    assert SimulatedRun(24).run().digest != first.digest


# --- planted bugs -----------------------------------------------------------------------------------------------------


def no_settle_on_timeout(patch: pytest.MonkeyPatch) -> None:
    """A request without a reply keeps its slot and its reservation."""
    settle = LocalLimiter.settle

    def forgetful(self: LocalLimiter, permit: Permit, outcome: Outcome) -> None:
        if outcome.alive is False and outcome.bill is Billing.UNKNOWN:
            return
        settle(self, permit, outcome)

    patch.setattr(LocalLimiter, "settle", forgetful)


def no_fsync_before_rename(patch: pytest.MonkeyPatch) -> None:
    """A file is renamed before its bytes are synced; its folder is synced."""
    create = local_files.LocalFiles.create

    @contextmanager
    def hasty(self: local_files.LocalFiles, path: str) -> Iterator[BinaryIO]:
        system = vars(local_files)["os"]  # the simulated disk's
        sync = system.fsync
        with create(self, path) as file:
            yield file
            system.fsync = lambda _: setattr(system, "fsync", sync)

    patch.setattr(local_files.LocalFiles, "create", hasty)


def sealed_before_the_last_row(patch: pytest.MonkeyPatch) -> None:
    """A shard counts as finished before its last row is."""
    patch.setattr(inventory.Unfinished, "finished", property(lambda self: self.unscored <= 1 and not self.redo))


def a_second_signal_cuts_the_last_store(patch: pytest.MonkeyPatch) -> None:
    """The last flush can be cancelled."""

    async def interrupted(work: Any, **_: object) -> Any:
        return await work

    patch.setattr(segment_writer, "shielded", interrupted)
    patch.setattr(sealer, "shielded", interrupted)
    patch.setattr(scoring_pass, "shielded", interrupted)


def late_429s_cut_again(patch: pytest.MonkeyPatch) -> None:
    """Each 429 pauses the endpoint, also those of requests that were sent before the first one arrived."""
    throttled = Cooldown.throttled

    def again(self: Cooldown, sent_at: float, now: float, wish_s: float | None, *, quota: bool = False) -> bool:
        self._cut_at = float("-inf")
        return throttled(self, sent_at, now, wish_s, quota=quota)

    patch.setattr(Cooldown, "throttled", again)


def retries_outside_admission(patch: pytest.MonkeyPatch) -> None:
    """The client repeats a failed request at once and settles it, but does not pass the queue."""
    once = Attempts.once

    class Unasked:
        """An endpoint's limits, with a way past them."""

        def __init__(self, limits: Admission) -> None:
            self._limits = limits

        def __getattr__(self, name: str) -> Any:
            return getattr(self._limits, name)

        async def admit(self, need: Demand, _: object = None) -> Permit:
            assert isinstance(self._limits, LocalLimiter)
            return self._limits._take(need)

    async def eager(self: Attempts, endpoint: Endpoint, request: Request, *more: Any) -> Completion:
        try:
            return await once(self, endpoint, request, *more)
        except Unreachable:
            return await once(self, replace(endpoint, limits=Unasked(endpoint.limits)), request, *more)

    patch.setattr(Attempts, "once", eager)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "known"),
    [
        (no_settle_on_timeout, 17),
        (no_fsync_before_rename, 5),
        (sealed_before_the_last_row, 0),
        (a_second_signal_cuts_the_last_store, 1),
        (late_429s_cut_again, 6),
        (retries_outside_admission, 11),
    ],
)
def test_simulation_finds_planted_bugs(
    plant: Callable[[pytest.MonkeyPatch], None], known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: runs until the first violation."""
    plant(monkeypatch)
    assert any(SimulatedRun(seed).run().findings for seed in (known, *range(SEARCHED)))


@pytest.mark.slow
def test_simulation_finds_an_accepted_repeated_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: two whole runs. Replies are sent twice: without a check of ids, rows get the scores of others."""
    assert drawn(17).twice
    assert SimulatedRun(17).run().findings == ()
    monkeypatch.setattr(DuplicateReplies, "doubts", lambda *_: None)
    assert any("the judge's verdict on a plain row was" in finding for finding in SimulatedRun(17).run().findings)
