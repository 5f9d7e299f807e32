"""The endpoints of one model: which of them a request may go to. Sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from scorer.client.placement import chosen
from scorer.client.repeated_replies import DuplicateReplies
from scorer.client.single_call import SingleCallProvider
from scorer.frozen import dataclass
from scorer.limits import Admission
from scorer.types import Prefix, Provider

if TYPE_CHECKING:
    from scorer.client.cache_leaders import CacheLeaders

STRAGGLERS_S = 5.0
"""Where the set-up is wrong, replies to what is in flight are waited for so long: their bills are then known."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a model: who speaks its dialect, and its limits. `weight` is its share of the load.

    `address` names it among the replicas of a fleet.
    `leaders` says which request writes a prefix to its cache; None where no prompt is to be cached.
    `single` is the provider where it answers most requests by one call.
    """

    provider: Provider
    limits: Admission
    weight: float = 1.0
    address: str = ""
    repeats: DuplicateReplies = field(default_factory=DuplicateReplies)
    leaders: CacheLeaders | None = None
    single: SingleCallProvider | None = None

    @property
    def load(self) -> float:
        in_turn = 0 if self.leaders is None else self.leaders.waiting
        return (self.limits.waiting + self.limits.in_flight + in_turn + 1) / self.weight


class Endpoints:
    """The endpoints that take requests now, `all` of them; `only` is the one where there is no other."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._set(endpoints)

    def _set(self, endpoints: Sequence[Endpoint]) -> None:
        self.all = tuple(endpoints)
        self.only = self.all[0] if len(self.all) == 1 else None

    def replace(self, joining: Sequence[Endpoint], leaving: Sequence[Endpoint]) -> None:
        """Takes in endpoints, and retires others. At least one endpoint is to stay or join."""
        self._set((*(one for one in self.all if one not in leaving), *joining))
        for endpoint in leaving:
            endpoint.limits.retire()

    def up(self) -> list[Endpoint]:
        """Where a request may go as far as breakers know; one that is due for a probe counts, so that it gets one."""
        return [endpoint for endpoint in self.all if endpoint.limits.up]

    def others_up(self, endpoint: Endpoint) -> bool:
        """Whether a request may go to another one than `endpoint`."""
        return any(one is not endpoint for one in self.up())

    def may_leave(self) -> bool:
        """Whether a request that waits for the end of an outage may go to another endpoint."""
        return len(self.all) > 1 and bool(self.up())

    def choose(
        self, prefixes: Sequence[Prefix] = (), failed: Endpoint | None = None, again: Endpoint | None = None
    ) -> Endpoint:
        """One that is up: `again`, else where there is another, not `failed`, at which this request just failed."""
        if self.only is not None:
            return self.only
        up = self.up()
        if again is not None and again in up:
            return again
        others = [endpoint for endpoint in up if endpoint is not failed]
        return chosen(others or up or self.all, prefixes)

    def close(self) -> None:
        """Admits nothing more, anywhere."""
        for one in self.all:
            one.limits.close()

    async def stragglers(self, clock: Callable[[], float]) -> None:
        """Waits for what is in flight where the set-up is wrong: until then it is unknown that these are free."""
        until = clock() + STRAGGLERS_S
        for endpoint in self.all:
            await endpoint.limits.emptied(until - clock())
