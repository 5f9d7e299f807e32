"""Snapshots of a running job every second, for the terminal and for `progress.json`, which `scorer status` reads.

Knows counters, no parts: it is handed a function that tells them.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from dataclasses import replace as replaced

import orjson

from scorer.escapes import printable_line
from scorer.files.files import Files, replace
from scorer.output.ledger import Totals
from scorer.types import Client, Completion, Offload, Request

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
    totals: Totals = field(default_factory=Totals)
    """The whole run's, across its starts."""
    places: int = 0
    """Requests that may be in flight now; 0 where nobody here knows."""
    to_publish: int = 0
    publish_problem: str | None = None
    copied: int = 0
    answered: bool = False
    """A request of the run was ever answered."""
    why: str | None = None
    """What the last failure said, while nothing is answered; what ended the run, where that is the judge's set-up."""
    notes: tuple[str, ...] = ()
    """Sentences for people, each to be told once."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One second of a run; `rows_before` were finished before it, rates are those of the last minute.

    `requests`, tokens and money are those of the whole run, across its starts. `use` is each limit's share that is
    used: a minute's in the last minute, places in flight now, a cap in all. `to_publish` shards are sealed and not
    known to be in the table; `publish_problem` is what it said last. Of `rows`, `copied` took over another's answer.
    `why` is what the last failure said while the judge does not answer; `answered`: it did once, in any start.
    """

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
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    use: dict[str, float] = field(default_factory=dict)
    to_publish: int = 0
    publish_problem: str | None = None
    copied: int = 0
    why: str | None = None
    answered: bool = False

    @property
    def finished(self) -> int:
        return self.rows_before + self.rows

    @property
    def eta_s(self) -> float | None:
        """Seconds to go at this pace; None while there is none."""
        left = self.rows_total - self.finished
        return left / self.rows_per_s if self.rows_per_s > 0 else None


class Progress:
    """Takes a snapshot a second; each goes to `progress.json` and to `watch`, its new notes to `say`."""

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
        limits: Mapping[str, float] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._files = files
        self._path = path
        self._rows_total = rows_total
        self._gauges = gauges
        self._wall_s = wall_s
        self._offload = offload
        self._watch = watch
        self._limits = limits or {}
        self._say = say
        self._said: set[str] = set()
        self._clock = asyncio.get_running_loop().time
        self._stopping = asyncio.Event()
        self._seen: deque[tuple[float, _Counts]] = deque([(self._clock(), replaced(_counts(gauges()), rows=0))])

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
        for note in gauges.notes:
            if note not in self._said:
                self._said.add(note)
                self._say(note)
        self._seen.append((now, _counts(gauges)))
        while len(self._seen) > 2 and self._seen[0][0] < now - WINDOW_S:
            self._seen.popleft()
        since, before = self._seen[0]
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
            rows_per_s=round((gauges.rows - before.rows) / span, 3),
            tokens_per_minute=round((gauges.tokens - before.tokens) / span * 60, 1),
            tokens_limit=gauges.tokens_limit,
            cost_usd=gauges.pico / 10**12,
            maybe_billed_usd=gauges.maybe_pico / 10**12,
            in_flight=gauges.in_flight,
            held_back_by=dict(gauges.held_back_by),
            outage_s=gauges.outage_s,
            requests=gauges.totals.requests,
            prompt_tokens=gauges.totals.prompt_tokens,
            completion_tokens=gauges.totals.completion_tokens,
            use=self._use(gauges, before, span),
            to_publish=gauges.to_publish,
            publish_problem=gauges.publish_problem,
            copied=gauges.copied,
            why=None if gauges.why is None else printable_line(gauges.why),
            answered=gauges.answered,
        )

    def _use(self, gauges: Gauges, before: _Counts, span_s: float) -> dict[str, float]:
        now, totals = _counts(gauges), gauges.totals
        per_minute = 60 / max(span_s, 1.0)  # however short the run is so far
        used = {
            "requests_per_minute": (now.requests - before.requests) * per_minute,
            "tokens_per_minute": (now.tokens - before.tokens) * per_minute,
            "input_tokens_per_minute": (now.prompt_tokens - before.prompt_tokens) * per_minute,
            "output_tokens_per_minute": (now.completion_tokens - before.completion_tokens) * per_minute,
            "max_tokens": totals.tokens,
            "max_usd": totals.money_pico / 10**12,
        }
        use = {name: round(used[name] / limit, 4) for name, limit in self._limits.items()}
        return {**use, **({"concurrency": round(gauges.in_flight / gauges.places, 4)} if gauges.places else {})}


class Timed:
    """A client that tells `answered` how long each request took: until its answer, waiting for limits not counted."""

    def __init__(self, client: Client, answered: Callable[[float], None]) -> None:
        self._client = client
        self._answered = answered

    async def complete(self, request: Request) -> Completion:
        completion = await self._client.complete(request)
        self._answered(completion.spent.answered_s)
        return completion


@dataclass(frozen=True, slots=True)
class _Counts:
    """What rates are made of: a live ledger's sums grow under their reader's eyes."""

    rows: int
    tokens: int
    requests: int
    prompt_tokens: int
    completion_tokens: int


def _counts(gauges: Gauges) -> _Counts:
    totals = gauges.totals
    return _Counts(gauges.rows, gauges.tokens, totals.requests, totals.prompt_tokens, totals.completion_tokens)
