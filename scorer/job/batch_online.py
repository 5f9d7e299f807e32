"""Stores the rows that are asked online after batches, and notes each as finished."""

from __future__ import annotations

from collections.abc import Callable

from scorer.output.store import Store
from scorer.types import Result


class NotingStore:
    """The store of a run. `add` is called with each result."""

    def __init__(self, store: Store, add: Callable[[Result], None]) -> None:
        self._store = store
        self.add = add

    async def room(self) -> None:
        await self._store.room()

    @property
    def full(self) -> bool:
        return self._store.full

    def on_room(self, wake: Callable[[], None]) -> None:
        self._store.on_room(wake)
