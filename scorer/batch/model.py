"""One model whose requests go in provider batches: its API, who speaks its dialect, what it charges, how it is cut."""

from __future__ import annotations

from dataclasses import field, replace

from scorer.batch.types import BatchApi, Bounds
from scorer.client.prompt_cache import PromptCache
from scorer.client.reservation import Reservation
from scorer.client.settlement import Settlement
from scorer.frozen import dataclass
from scorer.limits.bills import LearnedBilling
from scorer.types import Provider, Request


@dataclass(frozen=True, slots=True)
class BatchModel:
    """`alias` is the model's in the run file, "" for the only one.

    `provider` makes what is sent and reads replies, and learns from them what the server takes. `plain` never gets a
    reply: the first body that it makes of a request is always the same, and stands for the request in a chunk.
    `reader` reads the bills of replies before it is known what they answer.
    `retries` counts the attempts that end in an error line. `enqueued_tokens` None: no limit is known. `cache` chooses
    the prefixes that the provider is to cache; None for none. `separate` holds the alias where each sample is a request
    of its own: the provider gives one choice a request, or was not known to give several. `online_times` is the most
    that a token costs online, divided by its price in a batch.
    """

    alias: str
    api: BatchApi
    provider: Provider
    plain: Provider
    reader: Provider
    reservation: Reservation
    settlement: Settlement
    retries: int
    bounds: Bounds
    enqueued_tokens: int | None
    poll_s: float
    grace_s: float
    min_requests: int
    cache: PromptCache | None = None
    separate: set[str] = field(default_factory=set)
    bills: LearnedBilling = field(default_factory=LearnedBilling)
    online_times: float = 1.0

    def marked(self, request: Request) -> Request:
        """The request with the prefixes that the provider is to cache. To be called once for each request."""
        return request if self.cache is None else replace(request, prefixes=self.cache.prefixes(request))
