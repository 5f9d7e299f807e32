"""How a run goes on, second by second: for the terminal, and for `progress.json`, which `scorer status` reads.

Knows counters, no parts: it is handed a function that tells them.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import orjson

from scorer.files import Files, replace
from scorer.schema import Offload

PERIOD_S = 1.0
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Gauges:
    """What a run has done since it started, told once a second; `found` rows had a result before."""

    rows: int = 0
    found: int = 0
    scored: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0
    tokens_limit: float | None = None
    pico: int = 0
    maybe_pico: int = 0
    in_flight: int = 0
    held_back_by: Mapping[str, float] = field(default_factory=dict)
    outage_s: float | None = None
    """Seconds that the endpoint has been failing for everyone; None while it answers."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One second of a run; `rows_before` were finished before it, rates are those of the last minute."""

    state: str
    pid: int
    updated_at: float
    rows_total: int
    rows_before: int
    rows: int
    scored: int
    errors: dict[str, int]
    rows_per_s: float
    tokens_per_minute: float
    tokens_limit: float | None
    cost_usd: float
    maybe_billed_usd: float
    in_flight: int
    held_back_by: dict[str, float]
    outage_s: float | None

    @property
    def finished(self) -> int:
        return self.rows_before + self.rows

    @property
    def eta_s(self) -> float | None:
        """Seconds to go at this pace; None while there is none."""
        left = self.rows_total - self.finished
        return left / self.rows_per_s if self.rows_per_s > 0 else None


class Progress:
    """Takes a snapshot a second; each goes to `progress.json` and to `watch`."""

    def __init__(
        self,
        files: Files,
        path: str,
        *,
        rows_total: int,
        gauges: Callable[[], Gauges],
        wall_s: Callable[[], float],
        offload: Offload,
        watch: Callable[[Snapshot], None] | None,
    ) -> None:
        self._files = files
        self._path = path
        self._rows_total = rows_total
        self._gauges = gauges
        self._wall_s = wall_s
        self._offload = offload
        self._watch = watch
        self._clock = asyncio.get_running_loop().time
        self._stopping = asyncio.Event()
        self._seen: deque[tuple[float, int, int]] = deque([(self._clock(), 0, gauges().tokens)])

    async def serve(self) -> None:
        """Snapshots, until `stop`."""
        while not self._stopping.is_set():
            await self.tell("running")
            with suppress(TimeoutError):
                async with asyncio.timeout(PERIOD_S):
                    await self._stopping.wait()

    def stop(self) -> None:
        """Lets `serve` return once what it is writing is written."""
        self._stopping.set()

    async def tell(self, state: str) -> None:
        """One snapshot, written and shown."""
        snapshot = self._snapshot(state)
        if self._watch is not None:
            self._watch(snapshot)
        await self._offload(replace, self._files, self._path, orjson.dumps(asdict(snapshot)))

    def _snapshot(self, state: str) -> Snapshot:
        gauges, now = self._gauges(), self._clock()
        self._seen.append((now, gauges.rows, gauges.tokens))
        while len(self._seen) > 2 and self._seen[0][0] < now - WINDOW_S:
            self._seen.popleft()
        since, rows, tokens = self._seen[0]
        span = max(now - since, 1e-9)
        return Snapshot(
            state=state,
            pid=os.getpid(),
            updated_at=self._wall_s(),
            rows_total=self._rows_total,
            rows_before=gauges.found,
            rows=gauges.rows,
            scored=gauges.scored,
            errors=dict(gauges.errors),
            rows_per_s=round((gauges.rows - rows) / span, 3),
            tokens_per_minute=round((gauges.tokens - tokens) / span * 60, 1),
            tokens_limit=gauges.tokens_limit,
            cost_usd=gauges.pico / 10**12,
            maybe_billed_usd=gauges.maybe_pico / 10**12,
            in_flight=gauges.in_flight,
            held_back_by=dict(gauges.held_back_by),
            outage_s=gauges.outage_s,
        )
