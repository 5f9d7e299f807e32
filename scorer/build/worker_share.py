"""A worker's share of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

from scorer.frozen import dataclass
from scorer.limits import Budget, LocalLimiter, RateLimits


def _own(rates: RateLimits, caps: Budget, _place: int, _address: str) -> LocalLimiter:
    """The limiter of an endpoint that no other process asks."""
    return LocalLimiter(rates, caps)


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """A worker's share of a run: worker `number` of `of`, with an even share of the requests in flight.

    `limit` makes the limiter of an endpoint, at a place in the run file's order; a replica of a fleet has its address,
    others "". `served` has the addresses, by alias, of embedded judges that the
    coordinator started.
    """

    number: int = 0
    of: int = 1
    limit: Callable[[RateLimits, Budget, int, str], LocalLimiter] = _own
    served: Mapping[str, str] = field(default_factory=dict)

    def places(self, total: int) -> int:
        """This worker's part of `total` requests in flight. The parts of all workers sum up to `total`."""
        return total // self.of + (self.number < total % self.of)


WHOLE_RUN = WorkerShare()
