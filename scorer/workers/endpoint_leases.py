"""The endpoints of a run as the broker knows them: the rates and the requests in flight of each, over all workers.

Those of the run file are there from the start. A replica of a fleet is there from the first report about it until no
worker reports it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from scorer.frozen import dataclass
from scorer.limits import RateLimits
from scorer.limits.live_settings import divided
from scorer.workers.messages import Grant, Pace
from scorer.workers.place_leases import PlaceLeases
from scorer.workers.rate_leases import Endpoint

Name = tuple[int, str]
"""The place of an endpoint in the run file's order, and the address of a replica there, "" for none."""


@dataclass(slots=True)
class _Leases:
    """What is leased of one endpoint. `places`: the most requests in flight, None where each worker adapts its own."""

    rates: Endpoint
    parts: PlaceLeases
    places: int | None
    workers: set[int]


class EndpointLeases:
    """The leases of all endpoints. `limits` are those of the run file; a replica has those of its place."""

    def __init__(
        self, limits: Sequence[RateLimits], clock: Callable[[], float], slowest_s: Callable[[], float], workers: int
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._slowest_s = slowest_s
        self._workers = workers
        self._concurrency: int | None = None
        self._leases: dict[Name, _Leases] = {}
        for place in range(len(limits)):
            self._of((place, ""))

    def exchange(self, worker: int, before: Sequence[Pace], paces: Sequence[Pace]) -> list[tuple[Grant, int | None]]:
        """For each endpoint that a worker reports: its next lease, and the most requests that it may have in flight.

        `before` is its last report; what is not in this one any more, it has left.
        """
        left = {_name(pace) for pace in before} - {_name(pace) for pace in paces}
        for name in left:
            self._leave(name, worker)
        return [self._exchange(worker, pace) for pace in paces]

    def _exchange(self, worker: int, pace: Pace) -> tuple[Grant, int | None]:
        leases = self._of(_name(pace))
        leases.workers.add(worker)
        places = None if leases.places is None else leases.parts.exchange(worker, leases.places, pace.in_flight)
        return leases.rates.exchange(worker, pace), places

    def gone(self, worker: int) -> None:
        """Removes a worker that is dead or ended."""
        for name in [*self._leases]:
            self._leave(name, worker)

    def keep_in_flight(self, concurrency: int) -> None:
        """Divides so many requests in flight among the endpoints, in proportion to what each has in the run file."""
        self._concurrency = concurrency
        self._divide()

    @property
    def rates(self) -> Iterator[Endpoint]:
        return (leases.rates for leases in self._leases.values())

    def _of(self, name: Name) -> _Leases:
        if (found := self._leases.get(name)) is None:
            limits = self._limits[name[0]]
            rates, parts = Endpoint(limits, self._clock), PlaceLeases(self._clock, self._slowest_s)
            found = self._leases[name] = _Leases(rates, parts, limits.concurrency, set())
            if name[1]:
                self._leases.pop((name[0], ""), None)  # the place of a fleet, of which the replicas are the endpoints
            self._divide()
        return found

    def _leave(self, name: Name, worker: int) -> None:
        if (leases := self._leases.get(name)) is None:
            return
        leases.rates.gone(worker)
        leases.parts.gone(worker)
        leases.workers.discard(worker)
        if name[1] and not leases.workers:
            del self._leases[name]
            self._divide()

    def _divide(self) -> None:
        if self._concurrency is None:
            return
        weights = [self._limits[place].most for place, _ in self._leases]
        for leases, places in zip(
            self._leases.values(), divided(self._concurrency, weights, self._workers), strict=True
        ):
            leases.places = places


def _name(pace: Pace) -> Name:
    return pace.place, pace.address
