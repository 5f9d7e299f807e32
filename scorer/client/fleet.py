"""A fleet of replicas that changes while a run goes on: new ones take requests at once, removed ones finish theirs.

Knows no source of addresses (discovery.py) and makes no endpoint itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from scorer.client.client import HttpClient
from scorer.client.discovery import Discovery
from scorer.client.endpoints import Endpoint
from scorer.errors import ScorerError
from scorer.processes.periodic_service import PeriodicService

READ_S = 2.0
"""Between two looks at the source."""
_MOST_NAMED = 5
"""Replicas that a sentence names; of more it gives the number."""


class Fleet(PeriodicService):
    """Keeps the endpoints of `client` as `discovery` says, from those that it has at the start.

    `join` makes the endpoint of an address. `looked` is called after each look. `note` gets a sentence on each change.
    A source that cannot be read, or has no address, changes nothing, and `note` gets the reason.
    """

    def __init__(
        self,
        client: HttpClient,
        discovery: Discovery,
        join: Callable[[str], Endpoint],
        looked: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        super().__init__(READ_S)
        self._client = client
        self._discovery = discovery
        self._join = join
        self._looked = looked
        self._note = note
        self._changes = 0

    async def work(self) -> None:
        """Looks at the source once."""
        try:
            self._follow(await self._discovery.addresses())
        except ScorerError as error:
            why = " ".join(str(error).split("\n"))
            self._note(f"model.base_urls = {self._discovery.source!r}: {why} The replicas stay as they were.")
        self._looked()

    def _follow(self, addresses: Sequence[str]) -> None:
        known = {endpoint.address: endpoint for endpoint in self._client.endpoints}
        joining = [self._join(address) for address in addresses if address not in known]
        leaving = [endpoint for address, endpoint in known.items() if address not in addresses]
        if joining or leaving:
            self._client.replace(joining, leaving)
            self._changes += 1
            moved = [f"{_named(some)} {did}" for some, did in ((joining, "joined"), (leaving, "left")) if some]
            count = len(self._client.endpoints)
            # Numbered, because a sentence is said once only.
            self._note(
                f"model.base_urls = {self._discovery.source!r}, change {self._changes}: {', '.join(moved)}; "
                f"{count} replica{'' if count == 1 else 's'} now."
            )


def _named(endpoints: Sequence[Endpoint]) -> str:
    """The hosts and ports of some endpoints."""
    more = len(endpoints) - _MOST_NAMED
    names = [urlsplit(endpoint.address).netloc for endpoint in endpoints[:_MOST_NAMED]]
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
