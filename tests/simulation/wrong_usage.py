"""Simulated judges that report wrong usage: zeros, reasoning tokens, ignored limits, a hidden prompt, nonsense."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import orjson
from simulation.settings import Setting

from scorer.limits.bills import OPENING

KINDS = ("zeros", "thoughts", "beyond", "hidden", "nonsense")
HIDDEN = 2000
LONGEST = 1500
"""Tokens of a hidden prompt; the most reasoning tokens, or tokens of a reply beyond its limit."""
UNWRITTEN_S = 10.0
_NONSENSE: tuple[Any, ...] = (
    None,
    {},
    "free",
    [7],
    {"prompt_tokens": -3, "completion_tokens": 2},
    {"prompt_tokens": "90", "completion_tokens": "2"},
    {"prompt_tokens": 90.5, "completion_tokens": 2},
    {"prompt_tokens": 10**12, "completion_tokens": 2},
    {"prompt_tokens": 90, "completion_tokens": 40_000_000},
    {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 0},
    {"completion_tokens": 2},
    {"total_tokens": -1},
)


def lying(setting: Setting) -> Setting:
    """The same run with a judge of one of KINDS, always under caps; its rate limits ignore the bills."""
    draw = Random(f"lies of {setting.seed}")
    minute = setting.requests_per_minute * 5000
    rows = len(setting.texts)
    tokens = rows * draw.choice([60, 300, 3000])
    caps = {"max_tokens": tokens, "max_usd": tokens * setting.price[0] / 10**6}
    return replace(
        setting,
        lie=KINDS[setting.seed % len(KINDS)],
        caps=draw.choice([caps, {"max_tokens": tokens}, {"max_usd": caps["max_usd"]}]),
        tokens_per_minute=minute,
        config=setting.config.changed({"tokens_per_minute": minute}),
        events=tuple(event for event in setting.events if event.name != "lies"),
    )


@dataclass(slots=True)
class Truth:
    """The judge's true bills and its reported ones. `unreported` is the sum of bills whose replies never arrived."""

    lie: str
    draw: Random
    worst: list[int] = field(default_factory=lambda: [0, 0])
    unreported: list[int] = field(default_factory=lambda: [0, 0])
    tellings: int = 0
    """Replies, received or not, that report a bill."""
    _arrived: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=1000))

    def billed(self, prompt: int, completion: int) -> tuple[int, int]:
        """The true bill of a request, from the bill of an honest judge."""
        if self.lie == "hidden":
            prompt += HIDDEN
        elif self.lie in ("thoughts", "beyond") and self.draw.random() < 0.7:
            completion += self.draw.randint(1, LONGEST)
        return prompt, completion

    def reported(self, prompt: int, completion: int) -> Any:
        """The reported usage."""
        if self.lie == "zeros":
            return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        if self.lie == "nonsense" and self.draw.random() < 0.3:
            return self.draw.choice(_NONSENSE)
        self.tellings += 1
        shown = 2 if self.lie == "thoughts" else completion
        return {"prompt_tokens": prompt, "completion_tokens": shown, "total_tokens": prompt + completion}

    def rewritten(self, body: bytes, prompt: int, completion: int) -> bytes:
        """A whole completion with the reported usage."""
        try:
            reply = orjson.loads(body)
        except orjson.JSONDecodeError:
            return body  # cut in the middle
        return orjson.dumps({**reply, "usage": self.reported(prompt, completion)}) if "usage" in reply else body

    def note(self, tokens: int, pico: int) -> None:
        """A bill."""
        self.worst = [max(self.worst[0], tokens), max(self.worst[1], pico)]

    def lost(self, tokens: int, pico: int) -> None:
        """Its reply never arrives, so no bill is reported."""
        self.unreported = [self.unreported[0] + tokens, self.unreported[1] + pico]

    def arrived(self, now: float, tokens: int, pico: int) -> None:
        """Its reply arrives; a process that crashes soon has not yet written its bill."""
        self._arrived.append((now, tokens, pico))

    def forgotten(self, now: float) -> None:
        """A process crashed: bills that it just received are lost."""
        for at, tokens, pico in self._arrived:
            if at >= now - UNWRITTEN_S:
                self.lost(tokens, pico)
        self._arrived.clear()

    def beyond(self, concurrency: int) -> tuple[float, float]:
        """How far a cap may be exceeded, in tokens and pico-dollars (docs/project/decisions/0020).

        A constant habit costs the requests that open a run, one that comes and goes those in flight; where nothing is
        billed beyond a request's bytes and limits, nothing. What no reply reported counts at what was reserved for it.
        """
        if self.lie in ("", "zeros", "nonsense"):
            return 0, 0
        requests = OPENING if self.lie == "hidden" else concurrency
        return tuple(
            requests * worst + unreported for worst, unreported in zip(self.worst, self.unreported, strict=True)
        )  # type: ignore[return-value]

    @property
    def taught(self) -> tuple[int, int]:
        """The most that is reserved for one request beyond its bytes and limit, in tokens and pico-dollars."""
        learned = self.lie in ("thoughts", "beyond", "hidden")
        return (2 * self.worst[0], 2 * self.worst[1]) if learned else (0, 0)
