"""Mixes known rows into a run, and ends it where the judge's agreement with them leaves its band.

The rows are drawn with replacement and a seed, so that the expected loss of each is the judge's mean loss over all of
them, whatever was drawn before; the losses are watched in the order in which the canaries were asked, because quick
answers are no random sample. Their answers go to OUT/canary. analysis/sequential/drift.py has the test.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np

from scorer.analysis.sequential.drift import Drift, upper_bound
from scorer.build.open_run import OpenRun
from scorer.config.spec import Canary
from scorer.engine.engine import StopFlag
from scorer.errors import Drifted
from scorer.job.known_rows import SHARD, answer, loss_of, width_of
from scorer.output.canary_files import Alarm, CanaryState, Stretch, load_answers, load_state, save_answers, save_state
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Result, Row, Store

LEARNED = 100
"""Canaries that teach the band where the run file gives none."""
LEARNED_LEVEL = 0.05
ROUND = 100
"""Canaries that are asked before any row, where the start before ended with an alarm."""
WRITTEN_S = 10.0


class Canaries(PeriodicService):
    """The canaries of one start. `stop` is called where the judge has drifted: no further row is to be begun."""

    def __init__(
        self,
        opened: OpenRun,
        canary: Canary,
        known: Sequence[tuple[Row, float]],
        drain: StopFlag,
        stop: Callable[[], None],
        *,
        accept: bool = False,
    ) -> None:
        super().__init__(period_s=WRITTEN_S)
        self._opened, self._canary, self._known = opened, canary, known
        self._drain, self._stop = drain, stop
        self._width = width_of(opened.plan, canary)
        self._state = load_state(opened.files, opened.layout)
        stored = load_answers(opened.files, opened.layout)
        self._number = 1 + max(stored.column("canary").to_pylist(), default=-1)
        self._n = max(1, math.ceil(canary.share * opened.manifest.rows))
        self._times: dict[int, tuple[int, int]] = {}
        self._asked: dict[int, tuple[Row, float]] = {}
        self._answered: dict[int, float | None] = {}
        self._next = self._number
        self._gathered: list[dict[str, object]] = []
        self._files_written = 0
        self._credit = 1.0 - canary.share
        self._came = asyncio.Event()
        self.problem: str | None = None
        """Why the run ends: the judge has drifted."""
        stretches, given = self._state.stretches, canary.band
        if self._state.standing is not None and accept:
            self._ended("accepted")
            self._begin(None, "accepted")
        elif not stretches:
            self._begin(given, "start")
        elif given != stretches[-1].given and self._state.standing is None:
            self._begin(given, "another band")
        self._doubted = self._state.standing is not None
        self._drift, self._teaching = self._replayed(
            stored.select(["canary", "loss", "asked_at", "finished_at"]).to_pylist()
        )

    # --- canaries out -------------------------------------------------------------------------------------------------

    async def mixed(self, batches: AsyncIterator[list[Row]]) -> AsyncGenerator[list[Row]]:
        """The rows with canaries among them; after an alarm a round of canaries first, which must be in the band."""
        async with aclosing(batches):  # type: ignore[type-var]
            if self._doubted:
                yield [self._draw() for _ in range(ROUND)]
                if not await self._recovered():
                    return
            async for batch in batches:
                yield self._among(batch)

    def _among(self, batch: list[Row]) -> list[Row]:
        found: list[Row] = []
        for row in batch:
            found.append(row)
            self._credit += self._canary.share
            if self._credit >= 1.0:
                self._credit -= 1.0
                found.append(self._draw())
        return found

    def _draw(self) -> Row:
        """The next canary: its number and the run decide which known row it is."""
        number, self._number = self._number, self._number + 1
        row, known = self._known[random.Random(f"{self._opened.manifest.id} {number}").randrange(len(self._known))]
        self._asked[number] = (row, known)
        return replace(row, number=number)

    async def _recovered(self) -> bool:
        """Whether the mean loss of the round is within the band. False also where the run is drained meanwhile."""
        since = self._number - ROUND
        while self._next < self._number and not self._drain.asked:
            self._came.clear()
            with suppress(TimeoutError):  # looks whether the run drains
                await asyncio.wait_for(self._came.wait(), 0.5)
        losses = [loss for number, loss in self._round.items() if number >= since and loss is not None]
        standing = self._state.standing
        if self._drain.asked or standing is None:
            return False
        mean = float(np.mean(losses)) if losses else 1.0
        if mean > standing.band:
            self._drifted(msgspec.structs.replace(standing, mean=mean), len(losses))
            return False
        self._ended("recovered")
        self._begin(standing.band, "recovered")
        self._drift, self._doubted = Drift(standing.band, self._n), False
        self._opened.say(
            f"Canaries: the mean loss of {len(losses)} known rows is {mean:.3f}, within the band of "
            f"{standing.band:.3f}. The run goes on. Rows that were finished meanwhile stay suspect until "
            "`scorer retry --suspect`."
        )
        return True

    # --- answers in ---------------------------------------------------------------------------------------------------

    def around(self, store: Store) -> Store:
        """The store, without the canaries: their results come here."""
        return _Sorted(store, self._take)

    def _take(self, result: Result) -> None:
        number = result.row.number
        row, known = self._asked.pop(number)
        asked_at = result.finished_at - int(result.answered_s * 1e6)
        loss = loss_of(result, known, self._width)
        self._times[number] = (asked_at, result.finished_at)
        self._gathered.append(answer(result, row, known, loss, asked_at))
        self._answered[number] = loss
        while self._next in self._answered:
            number, self._next = self._next, self._next + 1
            if (one := self._answered.pop(number)) is not None:
                self._watch(number, one)
            if self._doubted:
                self._round[number] = one
        self._came.set()

    def _watch(self, number: int, loss: float) -> None:
        """Takes the next loss in the order in which canaries were asked."""
        if self._doubted or self.problem is not None:
            return
        if self._drift is None:
            self._teaching.append(loss)
            if len(self._teaching) >= LEARNED:
                self._learn(number)
            return
        self._watched.append(number)
        if self._drift.add(loss):
            first = self._watched[self._drift.earliest_start - 1]
            mean = float(np.mean(self._drift.losses[self._drift.earliest_start - 1 :]))
            until = max(finished for _, finished in self._times.values())
            alarm = Alarm(number, mean, self._drift.band, self._times[first][0], until)
            self._state = self._state.with_alarms((*self._state.alarms, alarm))
            self._drifted(alarm, self._drift.seen - self._drift.earliest_start + 1)

    def _learn(self, number: int) -> None:
        band = min(0.95, upper_bound(np.array(self._teaching), LEARNED_LEVEL))
        latest = self._state.stretches[-1]
        told = msgspec.structs.replace(latest, band=band, watched=number + 1)
        self._state = CanaryState((*self._state.stretches[:-1], told), self._state.alarms)
        self._drift = Drift(band, latest.n)
        self._save()
        self._opened.say(
            f"Canaries: the mean loss of the first {len(self._teaching)} is {np.mean(self._teaching):.3f}. The band is "
            f"{band:.3f}, the upper end of its 95 % interval."
        )

    def _drifted(self, alarm: Alarm, canaries: int) -> None:
        out = self._opened.layout.out
        self.problem = (
            f"The judge has drifted: over the last {canaries} known rows its mean loss is {alarm.mean:.3f}, and the "
            f"band allows {alarm.band:.3f}. No further row was begun. Rows finished from {_time(alarm.since)} to "
            f"{_time(alarm.until)} are suspect; {self._opened.layout.canary} has the answers. The same command asks "
            f"{ROUND} canaries first, and goes on where they are within the band. `scorer retry {out} --suspect` "
            "scores the suspect rows again once the judge is itself; `scorer run RUN.toml --accept-drift` takes it as "
            "it is now."
        )
        self._save()
        self._stop()

    # --- the state ----------------------------------------------------------------------------------------------------

    def _replayed(self, stored: list[dict[str, object]]) -> tuple[Drift | None, list[float]]:
        """The test as it stood at the end of the start before, from the answers of the latest stretch."""
        self._watched: list[int] = []
        self._round: dict[int, float | None] = {}
        latest = self._state.stretches[-1]
        drift = Drift(latest.band, latest.n) if latest.band is not None else None
        teaching: list[float] = []
        for one in stored:
            number, loss = one["canary"], one["loss"]
            assert isinstance(number, int)
            if number < latest.since or loss is None:
                continue
            assert isinstance(loss, float)
            times = [int(when.timestamp() * 1e6) for when in (one["asked_at"], one["finished_at"])]  # type: ignore[attr-defined]
            self._times[number] = (times[0], times[1])
            if drift is None:
                teaching.append(loss)
            elif number >= latest.watched:
                self._watched.append(number)
                drift.add(loss)
        return drift, teaching

    def _begin(self, band: float | None, why: str) -> None:
        """Begins a stretch with the next canary; a band of None is learned."""
        stretch = Stretch(self._number, self._n, band, self._number, why, self._canary.band)
        self._state = CanaryState((*self._state.stretches, stretch), self._state.alarms)
        self._watched = []
        self._save()

    def _ended(self, how: str) -> None:
        alarms = tuple(msgspec.structs.replace(one, ended=one.ended or how) for one in self._state.alarms)
        self._state = self._state.with_alarms(alarms)

    def _save(self) -> None:
        save_state(self._opened.files, self._opened.layout, self._state)

    async def work(self) -> None:
        """Writes the answers that came."""
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._files_written += 1
            gathered.sort(key=lambda one: one["canary"])  # type: ignore[arg-type, return-value]
            opened, number = self._opened, self._files_written
            stamp = int(opened.wall_s()) * 1000 + number
            await opened.offload(save_answers, opened.files, opened.layout, gathered, stamp)

    def check(self) -> None:
        """Raises Drifted where the judge has left its band."""
        if self.problem is not None:
            raise Drifted(self.problem)


class _Sorted:
    """A store that hands canaries on."""

    def __init__(self, store: Store, take: Callable[[Result], None]) -> None:
        self._store, self._take = store, take

    def add(self, result: Result) -> None:
        if result.row.shard.startswith(SHARD):
            self._take(result)
        else:
            self._store.add(result)

    async def room(self) -> None:
        await self._store.room()


def _time(us: int) -> str:
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
