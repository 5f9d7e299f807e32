"""Snapshots of a running job every second, for the terminal and for `progress.json`, which `scorer status` reads."""

from __future__ import annotations

import asyncio
import os
import platform
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import field

import msgspec
import orjson

from scorer.errors import ScorerError
from scorer.escapes import printable, printable_line
from scorer.files.files import Files, read, replace
from scorer.frozen import dataclass, values
from scorer.frozen import replace as changed
from scorer.limits.load import LimiterStats
from scorer.output.batches_out import BatchesOut
from scorer.output.ledger_totals import Totals
from scorer.output.limit_history import LimitHistory, Sample
from scorer.output.row_counts import Counts
from scorer.processes.event_loop import shielded
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Offload

PERIOD_S = 1.0
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class RunCounters:
    """The counters of a run now, each where it is counted: rows, money and tokens, limits.

    `counts` are of this start and `totals` of the whole run; both go on counting. `found` rows were finished before
    this start. `answered`: the judge answered once, in any start. `why` is the last failure's message, None while the
    judge answers. `limits` are the limits that hold now by their keys of the run file, all endpoints together. The
    others are as in Snapshot.
    """

    counts: Counts = field(default_factory=Counts)
    totals: Totals = field(default_factory=Totals)
    load: LimiterStats = field(default_factory=LimiterStats)
    found: int = 0
    answered: bool = False
    why: str | None = None
    to_publish: int = 0
    publish_problem: str | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    last_change: str | None = None
    last_change_at: float | None = None
    error: ScorerError | None = None
    batches: BatchesOut = BatchesOut()
    priced: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One second of a run, as `progress.json`, the terminal, the JSON log and Prometheus get it.

    `rows`, `scored`, `errors`, `tiers` and `copied` count since this start; `rows_before` were finished before it.
    `copied` rows took over another row's answer. `tiers` are rows by the service tier that their replies name.
    `requests`, tokens and money are those of the whole run, across its starts. `maybe_billed_requests` of the requests
    were possibly billed, with `maybe_billed_tokens`, which no other field counts. Rates are those of the last minute.
    `use` is the used share of each limit: of a limit a minute in the last minute, of `concurrency` now, of a cap in
    all. `to_publish` shards are sealed and not known to be in the table; `publish_problem` is the message of the last
    failure. `outage_s` is how long the judge has not answered, null while it does; `why` is the last failure's message
    meanwhile. `answered`: it answered once, in any start. `limits` are the limits that hold now by the same names as
    `use`. `latency_s` has quantiles (p50, p90, p99) of the latest replies' seconds. `paused`: a person paused the run.
    `last_change` is the last change to it while it goes on, a sentence, and `last_change_at` its time. `host` is the
    machine. `error` is what ended the run early, with its `exit_code`; both are null otherwise. `history` is
    `held_back_by` over the time of the run, all its starts, at most 120 samples. `batches` are the provider batches
    that are out: `out`, `rows`, `oldest_s`; null without any. Not `priced`, money lacks what a model without a known
    price costs.
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
    limits: dict[str, float] = field(default_factory=dict)
    requests_per_minute: float = 0.0
    latency_s: dict[str, float] = field(default_factory=dict)
    paused: bool = False
    last_change: str | None = None
    last_change_at: float | None = None
    host: str = ""
    error: str | None = None
    exit_code: int | None = None
    history: list[Sample] = field(default_factory=list)
    batches: dict[str, float | int | None] | None = None
    tiers: dict[str, int] = field(default_factory=dict)
    cached_tokens: int = 0
    maybe_billed_tokens: int = 0
    maybe_billed_requests: int = 0
    priced: bool = True

    @property
    def finished(self) -> int:
        """Finished rows, those of earlier starts included."""
        return self.rows_before + self.rows

    @property
    def eta_s(self) -> float | None:
        """Seconds to go at the present rate of rows; None while that is 0."""
        left = self.rows_total - self.finished
        return left / self.rows_per_s if self.rows_per_s > 0 else None


