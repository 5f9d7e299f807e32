"""Estimates what prompt caching does to the prompts of a run: tokens read from a provider's cache, and written to it.

The prefixes are chosen as in a run (client/prompt_cache.py), at a clock that runs as fast as the limits let requests
go. All requests of a batch are sent at once.
"""

from __future__ import annotations

from scorer.client.prompt_cache import HOUR_S, LIFE_S, PromptCache, least_tokens
from scorer.config.spec import Model
from scorer.types import Request

IN_BATCHES = (0.98, 0.64, 0.0)
"""The share of reads that a cache gives within a batch: low, expected and worst. Expected is the middle of the source.

Source: Anthropic, "Batch processing" (November 2026): best effort, typically between 30 % and 98 % of requests."""


class CacheEstimate:
    """Sums over the requests to one model. `step_s` is the time between two of them.

    Of `prompt_tokens`, `marked_tokens` are of prefixes to be cached. Of these `read_tokens` are read from the cache and
    the others written to it, where each prefix is written by one request and read within its life. `hits` has the share
    of these reads for the low, expected and worst case; what is not read is written. None: within a batch this provider
    promises no cache.
    """

    def __init__(self, model: Model, step_s: float) -> None:
        self._least = least_tokens(model.name or "")
        batched = model.mode == "batch"
        self.lasting = batched and model.provider == "anthropic"
        """The prefixes are cached for an hour."""
        self.hits = (1.0, 1.0, 0.0) if not batched else IN_BATCHES if self.lasting else None
        self._life_s = HOUR_S if self.lasting else LIFE_S
        self._step_s, self._now = 0.0 if batched else step_s, 0.0
        self._cache = PromptCache(self._least, lambda: self._now, lasting=self.lasting)
        self._used: dict[bytes, float] = {}
        self.prompt_tokens = 0
        self.read_tokens = self.marked_tokens = 0.0

    def add(self, request: Request, prompt_tokens: int) -> None:
        """Counts one request."""
        self._now += self._step_s
        self.prompt_tokens += prompt_tokens
        prefixes = self._cache.prefixes(request)
        if not prefixes:
            return
        size = sum(len(message.content.encode("utf-8", "surrogatepass")) for message in request.messages)
        read = marked = 0.0
        for prefix in prefixes:
            tokens = prompt_tokens * prefix.size / size
            if tokens < self._least:
                continue
            marked = tokens
            if self._now - self._used.get(prefix.key, -self._life_s) < self._life_s:
                read = tokens
            self._used[prefix.key] = self._now
        self.read_tokens += read
        self.marked_tokens += marked

    def shares(self, case: int) -> tuple[float, float]:
        """The shares of the prompt tokens that are read and written; `case` 2 is the worst: all written, none read."""
        if self.hits is None:
            return 0.0, 0.0
        total, read = max(1, self.prompt_tokens), self.hits[case] * self.read_tokens
        return read / total, (self.marked_tokens - read) / total
