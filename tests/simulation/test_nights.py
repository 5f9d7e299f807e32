"""Promise: whatever a night brings, no row is lost, no score invented, no limit overspent; and the nights would show it.

Slow: each of the 200 nights is hours of virtual time and a third of a second of real time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from simulation.night import Night, Report

from scorer import files
from scorer.client import HttpClient
from scorer.errors import MomentError, Throttled, Unreachable
from scorer.limits import Bill, Local, Outcome, Permit
from scorer.schema import Call, Completion, Reply, Request
from scorer.store import store

NIGHTS, CHUNK = 200, 10


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, NIGHTS, CHUNK))
def test_every_night_keeps_the_promises(first: int) -> None:
    """Slow, as said above: ten nights."""
    for seed in range(first, first + CHUNK):
        report = Night(seed).run()
        assert report.findings == (), f"scripts/simulate --seed {seed}"
        assert report.rows >= 300
        assert report.shards >= 3
        assert report.outages >= 3
        assert report.crashes >= 2
        assert report.changes >= 1


@pytest.mark.slow
def test_the_same_seed_is_the_same_night() -> None:
    """Slow: a night, twice."""
    told: list[list[str]] = [[], []]
    first, second = (Night(7, told[i].append).run() for i in range(2))
    assert first == second
    assert told[0] == told[1]
    assert Night(8).run().digest != first.digest


# --- nights that must be bad ------------------------------------------------------------------------------------------


def no_settle_on_timeout(patch: pytest.MonkeyPatch) -> None:
    """A reply that never came leaves its place and its intent taken."""
    settle = Local.settle

    def forgetful(self: Local, permit: Permit, outcome: Outcome) -> None:
        if outcome.alive is False and outcome.bill is Bill.UNKNOWN:
            return
        settle(self, permit, outcome)

    patch.setattr(Local, "settle", forgetful)


def no_fsync_before_rename(patch: pytest.MonkeyPatch) -> None:
    """A file gets its name before its bytes are on the platter."""
    create = files.LocalFiles.create

    def hasty(self: files.LocalFiles, path: str) -> Any:
        files.os.fsync, fsync = (lambda handle: None if isinstance(handle, int) else None), files.os.fsync  # type: ignore[assignment]
        del fsync
        return create(self, path)

    patch.setattr(files.LocalFiles, "create", hasty)


def sealed_before_the_last_row(patch: pytest.MonkeyPatch) -> None:
    """A shard counts as finished while its last row is still out."""
    patch.setattr(store._Open, "finished", property(lambda self: self.unscored <= 1 and not self.redo))


def late_429s_cut_again(patch: pytest.MonkeyPatch) -> None:
    """Each 429 pauses everybody, also those of requests that were sent before the first one arrived."""
    cut = Local._cut

    def again(self: Local, permit: Permit, retry_after_s: float | None) -> None:
        self._cut_at = float("-inf")
        cut(self, permit, retry_after_s)

    patch.setattr(Local, "_cut", again)


def retries_outside_admission(patch: pytest.MonkeyPatch) -> None:
    """A call that failed is sent again at once, under the same permit."""
    once = HttpClient._once

    async def eager(self: HttpClient, endpoint: Any, request: Request, spent: Any) -> Completion:
        transport = self._transport
        self._transport = _Eager(transport)
        try:
            return await once(self, endpoint, request, spent)
        finally:
            self._transport = transport

    patch.setattr(HttpClient, "_once", eager)


class _Eager:
    def __init__(self, transport: Any) -> None:
        self._transport = getattr(transport, "_transport", transport)

    async def post(self, call: Call) -> Reply:
        for _ in range(2):
            try:
                return await self._transport.post(call)
            except Unreachable:
                continue
        return await self._transport.post(call)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [
        no_settle_on_timeout,
        no_fsync_before_rename,
        sealed_before_the_last_row,
        late_429s_cut_again,
        retries_outside_admission,
    ],
)
def test_a_planted_bug_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: nights until the first bad one."""
    plant(monkeypatch)
    assert any(Night(seed).run().findings for seed in range(NIGHTS))
