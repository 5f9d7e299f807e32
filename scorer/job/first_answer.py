"""Ends a run whose judge has never answered, after `limits.first_answer_s`. After an answer, outages are waited out.

Knows the limiters' load, the ledger's totals and a clock; no transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from scorer.build.open_run import OpenRun
from scorer.errors import SetupError
from scorer.job.scoring import Scoring
from scorer.limits.load import LimiterStats
from scorer.output.status import last_progress


class FirstAnswer:
    """Watches for the first answer of a run; `answered` is True once there was one, in this start or an earlier one.

    `load` returns the load of the limiters; `billed` is True once a request has a known bill. `most_s` counts from the
    first request of this start, or from the end of a pause; 0 means no limit. A request that was sent within `most_s`
    keeps its whole `timeout_s`.
    """

    def __init__(
        self,
        most_s: float,
        load: Callable[[], LimiterStats],
        billed: Callable[[], bool],
        clock: Callable[[], float],
        *,
        answered: bool,
    ) -> None:
        self._most_s = most_s
        self._load = load
        self._billed = billed
        self._clock = clock
        self._answered = answered
        self._since: float | None = None
        self._why: str | None = None

    @property
    def answered(self) -> bool:
        self._answered = self._answered or self._load().met or self._billed()
        return self._answered

    def check(self) -> None:
        """Call it about every second. Raises SetupError where the first answer is overdue."""
        if self.answered or not self._most_s:
            return
        load, now = self._load(), self._clock()
        if load.paused:
            self._since = None
            return
        self._why = load.why or self._why
        if self._since is None:
            self._since = now if load.in_flight or self._why is not None else None
            return
        over_s = now - self._since - self._most_s
        if over_s < 0 or self._why is None or (load.oldest_s is not None and load.oldest_s >= over_s):
            return
        raise SetupError(
            f"No request of this run was answered within limits.first_answer_s = {self._most_s:g} s. The last failure: "
            f"{self._why.rstrip('. ')}. Check model.base_url and whether the judge runs; the same command resumes. "
            "limits.first_answer_s = 0 waits without a limit."
        )


def first_answer_of(opened: OpenRun, scoring: Scoring) -> FirstAnswer:
    """The watch of an open run. Whether it was answered stands in progress.json; before version 0.2.0 rows decide."""
    last = last_progress(opened.files, opened.layout)
    found = opened.store.found or any(opened.store.sealed(shard) for shard in opened.manifest.shards)
    spec = opened.plan.spec
    return FirstAnswer(
        0.0 if spec.batched else spec.limits.first_answer_s,
        lambda: scoring.load,
        lambda: scoring.totals.requests > 0,
        asyncio.get_running_loop().time,
        answered=bool(last.get("answered", found)),
    )
