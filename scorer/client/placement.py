"""Which endpoint a request goes to: the least loaded, or the one that has the request's prefix cached.

Requests with one prefix go to one endpoint by rendezvous hashing (Thaler and Ravishankar, 1998), as long as its load is
below `BOUND` times the mean; else to the next one in the prefix's order (consistent hashing with bounded loads,
Mirrokni, Thorup and Zadimoghaddam, 2018). So an endpoint that joins or leaves moves the prefixes of its own share only.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol, TypeVar

from scorer.types import Prefix

BOUND = 1.25


class Loaded(Protocol):
    """An endpoint: its address, its share of the load, and its requests, waiting or in flight, over its share."""

    @property
    def address(self) -> str: ...
    @property
    def weight(self) -> float: ...
    @property
    def load(self) -> float: ...


E = TypeVar("E", bound=Loaded)


def chosen(endpoints: Sequence[E], prefixes: Sequence[Prefix] = ()) -> E:
    """The endpoint for a request with these prefixes, the shortest first; `endpoints` are those that are up.

    A prefix that all requests have ties them to no endpoint.
    """
    key = next((prefix.key for prefix in reversed(prefixes) if not prefix.constant), None)
    if key is None or len(endpoints) == 1:
        return min(endpoints, key=lambda endpoint: endpoint.load)
    # `load` counts the request that is placed, so the mean has it at each endpoint: the bound is never below one.
    mean = sum(endpoint.load * endpoint.weight for endpoint in endpoints) / sum(one.weight for one in endpoints)
    fitting = [endpoint for endpoint in endpoints if endpoint.load <= BOUND * mean]
    return max(fitting, key=lambda endpoint: blake2b(endpoint.address.encode(), key=key[:64], digest_size=8).digest())
