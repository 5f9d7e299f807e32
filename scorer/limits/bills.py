"""Learns from replies how far an endpoint bills beyond what a request asks for, and its latencies.

A request's bytes bound its prompt tokens, and its output limit bounds the reply, at a server that adds nothing and
keeps the limit. A gateway may add a prompt, and a server may ignore the limit or bill reasoning beside it. The excess
is learned from the last `KEPT` bills, and later reservations are raised by it.

Under a cap only `OPENING` requests are in flight at first, until as many bills were within their reservations. So an
unexpected bill costs no more than these. A bill beyond its reservation begins an opening again. Knows no requests and
no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from scorer.limits.types import Demand
from scorer.usage import (
    Usage,
)

OPENING = 4
KEPT = 512
MARGIN = 1.5
"""Replies that ignore their limit differ in length: the longest is reserved so many times."""
DENSE = 3
"""Few texts have more tokens than a third of their bytes. A prompt that is billed above it may have been added to."""
QUICK_S = 1.0
"""A request that fails sooner cost the server no work, as long as no latency is known."""


class _Highest:
    """The highest of the last `KEPT` values. Values of 0 need not be added."""

    def __init__(self) -> None:
        self._falling: deque[tuple[int, int]] = deque()  # (number, value): each lower than the one before it

    def add(self, number: int, value: int) -> None:
        """Adds the value of bill `number`. Bills are numbered in the order in which they come."""
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
    """The learned billing of one endpoint. Under a cap, `opening` requests are in flight until as many bills are known.

    `hidden` tokens are reserved for a prompt beyond its bytes, and `output` tokens for one choice where that is more
    than its limit. `on_surprise` is called where a bill was beyond its reservation.
    """

    def __init__(self, opening: int = OPENING, on_surprise: Callable[[], None] = lambda: None) -> None:
        self.hidden = self.output = 0
        self.raised = False
        """Bills were beyond their requests' own bounds: `worst` may raise a demand."""
        self._opening = opening
        self._on_surprise = on_surprise
        self._prompts, self._outputs = _Highest(), _Highest()
        self._others = (0, 0)
        self._count = 0
        self._confirmed = 0
        self.places: float = opening
        """The most requests in flight under a cap: infinite once the opening is over."""
        self._latencies: deque[float] = deque(maxlen=KEPT)

    @property
    def latencies(self) -> Sequence[float]:
        """The seconds of the latest `KEPT` replies."""
        return self._latencies

    @property
    def quick_s(self) -> float:
        """The 10 % quantile of the latencies. A request that fails sooner cost the server no work."""
        if not self._latencies:
            return QUICK_S
        return sorted(self._latencies)[(len(self._latencies) - 1) // 10]

    @property
    def slow_s(self) -> float:
        """Twice the longest latency. A reply that takes longer does not come. 0 where no latency is known."""
        return 2 * max(self._latencies, default=0.0)

    @property
    def learned(self) -> tuple[int, int]:
        """`hidden` and `output` by this process's bills alone, for the other workers."""
        return self._prompts.value, int(MARGIN * self._outputs.value)

    def worst(self, demand: Demand) -> Demand:
        """`demand` with the worst case as known now. The same object where it is no higher."""
        asked = demand.asked
        if asked is None or not self.raised:
            return demand
        prompt, output = asked.prompt + self.hidden, max(asked.limit, self.output) * asked.choices
        pico = asked.worst_pico(prompt, output) if asked.worst_pico is not None else 0
        if prompt + output <= demand.worst_tokens and pico <= demand.worst_pico:
            return demand
        tokens = max(prompt + output, demand.worst_tokens)
        return replace(demand, worst_tokens=tokens, worst_pico=max(pico, demand.worst_pico))

    def answered(self, demand: Demand, usage: Usage | None, latency_s: float) -> None:
        """Takes a reply that may be billed. `usage` is None where the reply does not state its bill."""
        self._latencies.append(latency_s)
        asked = demand.asked
        surprise = False
        if usage is not None and asked is not None:
            self._count += 1
            each = -(-usage.completion_tokens // asked.choices)
            # All of such a prompt counts as added: the bytes of the next prompt come on top.
            prompt = usage.prompt_tokens if DENSE * usage.prompt_tokens > asked.prompt else 0
            output = each if each > asked.limit else 0
            if prompt or output or self.raised:
                surprise = usage.prompt_tokens > asked.prompt + self.hidden or output > self.output
                self._prompts.add(self._count, prompt)
                self._outputs.add(self._count, output)
                self._combine()
        if surprise:
            self._confirmed, self.places = 0, self._opening
            self._on_surprise()
        elif self._confirmed < self._opening:
            self._confirmed += 1
            self.places = self._opening if self._confirmed < self._opening else float("inf")

    def learn_from_others(self, hidden: int, output: int) -> None:
        """Takes `hidden` and `output` by the bills of other workers."""
        self._others = (hidden, output)
        self._combine()

    def _combine(self) -> None:
        own = self.learned
        self.hidden, self.output = max(own[0], self._others[0]), max(own[1], self._others[1])
        self.raised = self.hidden > 0 or self.output > 0
