"""Rate limits a minute: the request gate and the token bucket, on the loop's clock, without polling.

A server's own window is unknown (a bucket of a second or a minute, a sliding minute), so a pace must hold in any of
them. `MARGIN` and 0.3 s worth of burst together never exceed a sliding minute: 0.995 x 60 s + 0.3 s = 60 s worth.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from asyncio_throttle import Throttler  # type: ignore[attr-defined]

MARGIN = 0.995
BELIEVED_S = 60.0
"""A lower limit that no header has confirmed for so long ends at the next answer that does not state it."""


class AdjustableLimit(ABC):
    """A limit a minute that headers may lower: `declared` is the run file's, `per_minute` what holds now."""

    _clock: Callable[[], float]
    declared: float
    per_minute: float
    _confirmed_at = -math.inf

    @abstractmethod
    def _tune(self, per_minute: float) -> None: ...

    def lower_to(self, limit: float | None, as_of: float) -> None:
        """Another limit from now on, none above the declared one; None, or less than one a minute, says nothing.

        `as_of` is when the request was sent whose reply tells it: one that was sent before says nothing new. What went
        through counts on.
        """
        if limit is None or limit < 1 or as_of < self._confirmed_at:
            return
        self._confirmed_at = as_of
        if (per_minute := min(limit, self.declared)) != self.per_minute:
            self._tune(per_minute)

    def expire_lowered(self) -> None:
        """Restores the declared limit when no header has confirmed the lower one for 60 s."""
        if self.per_minute < self.declared and self._clock() - self._confirmed_at > BELIEVED_S:
            self._tune(self.declared)


