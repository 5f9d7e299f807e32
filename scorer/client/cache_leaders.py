"""Sends one request first for each prefix that an endpoint has not cached, and the others once it is answered.

A cache can be read once the request that writes it is answered: of many that go out at once, all would write. A waiting
request holds no permit, no connection and no reservation, and a leader waits for no other request: no two can wait for
each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from scorer.client.prompt_cache import LIFE_S
from scorer.types import Prefix
from scorer.usage import Usage

LATE_S = 60.0
"""Where the first request is not answered for so long after it was sent, another one goes, too."""
MISSES = 32
"""So many replies in a row that read nothing of a cached prefix: this endpoint has no such cache."""
MOST_HELD = 1 << 14


class _Leader:
    """The request that writes a prefix. `over` is set once it ended, or is late."""

    __slots__ = ("over", "timer")

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None


class CacheLeaders:
    """What one endpoint has cached, as its replies show, and who writes. `clock` returns seconds of the loop.

    Prefixes of fewer than `least_bytes` may be too short for the cache: no request waits for them. Once replies show
    that nothing is read from a cache here, `off` becomes True, `say` is called, and no request waits any more.
    """

    def __init__(
        self, clock: Callable[[], float], least_bytes: int, say: Callable[[], None], life_s: float = LIFE_S
    ) -> None:
        self._clock = clock
        self._least_bytes = least_bytes
        self._life_s = life_s
        self._say = say
        self._used: dict[bytes, float] = {}
        self._leaders: dict[bytes, _Leader] = {}
        self._misses = 0
        self.off = False
        self.waiting = 0
        """Requests that wait for another one's reply."""

    async def turn(self, prefixes: Sequence[Prefix]) -> Turn:
        """Returns once a request with these prefixes may go: each is cached, or this request is the one to write it.

        Cancelling it takes nothing.
        """
        prefixes = [prefix for prefix in prefixes if prefix.size >= self._least_bytes]
        while not self.off:
            for prefix in prefixes:
                if self.cached(prefix.key):
                    continue
                if (leader := self._leaders.get(prefix.key)) is None or leader.over.is_set():
                    return Turn(self, prefixes, self._lead(prefixes))
                self.waiting += 1
                try:
                    await leader.over.wait()
                finally:
                    self.waiting -= 1
                break
            else:
                break
        return Turn(self, prefixes, [])

    def cached(self, key: bytes) -> bool:
        """Whether a prefix was used within its life."""
        used = self._used.get(key)
        return used is not None and self._clock() - used < self._life_s

    def _lead(self, prefixes: Sequence[Prefix]) -> list[tuple[bytes, _Leader]]:
        """Makes a request the one that writes: all its prefixes that are neither cached nor being written."""
        led = []
        for prefix in prefixes:
            other = self._leaders.get(prefix.key)
            if not self.cached(prefix.key) and (other is None or other.over.is_set()):
                leader = self._leaders[prefix.key] = _Leader()
                led.append((prefix.key, leader))
        return led

    def sent(self, prefixes: Sequence[Prefix], led: Sequence[tuple[bytes, _Leader]]) -> bool:
        """A request goes out now. False where it does not lead and its prefix is not cached any more: it must not."""
        if not led and not self.off and not all(self.cached(prefix.key) for prefix in prefixes):
            return False
        now, mine = self._clock(), [key for key, _ in led]
        self._used.update((prefix.key, now) for prefix in prefixes if prefix.key not in mine)
        loop = asyncio.get_running_loop()
        for _, leader in led:
            if leader.timer is None:
                leader.timer = loop.call_later(LATE_S, leader.over.set)
        return True

    def ended(
        self, prefixes: Sequence[Prefix], led: Sequence[tuple[bytes, _Leader]], usage: Usage | None, *, answered: bool
    ) -> None:
        """A request ended. Where it was answered, what it wrote can be read; else the next one goes first."""
        now = self._clock()
        for key, leader in led:
            if answered:
                self._used[key] = now
            latest = self._leaders.get(key)
            if latest is not None and (answered or latest is leader):
                del self._leaders[key]
                latest.over.set()
            if leader.timer is not None:
                leader.timer.cancel()
            leader.over.set()
        if len(self._used) > MOST_HELD:
            self._used = {key: used for key, used in self._used.items() if now - used < self._life_s}
        if answered and not led and prefixes and not self.off and usage is not None:
            self._misses = 0 if usage.cached_tokens else self._misses + 1
            if self._misses >= MISSES:
                self.off = True
                for leader in self._leaders.values():
                    leader.over.set()
                self._say()


class Turn:
    """A request's turn: from the moment it may go until it ended."""

    __slots__ = ("_leaders", "_led", "_prefixes", "answered", "usage")

    def __init__(self, leaders: CacheLeaders, prefixes: Sequence[Prefix], led: Sequence[tuple[bytes, _Leader]]) -> None:
        self._leaders, self._prefixes, self._led = leaders, prefixes, led
        self.answered = False
        self.usage: Usage | None = None

    def sent(self) -> bool:
        """It goes out now. False where what it would read has expired while it waited: it needs another turn."""
        return self._leaders.sent(self._prefixes, self._led)

    def answered_by(self, leaders: CacheLeaders | None, usage: Usage | None) -> None:
        """The request was answered; where a hedge of it was, by another endpoint, nothing is cached at this one."""
        if leaders is self._leaders:
            self.answered, self.usage = True, usage

    def over(self) -> None:
        """It ended; `answered` says how."""
        self._leaders.ended(self._prefixes, self._led, self.usage, answered=self.answered)
