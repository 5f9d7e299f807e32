"""The broker: leases rows, rates and budget to workers. One synchronous object.

It takes reports and answers them. It opens no file and no socket, and starts nothing. Reports come through sockets from
processes of this machine (scorer/workers/subprocesses.py), and as method calls from actors of a cluster. The process
that owns the output folder has the broker (scorer/workers/coordinator.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field

import numpy as np

from scorer.errors import BudgetSpent
from scorer.frozen import dataclass, values
from scorer.limits import Demand, RateLimits
from scorer.limits.bills import KEPT
from scorer.limits.budget import BudgetCap
from scorer.limits.live_settings import LiveSettings
from scorer.limits.load import LimiterStats, largest, quantiles, why_of
from scorer.output.ledger_totals import Totals
from scorer.types import Work
from scorer.workers.endpoint_leases import EndpointLeases
from scorer.workers.messages import Answer, Failure, Order, Pace, Published, Report, Slice, Spendings
from scorer.workers.rate_leases import LEASE_S, lease_s
from scorer.workers.row_leases import RowLeases

CHUNK = 8
"""A worker that asks for budget gets at most 1 / CHUNK of what is left, so that few must give some back."""


@dataclass(slots=True)
class _Worker:
    """One worker: its last report of spending and of its endpoints, and the tokens and money that it may commit."""

    spendings: Spendings = field(default_factory=lambda: Spendings({}))
    totals: Totals = field(default_factory=Totals)
    tokens: int = 0
    pico: int = 0
    paces: Sequence[Pace] = ()

    @property
    def at_most(self) -> Totals:
        """What it reported, and what was in flight then or may have been since, as possibly billed."""
        totals, reported = self.totals + Totals(), self.spendings
        totals.suspect(
            max(reported.open_tokens, self.tokens - totals.tokens),
            max(reported.open_pico, self.pico - totals.money_pico),
            sum(pace.in_flight for pace in self.paces),
        )
        return totals


class _AllLedgers:
    """An `Account` over all workers. What a worker is allowed and has not spent counts as in flight.

    The sums follow each change of a worker: adding all workers up at each report takes the time of workers squared.
    """

    def __init__(self, before: Totals) -> None:
        self.totals = before + Totals()
        self.open_tokens = self.open_pico = 0
        self.workers: dict[int, _Worker] = {}

    @contextmanager
    def changing(self, number: int) -> Iterator[_Worker]:
        """A worker whose totals and allowance may be changed in the block."""
        worker = self.workers.setdefault(number, _Worker())
        self._add(worker, -1)
        try:
            yield worker
        finally:
            self._add(worker, 1)

    def _add(self, worker: _Worker, sign: int) -> None:
        self.totals.add(worker.totals, sign)
        self.open_tokens += sign * max(0, worker.tokens - worker.totals.tokens)
        self.open_pico += sign * max(0, worker.pico - worker.totals.money_pico)


class Broker:
    """Divides one run among workers. A worker has a number that is never used again.

    `rates` are the endpoints' declared limits in the order of the run file. `before` are the ledger's totals when the
    run was opened. `clock` is a monotonic clock in seconds. A worker calls `exchange` again within
    `broker_client.BEAT_S`, and at once where its last answer left it short. Its leases come back with its next call; a
    worker that is `lost` has spent them. Every method returns at once. None may be called while another runs.
    """

    def __init__(
        self,
        rates: Sequence[RateLimits],
        *,
        workers: int,
        before: Totals,
        max_tokens: int | None,
        max_usd: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.workers = workers
        self.rows = RowLeases(workers)
        self.lease_s = min([LEASE_S, *(lease_s(rate) for rate in rates if rate.declared)])
        self.order = Order.SCORE
        self.failure: Failure | None = None
        """The failure of the first worker that failed."""
        self.published: list[tuple[int, Published]] = []
        """Reported segments with the worker's number, until the coordinator adopts them."""
        self._fenced: set[int] = set()
        """Workers that were declared dead: their reports are ignored."""
        self.unread: dict[str, str] = {}
        """Why a shard cannot be read further, by its path. Its rows are left out."""
        self._ledgers = _AllLedgers(before)
        self._lacking: set[int] = set()
        """Workers whose next request does not fit into their allowance."""
        self._notes: dict[str, None] = {}
        self._why: str | None = None
        self._latencies: deque[float] = deque(maxlen=KEPT)
        self.settings = LiveSettings()
        """What was changed while the run goes on; `apply` sets it."""
        self._endpoints = EndpointLeases(rates, clock, self._slowest_s, workers)
        self._caps = BudgetCap(self._ledgers, max_tokens=max_tokens, max_usd=max_usd)

    # --- what a worker calls ------------------------------------------------------------------------------------------

    def exchange(self, worker: int, report: Report) -> Answer:
        """Takes a worker's report, and answers with what it may do until its next call.

        A worker that was declared `lost` is ordered to leave, and its report is ignored: others have its rows.
        """
        if worker in self._fenced:
            return Answer(order=Order.LEAVE)
        with self._ledgers.changing(worker) as known:
            known.spendings, known.totals = report.spendings, Totals(**report.spendings.totals)
            known.tokens, known.pico = report.spendings.keep_tokens, report.spendings.keep_pico
        self._lacks(worker, report.spendings.lacks_budget)
        before, known.paces = known.paces, report.paces
        self._notes.update(dict.fromkeys(note for pace in report.paces for note in pace.notes))
        self._latencies.extend(seconds for pace in report.paces for seconds in pace.latencies)
        for segment in report.published:
            self.rows.published(segment.path, segment.generation, np.frombuffer(segment.rows, dtype=np.int64))
            self.published.append((worker, segment))
        for path, why in report.unread.items():
            self.unread[path] = why
            self.rows.give_up(path)
        if report.failure is not None:
            self.failure = self.failure or report.failure
            self.order = max(self.order, Order.LEAVE)
        if report.ended:
            self._gone(worker)
            return Answer(order=self.order)
        tokens, pico, refused = self._allow(worker, known)
        leases = self._endpoints.exchange(worker, before, report.paces)
        return Answer(
            order=self.order,
            portions=self._portions(worker, report.wants),
            done=self.rows.done,
            grants=[grant for grant, _ in leases],
            tokens=tokens,
            pico=pico,
            recall=bool(self._lacking),
            refused=refused,
            paused=self.settings.paused,
            places=[places for _, places in leases],
        )

    def _slowest_s(self) -> float:
        """Seconds within which 99 % of the latest replies came."""
        return quantiles(self._latencies).get("p99", 0.0)

    def _portions(self, worker: int, wants: int) -> list[list[Slice]]:
        if self.order is not Order.SCORE:
            return []
        leased: list[list[Slice]] = []
        while len(leased) < wants and (portion := self.rows.portion(worker)):
            leased.append(portion)
        return leased

    def _lacks(self, worker: int, lacks: bool) -> None:
        """Notes whether a worker's next request does not fit into its allowance."""
        (self._lacking.add if lacks else self._lacking.discard)(worker)

    def _allow(self, worker: int, known: _Worker) -> tuple[int, int, str | None]:
        """Tokens and pico-dollars that this worker may commit in addition; or the text of BudgetSpent."""
        reported, ledgers, caps = known.spendings, self._ledgers, self._caps
        if worker not in self._lacking:
            return 0, 0, None
        # The part of its allowance that it has not committed serves the next request too.
        slack_tokens = max(0, known.tokens - known.totals.tokens - reported.open_tokens)
        slack_pico = max(0, known.pico - known.totals.money_pico - reported.open_pico)
        need = Demand(
            0,
            0,
            worst_tokens=max(0, reported.next_tokens - slack_tokens),
            worst_pico=max(0, reported.next_pico - slack_pico),
        )
        try:
            if not caps.fits(need):
                return 0, 0, None
        except BudgetSpent as error:
            return 0, 0, str(error)
        totals = ledgers.totals
        tokens, pico = need.worst_tokens, need.worst_pico
        if caps.max_tokens is not None:
            left = caps.max_tokens - totals.tokens - ledgers.open_tokens
            tokens = max(tokens, min(reported.wish_tokens, left // CHUNK))
        if caps.max_pico is not None:
            left = caps.max_pico - totals.money_pico - ledgers.open_pico
            pico = max(pico, min(reported.wish_pico, left // CHUNK))
        with ledgers.changing(worker):
            known.tokens += tokens
            known.pico += pico
        self._lacks(worker, False)
        return tokens, pico, None

    # --- what the owner calls -----------------------------------------------------------------------------------------

    def apply(self, settings: LiveSettings) -> None:
        """Changes the run: the caps at once, the rest with each worker's next answer.

        Raises SpecError for a higher cap after BudgetSpent, and changes nothing then.
        """
        self._caps.raise_to(max_tokens=settings.max_tokens, max_usd=settings.max_usd)
        self.settings = settings
        if settings.concurrency is not None:
            self._endpoints.keep_in_flight(settings.concurrency)

    def offer(self, work: Work, number: int) -> None:
        """Offers rows to score. Segments of their shard are numbered from `number` on."""
        self.rows.offer(work, number)

    def lost(self, worker: int, totals: Totals) -> None:
        """Declares a worker dead. `totals` are its ledger's, with requests in flight as possibly billed.

        Call `rows.published` before for segments that it wrote and did not report. Its other rows become free, and its
        leases count as spent. Where its ledger holds less than it reported, that was deleted: all that it was allowed
        counts as possibly billed.
        """
        with self._ledgers.changing(worker) as known:
            known.totals = totals if totals.covers(known.totals) else known.at_most
        self._fenced.add(worker)
        self._gone(worker)
        self.rows.lost([worker])

    def _gone(self, worker: int) -> None:
        self._lacks(worker, False)
        with self._ledgers.changing(worker) as known:
            known.paces = ()
            known.tokens, known.pico = known.totals.tokens, known.totals.money_pico
        known.spendings = Spendings(values(known.totals))
        self._endpoints.gone(worker)

    # --- how it stands ------------------------------------------------------------------------------------------------

    @property
    def totals(self) -> Totals:
        """The spending of the whole run, by the workers' last reports."""
        return self._ledgers.totals + Totals()

    @property
    def places(self) -> int:
        """How many requests all workers may have in flight, by their last reports. Any thread may ask."""
        return sum(pace.places for known in list(self._ledgers.workers.values()) for pace in known.paces)

    @property
    def load(self) -> LimiterStats:
        """The limiter statistics of all workers, by their last reports."""
        paces = [pace for known in self._ledgers.workers.values() for pace in known.paces]
        down = [pace.down_s for pace in paces if pace.down_s is not None]
        if paces:
            self._why = why_of([(pace.why, pace.in_flight) for pace in paces])
        return LimiterStats(
            tokens_per_minute=sum(rates.tokens_per_minute or 0.0 for rates in self._endpoints.rates) or None,
            in_flight=sum(pace.in_flight for pace in paces),
            places=self.places,
            held_back_by=largest([pace.waits for pace in paces]),
            outage_s=max(down) if down and len(down) == len(paces) else None,
            met=any(pace.met for pace in paces),
            oldest_s=max((pace.oldest_s for pace in paces if pace.oldest_s is not None), default=None),
            why=self._why,
            notes=tuple(self._notes),
            latency_s=quantiles(self._latencies),
            paused=self.settings.paused,
        )