class Snapshots:
    """Makes a Snapshot from the counters, and remembers those of the last minute for the rates.

    `wall_s` returns the seconds since 1970. `say` gets each new note of the limiters, once. `history` is that of the
    run's earlier starts.
    """

    def __init__(
        self,
        counters: Callable[[], RunCounters],
        *,
        rows_total: int,
        wall_s: Callable[[], float],
        say: Callable[[str], None] = lambda _: None,
        history: Sequence[Sample] = (),
    ) -> None:
        self._history = LimitHistory(history)
        self._counters = counters
        self._rows_total = rows_total
        self._wall_s = wall_s
        self._say = say
        self._said: set[str] = set()
        self._clock = asyncio.get_running_loop().time
        self._seen: deque[tuple[float, int, Totals]] = deque([(self._clock(), 0, copy(counters().totals))])

    def take(self, state: str) -> Snapshot:
        """The snapshot of now; `state` is `running`, or how the run ended."""
        counters, now = self._counters(), self._clock()
        counts, totals, load = counters.counts, counters.totals, counters.load
        for note in load.notes:
            if note not in self._said:
                self._said.add(note)
                self._say(note)
        self._seen.append((now, counts.rows, copy(totals)))
        while len(self._seen) > 2 and self._seen[0][0] < now - WINDOW_S:
            self._seen.popleft()
        since, rows_then, then = self._seen[0]
        self._history.add(self._wall_s(), load.held_back_by)
        span_s = max(now - since, 1e-9)
        tokens = totals.known_tokens - then.known_tokens
        limits = {**counters.limits, **({"concurrency": load.places} if load.places else {})}
        return Snapshot(
            state=state,
            pid=os.getpid(),
            updated_at=self._wall_s(),
            rows_total=self._rows_total,
            rows_before=counters.found,
            rows=counts.rows,
            scored=counts.scored,
            errors=dict(counts.errors),
            rows_per_s=round((counts.rows - rows_then) / span_s, 3),
            tokens_per_minute=round(tokens / span_s * 60, 1),
            tokens_limit=load.tokens_per_minute,
            cost_usd=totals.pico / 10**12,
            maybe_billed_usd=totals.maybe_pico / 10**12,
            in_flight=load.in_flight,
            held_back_by=dict(load.held_back_by),
            outage_s=load.outage_s,
            requests=totals.requests + totals.maybe_requests,
            maybe_billed_requests=totals.maybe_requests,
            maybe_billed_tokens=totals.maybe_tokens,
            cached_tokens=totals.cached_tokens,
            prompt_tokens=totals.prompt_tokens,
            completion_tokens=totals.completion_tokens,
            use=_use(limits, totals, then, load.in_flight, span_s),
            to_publish=counters.to_publish,
            publish_problem=counters.publish_problem,
            copied=counts.copied,
            tiers=dict(sorted(counts.tiers.items())),
            why=None if counters.why is None else printable_line(counters.why),
            answered=counters.answered,
            limits=limits,
            requests_per_minute=round((totals.requests - then.requests) / span_s * 60, 1),
            latency_s=dict(load.latency_s),
            paused=load.paused,
            last_change=counters.last_change,
            last_change_at=counters.last_change_at,
            host=platform.node(),
            error=None if counters.error is None else printable(str(counters.error)),
            exit_code=None if counters.error is None else counters.error.exit_code,
            history=self._history.samples,
            batches=counters.batches.json(self._wall_s()) if counters.batches.out else None,
            priced=counters.priced,
        )


def snapshot_of(data: bytes) -> Snapshot | None:
    """The snapshot in the bytes of a `progress.json`, also of an earlier version; None where it is damaged."""
    try:
        return msgspec.json.decode(data, type=Snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def note_error(files: Files, path: str, error: ScorerError) -> None:
    """Adds to the last snapshot, in the file at `path`, an error that came after it. Raises StorageError."""
    try:
        last = snapshot_of(read(files, path))
    except FileNotFoundError:
        return
    if last is not None:
        known = changed(last, error=printable(str(error)), exit_code=error.exit_code)
        replace(files, path, orjson.dumps(values(known)))


class Progress(PeriodicService):
    """Takes a snapshot every second; each goes to the file at `path` and to `watch`."""

    rests_first = False

    def __init__(
        self,
        snapshots: Snapshots,
        files: Files,
        path: str,
        *,
        offload: Offload,
        watch: Callable[[Snapshot], None] | None,
    ) -> None:
        super().__init__(PERIOD_S)
        self._snapshots = snapshots
        self._files = files
        self._path = path
        self._offload = offload
        self._watch = watch

    async def work(self) -> None:
        await self.tell("running")

    async def tell(self, state: str) -> None:
        """Takes one snapshot, shows it and writes it. Raises StorageError where it cannot be written."""
        snapshot = self._snapshots.take(state)
        if self._watch is not None:
            self._watch(snapshot)
        # Shielded, so that a cancelled one is on the disk before the last one is written.
        await shielded(self._write(orjson.dumps(values(snapshot))))

    async def _write(self, data: bytes) -> None:
        await self._offload(replace, self._files, self._path, data)


def _use(limits: Mapping[str, float], now: Totals, then: Totals, in_flight: int, span_s: float) -> dict[str, float]:
    """The used share of each limit; `then` are the totals of `span_s` seconds ago."""
    per_minute = 60 / max(span_s, 1.0)  # however short the run is so far
    used = {
        "requests_per_minute": (now.requests - then.requests) * per_minute,
        "tokens_per_minute": (now.known_tokens - then.known_tokens) * per_minute,
        "input_tokens_per_minute": (now.prompt_tokens - then.prompt_tokens) * per_minute,
        "output_tokens_per_minute": (now.completion_tokens - then.completion_tokens) * per_minute,
        "max_tokens": now.tokens,
        "max_usd": now.money_pico / 10**12,
        "concurrency": in_flight,
    }
    return {name: round(used[name] / limit, 4) for name, limit in limits.items() if limit}
