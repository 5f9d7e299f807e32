"""Leases the rate limits of one endpoint to workers in slices of about 100 ms.

Each lease is taken from a bucket first, so that all workers together send no more in any window than one process may.
The bucket is smaller than that of one process, because a lease may be used late. Unused amounts come back with the next
message, up to the bucket's size. Those of a dead worker do not, and count as spent. First come, first served: a worker
that finds too little gets a time to come again, and keeps its place in the queue. Requests are a bucket here too: a
sliding log cannot take requests back. Knows a worker only by its number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping

from msgspec import structs

from scorer.frozen import dataclass
from scorer.limits import RateLimits
from scorer.limits.cooldown import Cooldown
from scorer.limits.rate_limits import TokenBucket
from scorer.workers.messages import Amounts, GaugeObservation, Grant, Pace

LEASE_S = 0.1
REQUEST_BURST_S = 0.25
"""The window of the request gate of one process."""
LATE_S = 0.25
"""A worker that comes so much later than its time has lost its place."""
SOONEST_S = 0.002
REMEMBERED_S = 120.0


def lease_s(rates: RateLimits) -> float:
    """How long a lease of these rates may be used: 100 ms, or half of a shorter burst."""
    return min(LEASE_S, rates.burst_s / 2)


class _Rate:
    """One bucket, and the amount that was leased at each time of the last two minutes."""

    def __init__(self, per_minute: float, burst_s: float, clock: Callable[[], float]) -> None:
        self.bucket = TokenBucket(per_minute, burst_s, clock)
        self._clock = clock
        self._net = 0.0
        self._times: deque[float] = deque([clock()])
        self._nets: deque[float] = deque([0.0])

    @property
    def per_second(self) -> float:
        return self.bucket.per_minute / 60

    def take(self, amount: float) -> None:
        self.bucket.take(amount)
        self._note(amount)

    def give(self, amount: float) -> None:
        self.bucket.give(amount)
        self._note(-amount)

    def _note(self, amount: float) -> None:
        now = self._clock()
        self._net += amount
        self._times.append(now)
        self._nets.append(self._net)
        while self._times[1] < now - REMEMBERED_S:
            self._times.popleft()
            self._nets.popleft()

    def taken_since(self, when: float) -> float:
        """The amount that was taken since `when` and not given back."""
        return self._net - self._nets[max(0, bisect_right(self._times, when) - 1)]

    def see(self, seen: GaugeObservation, lease_s: float) -> None:
        """Takes over a lower limit from the headers, and never assumes more left than they say."""
        bucket = self.bucket
        bucket.lower_to(seen.limit, self._clock() - seen.ago_s)
        if seen.remaining is not None:
            # A lease from shortly before that request may have been used after it.
            since = self.taken_since(self._clock() - seen.ago_s - lease_s)
            bucket.correct(seen.remaining, seen.ago_s, since)


@dataclass(slots=True)
class _Waiting:
    worker: int
    wanted: Amounts
    due: float


class Endpoint:
    """The rate limits and the 429 pause of one endpoint, shared by all workers."""

    def __init__(self, rates: RateLimits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lease_s = lease_s(rates)
        self._rates: dict[str, _Rate] = {}
        for name, per_minute in rates.declared.items():
            burst_s = REQUEST_BURST_S if name == "requests" else rates.burst_s
            self._rates[name] = _Rate(per_minute, burst_s - self._lease_s, clock)
        self._line: dict[int, _Waiting] = {}
        """The queue, by worker, the first one first."""
        self._wanted: dict[str, float] = {}
        """The sums of what the whole queue wants."""
        self._cooldown = Cooldown()
        self._taught: dict[int, tuple[int, int]] = {}
        self._most_taught = (0, 0)

    @property
    def tokens_per_minute(self) -> float | None:
        """What may be taken a minute now, prompt and output together; None where no limit counts them so."""
        return self._rates["tokens"].bucket.per_minute if "tokens" in self._rates else None

    def exchange(self, worker: int, pace: Pace) -> Grant:
        """Takes back what is unused, takes in the worker's observations, and leases again."""
        if self._taught.get(worker) != (pace.hidden, pace.output):
            self._taught[worker] = (pace.hidden, pace.output)
            self._look_at_taught()
        grant = self._exchange(worker, pace)
        hidden, output = self._most_taught
        return structs.replace(grant, hidden=hidden, output=output) if hidden or output else grant

    def _exchange(self, worker: int, pace: Pace) -> Grant:
        for name, rate in self._rates.items():
            if unused := pace.unused.get(name, 0.0):
                rate.give(unused)
        for seen in pace.observations:
            if seen.name in self._rates:
                self._rates[seen.name].see(seen, self._lease_s)
        for throttle in pace.throttles:
            sent_at = self._clock() - throttle.ago_s
            self._cooldown.throttled(sent_at, self._clock(), throttle.retry_after_s, quota=throttle.quota)
        if pace.answered:
            self._cooldown.answered(self._clock())
            for name in self._rates.keys() - {seen.name for seen in pace.observations}:
                self._rates[name].bucket.expire_lowered()
        now = self._clock()
        if (pause := self._cooldown.until - now) > 0:
            return Grant(pause_s=pause)
        if not self._rates or not (pace.wish or pace.least):
            self.forget(worker)
            return Grant()
        return self._lease(worker, pace.least, pace.wish)

    def forget(self, worker: int) -> None:
        """Removes a worker from the queue."""
        if (place := self._line.pop(worker, None)) is not None:
            self._count(place.wanted, -1)

    def _count(self, wanted: Mapping[str, float], sign: int) -> None:
        """Keeps the sums of what the whole queue wants."""
        for name, amount in wanted.items():
            self._wanted[name] = self._wanted.get(name, 0.0) + sign * amount if self._line else 0.0

    def gone(self, worker: int) -> None:
        """Removes a worker that is dead or ended: its bills no longer count for what is learned."""
        self.forget(worker)
        self._taught.pop(worker, None)
        self._look_at_taught()

    def _look_at_taught(self) -> None:
        self._most_taught = (
            max((hidden for hidden, _ in self._taught.values()), default=0),
            max((output for _, output in self._taught.values()), default=0),
        )

    def _lease(self, worker: int, least: Mapping[str, float], wish: Mapping[str, float]) -> Grant:
        now = self._clock()
        while self._line and (first := next(iter(self._line.values()))).due + LATE_S < now:
            self.forget(first.worker)
        wanted = {
            name: max(least.get(name, 0.0), min(wish.get(name, 0.0), rate.per_second * self._lease_s / 2))
            for name, rate in self._rates.items()
        }
        if "requests" in wanted:
            wanted["requests"] = max(1.0, float(int(wanted["requests"])))
        # The amounts of those ahead stay in the bucket; a worker that finds more than that need not wait for them.
        before = self._before(worker)
        wait = 0.0
        for name, rate in self._rates.items():
            wait = max(wait, rate.bucket.wait_s(wanted[name], before[name]))
        if wait > 0:
            if not least:  # no request waits in this worker: it takes no place in the queue
                return Grant(wait_s=wait)
            self._stand(worker, wanted, now + wait)
            return Grant(wait_s=max(wait, SOONEST_S))
        self.forget(worker)
        share = min(
            (
                max(0.0, self._rates[name].bucket.level - before[name]) / amount
                for name, amount in wish.items()
                if amount > 0
            ),
            default=0.0,
        )
        given = {name: max(wanted[name], wish.get(name, 0.0) * min(1.0, share)) for name in self._rates}
        if "requests" in given:
            given["requests"] = float(int(given["requests"]))
        for name, amount in given.items():
            self._rates[name].take(amount)
        return Grant(amounts=given)

    def _before(self, worker: int) -> dict[str, float]:
        """What those ahead of a worker want; the whole queue where it does not stand in it."""
        if worker not in self._line:
            return {name: self._wanted.get(name, 0.0) for name in self._rates}
        before = dict.fromkeys(self._rates, 0.0)
        for place in self._line.values():
            if place.worker == worker:
                break
            for name in before:
                before[name] += place.wanted.get(name, 0.0)
        return before

    def _stand(self, worker: int, wanted: Amounts, due: float) -> None:
        if (place := self._line.get(worker)) is None:
            self._line[worker] = _Waiting(worker, wanted, due)
        else:
            self._count(place.wanted, -1)
            place.wanted, place.due = wanted, due
        self._count(wanted, 1)
