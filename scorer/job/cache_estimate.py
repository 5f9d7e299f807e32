"""Estimates what prompt caching does to the prompts of a run: tokens read from a provider's cache, and written to it.

The prefixes are chosen as in a run (client/prompt_cache.py), at a clock that runs as fast as the limits let requests
go.
"""

from __future__ import annotations

from scorer.client.prompt_cache import LIFE_S, PromptCache, least_tokens
from scorer.config.spec import Model
from scorer.types import Request


class CacheEstimate:
    """Sums over the requests to one model. `step_s` is the time between two of them.

    Of `prompt_tokens`, `read_tokens` are read from the cache and `written_tokens` written to it, where each prefix is
    written by one request and read within its life. At worst all `marked_tokens` are written.
    """

    def __init__(self, model: Model, step_s: float) -> None:
        self._least = least_tokens(model.name or "")
        self._step_s, self._now = step_s, 0.0
        self._cache = PromptCache(self._least, lambda: self._now)
        self._used: dict[bytes, float] = {}
        self.prompt_tokens = 0
        self.read_tokens = self.written_tokens = self.marked_tokens = 0.0

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
            if self._now - self._used.get(prefix.key, -LIFE_S) < LIFE_S:
                read = tokens
            self._used[prefix.key] = self._now
        self.read_tokens += read
        self.written_tokens += marked - read
        self.marked_tokens += marked

    def shares(self, case: int) -> tuple[float, float]:
        """The shares of the prompt tokens that are read and written; `case` 2 is the worst: all written, none read."""
        total = max(1, self.prompt_tokens)
        if case == 2:
            return 0.0, self.marked_tokens / total
        return self.read_tokens / total, self.written_tokens / total
