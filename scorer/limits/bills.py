"""Learns from replies how far an endpoint bills beyond what a request asks for, and its latencies.

A request's own bytes bound its prompt, and its output limit the reply, at a server that adds nothing and keeps the
limit. A gateway may add a prompt of its own; a server may ignore the limit, or think beside it. Such bills are learned,
and the reservations of later requests are raised by them, for as long as one of the last `KEPT` bills was such.

Under a cap only `OPENING` requests are in flight at first, until as many were answered with bills that were reserved:
a surprise costs no more than these. A bill beyond what is known makes an opening again. Knows no request and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from scorer.limits.types import Demand
from scorer.usage import (
    Usage,
)

OPENING = 4
KEPT = 512
MARGIN = 1.5
"""Replies that ignore their limit differ in length: so many times the longest is reserved."""
DENSE = 3
"""Hardly a text has more tokens than a third of its bytes: a prompt that does may have been added to."""
QUICK_S = 1.0
"""What fails sooner has done no work, where no reply tells how long work takes."""


class _Highest:
    """The highest of the last `KEPT` values; those that are 0 need not be added."""

    def __init__(self) -> None:
        self._falling: deque[tuple[int, int]] = deque()  # (number, value): each lower than the one before it

    def add(self, number: int, value: int) -> None:
        """The value of a bill; bills are numbered in the order in which they come."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        if value:
            self._falling.append((number, value))
        while self._falling and self._falling[0][0] <= number - KEPT:
            self._falling.popleft()

    @property
    def value(self) -> int:
        return self._falling[0][1] if self._falling else 0


class LearnedBilling:
    """Learned billing of one endpoint; under a cap only `opening` requests are in flight until as many bills are known.

    `hidden` tokens are reserved for a prompt beyond its bytes, and `output` for one choice where that is more than its
    limit. `on_surprise` is called where a bill raised them.
    """

    def __init__(self, opening: int = OPENING, on_surprise: Callable[[], None] = lambda: None) -> None:
        self.hidden = self.output = 0
        self._opening = opening
        self._on_surprise = on_surprise
        self._prompts, self._outputs = _Highest(), _Highest()
        self._heard = (0, 0)
        self._count = 0
        self._confirmed = 0
        self.places: float = opening
        """So many requests may be in flight under a cap."""
        self._latencies: deque[float] = deque(maxlen=KEPT)

    @property
    def quick_s(self) -> float:
        """The longest of the quickest tenth of the replies so far: what fails sooner has done no work."""
        if not self._latencies:
            return QUICK_S
        return sorted(self._latencies)[(len(self._latencies) - 1) // 10]

    @property
    def slow_s(self) -> float:
        """Twice the longest of the replies so far: what is out longer does not come; 0 where no reply is known."""
        return 2 * max(self._latencies, default=0.0)

    @property
    def learned(self) -> tuple[int, int]:
        """What this endpoint's own bills taught, to tell other workers: `hidden` and `output`."""
        return self._prompts.value, int(MARGIN * self._outputs.value)

    def worst(self, demand: Demand) -> Demand:
        """The demand with its worst case by what is known now; the same object where that is no higher."""
        asked = demand.asked
        if asked is None or not (self.hidden or self.output):
            return demand
        prompt, output = asked.prompt + self.hidden, max(asked.limit, self.output) * asked.choices
        pico = asked.worst_pico(prompt, output) if asked.worst_pico is not None else 0
        if prompt + output <= demand.worst_tokens and pico <= demand.worst_pico:
            return demand
        tokens = max(prompt + output, demand.worst_tokens)
        return replace(demand, worst_tokens=tokens, worst_pico=max(pico, demand.worst_pico))

    def answered(self, demand: Demand, usage: Usage | None, latency_s: float) -> None:
        """A reply came that may be billed; `usage` is None where it does not tell its bill."""
        self._latencies.append(latency_s)
        asked = demand.asked
        surprise = False
        if usage is not None and asked is not None:
            self._count += 1
            each = -(-usage.completion_tokens // asked.choices)
            # All of such a prompt: what the server added is no more, and the next one's own bytes come on top.
            prompt = usage.prompt_tokens if DENSE * usage.prompt_tokens > asked.prompt else 0
            output = each if each > asked.limit else 0
            if prompt or output or self.hidden or self.output:
                surprise = usage.prompt_tokens > asked.prompt + self.hidden or output > self.output
                self._prompts.add(self._count, prompt)
                self._outputs.add(self._count, output)
                self._know()
        if surprise:
            self._confirmed, self.places = 0, self._opening
            self._on_surprise()
        elif self._confirmed < self._opening:
            self._confirmed += 1
            self.places = self._opening if self._confirmed < self._opening else float("inf")

    def hear(self, hidden: int, output: int) -> None:
        """What the other workers' bills of this endpoint taught."""
        self._heard = (hidden, output)
        self._know()

    def _know(self) -> None:
        own = self.learned
        self.hidden, self.output = max(own[0], self._heard[0]), max(own[1], self._heard[1])
