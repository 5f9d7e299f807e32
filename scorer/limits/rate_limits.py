"""Rate limits a minute: what is declared, the request gate and the token bucket. On the loop's clock, without polling.

A server's own window is unknown (a bucket of a second or a minute, a sliding minute), so a pace must hold in any of
them. `MARGIN` and 0.3 s worth of burst together never exceed a sliding minute: 0.995 x 60 s + 0.3 s = 60 s worth.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

from asyncio_throttle import Throttler  # type: ignore[attr-defined]

from scorer.frozen import dataclass

MARGIN = 0.995
SHORTEST_S = 0.001
"""The shortest wait for tokens. uvloop rounds timers to milliseconds: one of less than half of that comes at once, and
the bucket would be asked all the time. It fills meanwhile, so nothing is lost."""
BELIEVED_S = 60.0
"""A lowered limit that no header has confirmed for this long ends at the next answer that does not state it."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The declared limits of one endpoint. None: no such limit.

    `burst_s` is how many seconds' worth of tokens a bucket holds. `concurrency` is requests in flight; None: it is
    adapted, up to `most`.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    burst_s: float = 0.3
    concurrency: int | None = 64
    most: int = 1024

    @property
    def declared(self) -> dict[str, float]:
        """The declared limits a minute by the names of gauges, `requests` last."""
        limits = {
            "tokens": self.tokens_per_minute,
            "input_tokens": self.input_tokens_per_minute,
            "output_tokens": self.output_tokens_per_minute,
            "requests": self.requests_per_minute,
        }
        return {name: limit for name, limit in limits.items() if limit}


class AdjustableLimit(ABC):
    """A limit a minute that headers may lower.

    `declared` is the run file's limit and `per_minute` the one that holds now. `given` is all that was taken so far.
    """

    _clock: Callable[[], float]
    declared: float
    per_minute: float
    given: float
    _confirmed_at = -math.inf

    @abstractmethod
    def _tune(self, per_minute: float) -> None:
        """Sets `per_minute`, and what follows from it."""

    @abstractmethod
    def wait_s(self, amount: float = 1.0) -> float:
        """Seconds until `amount` may be taken. 0: now. Infinite: unknown."""

    @abstractmethod
    def take(self, amount: float = 1.0) -> None:
        """Takes `amount`, for which `wait_s` was 0 just before."""

    def lower_to(self, limit: float | None, as_of: float) -> None:
        """Sets another limit, never above the declared one. None, or less than one a minute, is ignored.

        `as_of` is when the request was sent whose reply states the limit. An older statement than the last one is
        ignored. What was taken before still counts.
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


class TokenRate(AdjustableLimit):
    """A limit of tokens a minute: what was taken can be corrected once the reply is known."""

    @abstractmethod
    def give(self, amount: float) -> None:
        """Returns what was taken too much. Negative: takes what was taken too little."""

    @abstractmethod
    def correct(self, remaining: float, elapsed_s: float, since: float) -> None:
        """Takes over what the server had left, where that is less than what is left here.

        `remaining` is the server's figure when it admitted a request `elapsed_s` ago. `since` is what was taken here
        after that request. Others may use the same limit.
        """


class RequestGate(AdjustableLimit, Throttler):
    """Requests a minute: n requests in any n x 60 / rpm seconds.

    A window of n requests lasts 0.25 to 0.5 s, or is of one request below 240 a minute. So short a window leaves room
    for a late timer: a server's bucket of one second holds two windows. The sliding log is asyncio-throttle's, on the
    loop's clock (decision 29).
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
        """Seconds until the next place is free."""
        return self.wait_s()

    @retry_interval.setter
    def retry_interval(self, _: float) -> None:
        """Ignored: asyncio-throttle sets it once, and it is computed here."""

    def flush(self) -> None:
        """Forgets requests that are older than a window."""
        now = self._clock()
        while self._task_logs and now - self._task_logs[0] >= self.period:
            self._task_logs.popleft()

    def wait_s(self, amount: float = 1.0) -> float:
        """Seconds until one request may pass."""
        self.flush()
        if len(self._task_logs) < self.rate_limit:
            return 0.0
        oldest: float = self._task_logs[len(self._task_logs) - self.rate_limit]
        wait: float = oldest + self.period - self._clock()
        return max(0.0, wait)

    async def acquire(self) -> None:
        """Waits for a place and takes it. At most one caller may wait."""
        while self.wait_s() > 0:  # noqa: ASYNC110 - it sleeps the exact time; no event tells of time
            await asyncio.sleep(self.retry_interval)
        self.take()

    def take(self, amount: float = 1.0) -> None:
        """Lets one request pass."""
        self._task_logs.append(self._clock())
        self.given += 1


class TokenBucket(TokenRate):
    """A token bucket that holds `burst_s` worth. A larger request waits for a full bucket and leaves it negative."""

    def __init__(self, per_minute: float, burst_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._burst_s = burst_s
        self.declared = per_minute
        self.given = 0.0
        self._tune(per_minute)
        self._level, self._at = self._capacity, clock()

    def expire_lowered(self) -> None:
        if self.per_minute < self.declared:
            self._refill()  # at the rate that held until now
            super().expire_lowered()

    def _tune(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._rate = per_minute * MARGIN / 60
        self._capacity = self._rate * self._burst_s

    def _refill(self) -> None:
        now = self._clock()
        level = self._level + (now - self._at) * self._rate
        if level > self._capacity:
            level = self._capacity
        elif level < -self.per_minute:  # whatever a bill or a header says, one request a minute finds out
            level = -self.per_minute
        self._level, self._at = level, now

    @property
    def level(self) -> float:
        """Tokens that may be taken now. Negative where more was taken than there was."""
        self._refill()
        return self._level

    def wait_s(self, amount: float = 1.0, ahead: float = 0.0) -> float:
        """Seconds until `amount` may be taken and `ahead` tokens are left for others: 0, or at least `SHORTEST_S`."""
        self._refill()
        lack = min(amount, self._capacity) + ahead - self._level
        return 0.0 if lack <= 1e-6 else max(SHORTEST_S, lack / self._rate)

    def take(self, amount: float = 1.0) -> None:
        self._level -= amount
        self.given += amount

    def give(self, amount: float) -> None:
        self._refill()
        self._level = min(self._capacity, self._level + amount)

    def correct(self, remaining: float, elapsed_s: float, since: float) -> None:
        self._refill()
        believed = remaining + self._rate * elapsed_s - since
        self._level = min(self._level, max(believed, -10 * self._rate))
