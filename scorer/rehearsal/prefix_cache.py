"""A prefix cache as providers have it: entries of whole blocks, with a life that each use renews, and a least length.

Source: OpenAI, "Prompt caching": prefixes from 1,024 tokens on, in steps of 128, for 5 to 10 minutes without use.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

BLOCK_TOKENS = 128
MOST_ENTRIES = 1 << 16
"""Beyond so many entries those that have expired are dropped."""


class CacheUse(NamedTuple):
    """The tokens of a prompt that were read from a cache, and that were written to it: for an hour where `lasting`."""

    read: int = 0
    written: int = 0
    lasting: bool = False


class PrefixCache:
    """The prefixes of earlier prompts. Times are the caller's, in seconds; the life counts from the last use.

    A prefix can be read once the request that wrote it has been answered. Prefixes shorter than `least_tokens` are
    neither written nor read.
    """

    def __init__(self, life_s: float, least_tokens: int, chars_per_token: float) -> None:
        self._life_s = life_s
        self._least_tokens = least_tokens
        self._step = max(1, round(BLOCK_TOKENS * chars_per_token))
        self._kept: dict[bytes, tuple[float, float]] = {}  # by hash: readable from, readable until

    def read(self, text: str, now: float) -> int:
        """The tokens of the longest prefix of `text` that is in the cache; reading renews its life."""
        found = 0
        for tokens, key in self._prefixes(text):
            since, until = self._kept.get(key, (now, now))
            if since <= now < until:
                found = tokens
                self._kept[key] = (since, now + self._life_s)
        return found

    def write(self, text: str, now: float, answered_at: float) -> None:
        """Keeps the prefixes of a prompt that is answered at `answered_at`, those that it does not hold at `now`."""
        if len(self._kept) >= MOST_ENTRIES:
            self._kept = {key: times for key, times in self._kept.items() if times[1] > now}
        for _, key in self._prefixes(text):
            since, until = self._kept.get(key, (now, now))
            if until <= now or answered_at < since:
                self._kept[key] = (answered_at, answered_at + self._life_s)

    def _prefixes(self, text: str) -> list[tuple[int, bytes]]:
        """The whole blocks from the start of the text: how many tokens they are, and a hash of all of them."""
        running, found = blake2b(digest_size=16), []
        for block in range(1, len(text) // self._step + 1):
            running.update(text[(block - 1) * self._step : block * self._step].encode("utf-8", "replace"))
            if block * BLOCK_TOKENS >= self._least_tokens:
                found.append((block * BLOCK_TOKENS, running.copy().digest()))
        return found