class RequestGate(AdjustableLimit, Throttler):
    """Requests a minute: n whole requests in any n x 60 / rpm seconds, in windows of 0.25 to 0.5 s (of one below 240).

    As short as leaves room for a timer that is late: a server's bucket of a second then holds two windows' worth.
    asyncio-throttle's sliding log on the loop's clock. It polls, so its interval is made the very time until the next
    place is free, and only one waiter ever stands at it.
    """

    def __init__(self, per_minute: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self.declared = per_minute
        self.given = 0.0
        super().__init__(1, 1.0)
        self._tune(per_minute)

    def _tune(self, per_minute: float) -> None:
        self.per_minute = per_minute
        per_second = per_minute * MARGIN / 60
        self.rate_limit = math.ceil(per_second * 0.25)
        self.period = self.rate_limit / per_second
        if self.rate_limit > 1:  # a sliding minute holds whole windows
            self.period = max(self.period, 60 / (per_minute // self.rate_limit) * (1 + 1e-9))

    @property
    def retry_interval(self) -> float:
        return self.wait_s()

    @retry_interval.setter
    def retry_interval(self, _: float) -> None:
        """asyncio-throttle sets it once; the interval is computed here."""

    def flush(self) -> None:
        now = self._clock()
        while self._task_logs and now - self._task_logs[0] >= self.period:
            self._task_logs.popleft()

    def wait_s(self) -> float:
        """Seconds until a place is free; 0 for now."""
        self.flush()
        if len(self._task_logs) < self.rate_limit:
            return 0.0
        oldest: float = self._task_logs[len(self._task_logs) - self.rate_limit]
        wait: float = oldest + self.period - self._clock()
        return max(0.0, wait)

    async def acquire(self) -> None:
        while self.wait_s() > 0:  # noqa: ASYNC110 - it sleeps the exact time; no event tells of time
            await asyncio.sleep(self.retry_interval)
        self.take()

    def take(self) -> None:
        """Lets one through; there is a place, as `wait_s` said."""
        self._task_logs.append(self._clock())
        self.given += 1


class TokenBucket(AdjustableLimit):
    """A token bucket that holds `burst_s` worth; a larger request waits for a full one and takes it negative."""

    def __init__(self, per_minute: float, burst_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._burst_s = burst_s
        self.declared = per_minute
        self.given = 0.0
        self._tune(per_minute)
        self._level, self._at = self._capacity, clock()

    def expire_lowered(self) -> None:
        self._refill()
        super().expire_lowered()

    def _tune(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._rate = per_minute * MARGIN / 60
        self._capacity = self._rate * self._burst_s

    def _refill(self) -> None:
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._level = max(self._level, -self.per_minute)  # whatever was billed or told, one request a minute finds out
        self._at = now

    @property
    def level(self) -> float:
        """What may be taken now; below zero where more was taken than there was."""
        self._refill()
        return self._level

    def wait_s(self, amount: float) -> float:
        """Seconds until `amount` may be taken; 0 for now."""
        return self.wait_behind_s(amount, 0.0)

    def wait_behind_s(self, amount: float, ahead: float) -> float:
        """The same where `ahead` has to be left for others."""
        self._refill()
        lack = min(amount, self._capacity) + ahead - self._level
        return 0.0 if lack <= 1e-6 else lack / self._rate

    def take(self, amount: float) -> None:
        self._level -= amount
        self.given += amount

    def give(self, amount: float) -> None:
        """Puts back what was taken too much; negative where it was too little."""
        self._refill()
        self._level = min(self._capacity, self._level + amount)

    def correct(self, remaining: float, elapsed_s: float, since: float) -> None:
        """Never believes in more than the server does.

        `remaining` is what the server had left when it admitted a request `elapsed_s` ago; `since` is what was taken
        here after that request. Others may use the same limit: then the server has less than this bucket thinks.
        """
        self._refill()
        believed = remaining + self._rate * elapsed_s - since
        self._level = min(self._level, max(believed, -10 * self._rate))


class RunningQuantile:
    """A high quantile of the last 512 values; None before the first 16."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._last: deque[float] = deque(maxlen=512)
        self._seen = 0
        self.value: float | None = None

    def add(self, value: float) -> None:
        self._last.append(value)
        self._seen += 1
        if self._seen >= 16 and (self._seen % 32 == 0 or self.value is None):
            ordered = sorted(self._last)
            self.value = ordered[min(len(ordered) - 1, int(self._share * len(ordered)))]


ODD = 32.0


class TokenEstimateCorrection:
    """The server's prompt tokens over our estimate: a ratio of running sums with a horizon of 256 replies.

    A reply that tells `ODD` times as many as expected counts for so many, unless the one before it was odd too: one
    nonsense bill holds nobody back, and a prompt that a gateway adds is learned from the second reply on.
    """

    def __init__(self) -> None:
        self.value = 1.0
        self._told = self._guessed = 0.0
        self._odd = False

    def add(self, told: float, guessed: float) -> None:
        if guessed > 0 and told > 0:
            most = ODD * self.value * guessed
            odd, self._odd = self._odd, told > most
            if not odd:
                told = min(told, most)
            keep = 1 - 1 / 256
            self._told = self._told * keep + told
            self._guessed = self._guessed * keep + guessed
            self.value = self._told / self._guessed


FEWEST_SUMS = 8
SAME = 2.0
"""Tokens by which a sum varies that is always the same: servers round what remains."""


class TokenChargeModel:
    """Whether a provider charges prompt + max output without refund, or the usage: learned from how `remaining` falls.

    Two requests sent right after one another, while the server's bucket is not full to the brim, differ in `remaining`
    by what the second was charged, less the refill between them. Each such pair votes for the nearer rule. The former
    is the safe one: the latter takes twelve votes and four fifths of all, and is given up below two thirds. A pace held
    back by the former keeps a bucket that charges the latter full, where no pair tells; but `limit - remaining` below
    prompt + max output proves a refund.

    A bucket may hold less than the limit, a second's worth, say. After each request that met it full, `remaining` and
    what was charged add up to all that it holds: where requests differ, only the right rule's sum does not vary. What
    is charged for requests that all take the same, and never follow close upon one another, nobody can tell.
    """

    def __init__(self) -> None:
        self.refunds = False
        self._votes = [0, 0]
        self._seen: list[ChargeObservation] = []
        self._brim = 0.0

    def watch(self, seen: ChargeObservation, rate: float) -> None:
        """One reply; `rate` is the limit in tokens a second, as the server has it."""
        self._brim = max(self._brim, seen.remaining)
        gap = seen.reserve - seen.usage
        if seen.limit is not None and gap >= 2 and abs(seen.limit - seen.remaining - seen.usage) < gap / 2:
            self._votes[True] += 1
        self._seen.append(seen)
        if len(self._seen) < 24:
            return
        self._seen.sort(key=lambda s: s.mark)
        met_full: list[ChargeObservation] = []
        for before, after in zip(self._seen, self._seen[1:], strict=False):
            if abs(after.mark - after.taken - before.mark) < 1e-6:  # nothing of ours lies between
                refill = rate * (after.sent_at - before.sent_at)
                if before.remaining + refill > self._brim * 0.98:
                    met_full.append(after)
                else:
                    self._vote(before, after, refill)
        self._vote_by_sums(met_full)
        self._seen.clear()
        by_reserve, by_usage = self._votes
        if by_usage >= 12 and by_usage >= 4 * by_reserve:
            self.refunds = True
        elif 2 * by_reserve > by_usage and by_reserve + by_usage >= 6:
            self.refunds = False
        if sum(self._votes) > 200:  # a provider may change its rule
            self._votes = [votes // 2 for votes in self._votes]

    def _vote(self, before: ChargeObservation, after: ChargeObservation, refill: float) -> None:
        gap = after.reserve - after.usage
        if gap < 2:
            return
        fall = before.remaining - after.remaining + refill
        off_reserve, off_usage = abs(fall - after.reserve), abs(fall - after.usage)
        if min(off_reserve, off_usage) < gap / 2:  # else somebody else's request lies between
            self._votes[off_usage < off_reserve] += 1

    def _vote_by_sums(self, met_full: list[ChargeObservation]) -> None:
        if len(met_full) < FEWEST_SUMS:
            return
        by_reserve, by_usage = (
            max(sums) - min(sums)
            for sums in ([s.remaining + s.reserve for s in met_full], [s.remaining + s.usage for s in met_full])
        )
        if min(by_reserve, by_usage) <= SAME and max(by_reserve, by_usage) >= 3 * SAME:
            self._votes[by_usage < by_reserve] += 3


@dataclass(frozen=True, slots=True)
class ChargeObservation:
    """What one reply shows of how its request was charged.

    `mark` is all that was taken here up to and with its request, `taken` by it alone; `reserve` and `usage` are what
    either rule would charge. `limit` is the server's, None where it does not say.
    """

    mark: float
    taken: float
    remaining: float
    reserve: float
    usage: float
    sent_at: float
    limit: float | None = None
