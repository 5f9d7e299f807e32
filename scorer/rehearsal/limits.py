"""Rate limits of the simulated judge, enforced exactly as declared. The caller passes the time.

`Bucket` and `Window` are the two usual ways to enforce a limit per minute. Their guarantees:

    Bucket   admitted in any t seconds <= max(capacity, largest request) + rate x t
    Window   admitted in any 60 seconds <= the limit, exactly
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal, Protocol

from scorer.frozen import dataclass
from scorer.rehearsal.config import RehearsalConfig

WINDOW_S = 60.0
_SLACK = 1e-6  # a millionth of a token: a client that waits exactly as long as asked must not fail on rounding


class Meter(Protocol):
    """One limit per minute."""

    per_minute: float

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` fits: 0 where it fits now, inf where it never will."""
        ...

    def take(self, amount: float, now: float) -> None: ...

    def gauge(self, now: float) -> tuple[float, float]:
        """What remains, and the seconds until nothing of what was taken counts any more."""
        ...


class Bucket:
    """Refills evenly at a sixtieth of the limit a second and holds `burst_s` worth of it (of requests at least one).

    A request larger than the bucket is admitted when the bucket is full, and takes it below zero, so that no request is
    refused for ever; one larger than a minute's limit is never admitted.
    """

    def __init__(self, per_minute: float, burst_s: float, now: float) -> None:
        self.per_minute = per_minute
        self.rate = per_minute / 60
        self.capacity = max(1.0, self.rate * burst_s)
        self.level = self.capacity
        self.updated = now

    def wait_s(self, amount: float, now: float) -> float:
        if amount > max(self.per_minute, self.capacity):
            return math.inf
        lack = min(amount, self.capacity) - self._refilled(now)
        return lack / self.rate if lack > _SLACK else 0.0

    def take(self, amount: float, now: float) -> None:
        self.level = self._refilled(now) - amount

    def gauge(self, now: float) -> tuple[float, float]:
        level = self._refilled(now)
        return level, (self.capacity - level) / self.rate

    def _refilled(self, now: float) -> float:
        self.level = min(self.capacity, self.level + (now - self.updated) * self.rate)
        self.updated = now
        return self.level


class Window:
    """Counts what was admitted in the last 60 seconds."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self.taken: deque[tuple[float, float]] = deque()
        self.used = 0.0

    def wait_s(self, amount: float, now: float) -> float:
        if amount > self.per_minute:
            return math.inf
        self._forget(now)
        excess = self.used + amount - self.per_minute
        if excess <= 0:
            return 0.0
        for at, old in self.taken:
            excess -= old
            if excess <= 0:
                return at + WINDOW_S - now
        return 0.0  # not reached: without what was taken everything up to the limit fits

    def take(self, amount: float, now: float) -> None:
        self.taken.append((now, amount))
        self.used += amount

    def gauge(self, now: float) -> tuple[float, float]:
        self._forget(now)
        return self.per_minute - self.used, self.taken[-1][0] + WINDOW_S - now if self.taken else 0.0

    def _forget(self, now: float) -> None:
        while self.taken and self.taken[0][0] + WINDOW_S <= now:
            self.used -= self.taken.popleft()[1]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which limit a request did not fit, and in how many seconds it would; inf for never."""

    what: Literal["requests", "tokens"]
    wait_s: float


class SimulatedLimits:
    """Requests and tokens a minute; a request passes both or takes from neither.

    `before` hands on what was taken under the limits that these replace.
    """

    def __init__(self, config: RehearsalConfig, now: float, before: SimulatedLimits | None = None) -> None:
        requests, tokens = (before.requests, before.tokens) if before else (None, None)
        self.requests: Meter | None = _meter(config, config.requests_per_minute, now, requests)
        self.tokens: Meter | None = _meter(config, config.tokens_per_minute, now, tokens)

    def admit(self, tokens: int, now: float) -> Refusal | None:
        """None where the request passes, which takes it from both limits."""
        wait_requests = self.requests.wait_s(1, now) if self.requests else 0.0
        wait_tokens = self.tokens.wait_s(tokens, now) if self.tokens else 0.0
        if wait_requests or wait_tokens:
            if wait_requests >= wait_tokens:
                return Refusal("requests", wait_requests)
            return Refusal("tokens", wait_tokens)
        if self.requests:
            self.requests.take(1, now)
        if self.tokens:
            self.tokens.take(tokens, now)
        return None

    def headers(self, now: float) -> dict[str, str]:
        """The rate headers as OpenAI names them; none for a limit that is not there."""
        headers = {}
        for what, meter in (("requests", self.requests), ("tokens", self.tokens)):
            if meter:
                remaining, reset_s = meter.gauge(now)
                headers[f"x-ratelimit-limit-{what}"] = f"{meter.per_minute:.0f}"
                headers[f"x-ratelimit-remaining-{what}"] = str(max(0, math.floor(remaining + _SLACK)))
                headers[f"x-ratelimit-reset-{what}"] = duration(reset_s)
        return headers


def duration(seconds: float) -> str:
    """Seconds as OpenAI writes them: 120ms, 1.5s, 2m3s.

    >>> duration(0.12), duration(1.5), duration(123), duration(59.9999)
    ('120ms', '1.5s', '2m3s', '1m0s')
    """
    milliseconds = max(0, math.ceil(round(seconds * 1000, 3)))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g}s"
    minutes, rest = divmod(math.ceil(milliseconds / 1000), 60)
    return f"{minutes}m{rest}s"


def _meter(config: RehearsalConfig, per_minute: float | None, now: float, before: Meter | None) -> Meter | None:
    if per_minute is None:
        return None
    if config.window == "sliding":
        window = Window(per_minute)
        if isinstance(before, Window):
            window.taken, window.used = before.taken, before.used
        return window
    bucket = Bucket(per_minute, config.burst_s, now)
    if isinstance(before, Bucket):
        bucket.level = min(bucket.capacity, before.gauge(now)[0])
    return bucket
