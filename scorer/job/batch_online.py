"""Stores rows that batches answered in part and the online endpoint in full, with the replies and costs of both."""

from __future__ import annotations

from collections.abc import Callable

from scorer.batch.turns import ContinuedJudge
from scorer.engine import engine
from scorer.output.store import Store
from scorer.types import Result


class MergingStore:
    """The store of a run, for rows that `judge` judged. `finish` is called with the shard and number of each row."""

    def __init__(
        self, store: Store, judge: ContinuedJudge, parts: engine.RunContext, finish: Callable[[str, int], None]
    ) -> None:
        self._store = store
        self._judge = judge
        self._parts = parts
        self._finish = finish

    def add(self, result: Result) -> None:
        row = result.row
        if (answers := self._judge.received.pop((row.shard, row.number), None)) is not None:
            result = engine.result_of(row, result.score, result.error, answers, self._parts)
        self._store.add(result)
        self._finish(row.shard, row.number)

    async def room(self) -> None:
        await self._store.room()

    @property
    def full(self) -> bool:
        return self._store.full

    def on_room(self, wake: Callable[[], None]) -> None:
        self._store.on_room(wake)
