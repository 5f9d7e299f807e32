"""Mixes known rows into a run, and ends it where the judge's agreement with them leaves its band.

The rows are drawn with replacement and a seed, so that the expected loss of each is the judge's mean loss over all of
them, whatever was drawn before (mixing.py); the losses are watched in the order in which the canaries were asked,
because quick answers are no random sample. Their answers go to OUT/canary, numbered in that order.
analysis/sequential/drift.py has the test.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from scorer.analysis.sequential.drift import upper_bound
from scorer.analysis.sequential.drift_watch import DriftWatch, FoundDrift
from scorer.build.open_run import OpenRun
from scorer.canaries.known_rows import CanaryPool
from scorer.canaries.mixing import CanaryRows, patience_s
from scorer.config.spec import Canary
from scorer.engine.engine import RunContext, StopFlag
from scorer.errors import Drifted
from scorer.output.canary_files import (
    Alarm,
    AnswerWriter,
    CanaryAnswer,
    CanaryState,
    Stretch,
    load_answers,
    load_state,
    merge_answers,
    save_state,
)
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Row

Losses = tuple[float | None, float | None]
"""The loss of a canary and its signed error; None where its answer has none."""
LEARNED = 100
"""Canaries that teach the band where the run file gives none."""
LEARNED_LEVEL = 0.05
ROUND = 100
"""Canaries that are asked before any row, where the start before ended with an alarm."""
WRITTEN_S = 5.0
_SAID = {"loss": "scores are off", "up": "scores are too high", "down": "scores are too low"}


class Canaries(PeriodicService):
    """The canaries of one start. `stop` is called where the judge has drifted: no further row is to be begun.

    `seed` is that of the canaries which other processes draw for this start.
    """

    def __init__(
        self,
        opened: OpenRun,
        canary: Canary,
        known: CanaryPool,
        drain: StopFlag,
        stop: Callable[[], None],
        *,
        accept: bool = False,
    ) -> None:
        super().__init__(period_s=min(WRITTEN_S, opened.plan.spec.output.flush_s))
        self._opened, self._canary, self.pool = opened, canary, known
        self.share = canary.share
        self._drain, self._stop = drain, stop
        self._state = load_state(opened.files, opened.layout)
        stored = load_answers(opened.files, opened.layout)
        self.draws = frozenset(stored.column("draw").to_pylist())
        """Names of the canaries of batches that are answered."""
        self._number = 1 + max(stored.column("canary").to_pylist(), default=-1)
        self.seed = f"{opened.manifest.id} {self._number}"
        self._rows = CanaryRows(
            known,
            canary.share,
            self.seed,
            lambda answer, _ago_s: self.take(answer),
            clock=asyncio.get_running_loop().time,
            patience_s=patience_s(opened.plan.spec),
        )
        self._n = max(1, math.ceil(canary.share * opened.manifest.rows))
        self._times: dict[int, tuple[int, int]] = {}
        self._round: list[Losses] = []  # the answers of the round that is asked after an alarm
        self._gathered: list[tuple[int, CanaryAnswer]] = []
        self._files = AnswerWriter(opened.files, opened.layout)
        self._files_written = 0
        self._writing = asyncio.Lock()
        self._unsaved = False
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
        self._extend()  # by what was in flight when the start before ended
        self._drift: DriftWatch | None = None
        self._teaching: list[float] = []
        self._replay(stored.select(["canary", "loss", "score", "known", "asked_at", "finished_at"]).to_pylist())
        save_state(opened.files, opened.layout, self._state)
        self.doubted = self._state.standing is not None
        """The judge had drifted: a round of canaries is asked before any row."""

    # --- canaries out -------------------------------------------------------------------------------------------------

    async def mixed(self, batches: AsyncIterator[list[Row]]) -> AsyncGenerator[list[Row]]:
        """The rows with canaries among them; after an alarm a round of canaries first, which must be in the band."""
        async with aclosing(batches):  # type: ignore[type-var]
            if self.doubted:
                yield [self._rows.draw() for _ in range(ROUND)]
                if not await self._recovered():
                    return
            async for batch in self._rows.mixed(batches):
                yield batch

    async def _recovered(self) -> bool:
        """Whether the mean loss of the round is within the band. False also where the run is drained meanwhile."""
        while self._rows.waiting and not self._drain.asked:
            self._came.clear()
            with suppress(TimeoutError):  # looks whether the run drains
                await asyncio.wait_for(self._came.wait(), 0.5)
        standing = self._state.standing
        if self._drain.asked or standing is None:
            return False
        losses = [loss for loss, _ in self._round if loss is not None]
        errors = [error for _, error in self._round if error is not None]
        mean = float(np.mean(losses)) if losses else 1.0
        watch = DriftWatch(self._band, self._n, self._canary.shift)
        if not watch.within(losses, errors):
            of = errors if standing.kind != "loss" else losses
            self._drifted(msgspec.structs.replace(standing, mean=float(np.mean(of)) if of else 1.0), len(of))
            return False
        self._ended("recovered")
        self._begin(self._band, "recovered")
        self._drift, self.doubted = watch, False
        self._opened.say(
            f"Canaries: the mean loss of {len(losses)} known rows is {mean:.3f}, within the band of "
            f"{self._band:.3f}. The run goes on. Rows that were finished meanwhile stay suspect until "
            "`scorer retry --suspect`."
        )
        return True

    # --- answers in ---------------------------------------------------------------------------------------------------

    def around(self, parts: RunContext) -> RunContext:
        """The parts of a run for rows with canaries among them, whose results come here."""
        return self._rows.around(parts)

    def take(self, answer: CanaryAnswer) -> None:
        """Takes the next answer in the order in which canaries were asked."""
        number, self._number = self._number, self._number + 1
        self._times[number] = (answer.asked_at, answer.finished_at)
        self._gathered.append((number, answer))
        error = None if answer.score is None else (answer.score - answer.known) / self.pool.width
        if self.doubted:
            self._round.append((answer.loss, error))
        else:
            self._watch(number, answer.loss, error)
        self._came.set()

    def _watch(self, number: int, loss: float | None, error: float | None) -> None:
        if loss is None or self.problem is not None:
            return
        if self._drift is None:
            self._teaching.append(loss)
            if len(self._teaching) >= LEARNED:
                self._learn(number)
        elif (found := self._drift.add(number, loss, error)) is not None:
            self._alarm(number, found)

    def _alarm(self, number: int, found: FoundDrift) -> None:
        self._drifted(self._note(number, found), found.canaries)

    def _note(self, number: int, found: FoundDrift) -> Alarm:
        until = max(finished for _, finished in self._times.values())
        since = min(asked for canary, (asked, _) in self._times.items() if canary >= found.first)
        alarm = Alarm(number, found.mean, found.bound, since, until, found.kind)
        self._state = self._state.with_alarms((*self._state.alarms, alarm))
        return alarm

    def _learn(self, number: int) -> None:
        band = min(0.95, upper_bound(np.array(self._teaching), LEARNED_LEVEL))
        latest = self._state.stretches[-1]
        state = msgspec.structs.replace(latest, band=band, watched=number + 1)
        self._state = CanaryState((*self._state.stretches[:-1], state), self._state.alarms)
        self._drift = DriftWatch(band, latest.n, self._canary.shift)
        self._save()
        self._opened.say(
            f"Canaries: the mean loss of the first {len(self._teaching)} is {np.mean(self._teaching):.3f}. The band is "
            f"{band:.3f}, the upper end of its 95 % interval."
        )

    def _drifted(self, alarm: Alarm, canaries: int) -> None:
        self.problem = (
            f"The judge has drifted: over the last {canaries} known rows its {_SAID[alarm.kind]} by "
            f"{abs(alarm.mean):.3f} of the scale on average, and canary.{'band' if alarm.kind == 'loss' else 'shift'} "
            f"allows {alarm.band:.3f}. No further row was begun. "
        )
        self._save()
        self._stop()

    def check(self) -> None:
        """To be called once the run has ended. Raises Drifted where the judge has drifted."""
        if self.problem is None:
            return
        self._extend()
        alarm = self._state.standing
        assert alarm is not None
        out = self._opened.layout.out
        raise Drifted(
            f"{self.problem}Rows finished from {_time(alarm.since)} to {_time(alarm.until)} are suspect; "
            f"{self._opened.layout.canary} has the answers. The same command asks {ROUND} canaries first, and goes on "
            f"where they are within the band. `scorer retry {out} --suspect` scores the suspect rows again once the "
            "judge is itself; `scorer run RUN.toml --accept-drift` takes it as it is now."
        )

    def _extend(self) -> None:
        """Makes the rows suspect that were in flight at a standing alarm, and were finished by now."""
        standing = self._state.standing
        if standing is not None:
            now = msgspec.structs.replace(standing, until=max(standing.until, int(self._opened.wall_s() * 1e6)))
            self._state = self._state.with_alarms(tuple(now if a is standing else a for a in self._state.alarms))
            self._save()

    @property
    def _band(self) -> float:
        """The latest band; before the first one is learned there is no alarm that would ask for it."""
        return next(one.band for one in reversed(self._state.stretches) if one.band is not None)

    # --- the state ----------------------------------------------------------------------------------------------------

    def _replay(self, stored: list[dict[str, Any]]) -> None:
        """Brings the tests to where they stood, by the answers of the latest stretch; a kill may have cost an alarm."""
        latest = self._state.stretches[-1]
        self._drift = None if latest.band is None else DriftWatch(latest.band, latest.n, self._canary.shift)
        for one in stored:
            number, loss, score, known = one["canary"], one["loss"], one["score"], one["known"]
            if number < latest.since or loss is None:
                continue
            asked_at, finished_at = one["asked_at"], one["finished_at"]
            self._times[number] = int(asked_at.timestamp() * 1e6), int(finished_at.timestamp() * 1e6)
            if self._drift is None:
                self._teaching.append(loss)
            elif number >= latest.watched:
                error = None if score is None else (score - known) / self.pool.width
                if (found := self._drift.add(number, loss, error)) is not None and self._state.standing is None:
                    self._note(number, found)

    def _begin(self, band: float | None, why: str) -> None:
        """Begins a stretch with the next canary; a band of None is learned."""
        stretch = Stretch(self._number, self._n, band, self._number, why, self._canary.band)
        self._state = CanaryState((*self._state.stretches, stretch), self._state.alarms)
        self._save()

    def _ended(self, how: str) -> None:
        alarms = tuple(msgspec.structs.replace(one, ended=one.ended or how) for one in self._state.alarms)
        self._state = self._state.with_alarms(alarms)

    def _save(self) -> None:
        """Has the state written, after the answers that it was concluded from: a kill must not cost these alone."""
        self._unsaved = True
        self.wake()

    async def work(self) -> None:
        """Writes the answers that came, then what was concluded, and returns once both are durable."""
        async with self._writing:
            state, self._unsaved = self._state if self._unsaved else None, False
            if gathered := self._gathered[:]:
                self._files_written += 1
                stamp = int(self._opened.wall_s()) * 1000 + self._files_written
                await self._opened.offload(self._files.write, gathered, stamp)
                del self._gathered[: len(gathered)]
            if state is not None:
                await self._opened.offload(save_state, self._opened.files, self._opened.layout, state)

    async def close(self) -> None:
        """Writes what is left, and makes one file of many."""
        self._rows.flush()
        await self.work()
        await self._opened.offload(merge_answers, self._opened.files, self._opened.layout)


def _time(us: int) -> str:
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
