"""The store of one worker: it publishes segments, and tells of each; it never merges, seals, looks around or deletes.

What is left to do, which numbers its segments have, and what becomes of them is the owner's (store.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from scorer.inputs.shard_reader import with_retries
from scorer.output.layout import Segment
from scorer.output.store import Store, Unfinished
from scorer.types import Result, Shard

Told = Callable[[Shard, Segment, Sequence[Result]], None]


class WorkerStore(Store):
    """`Store` for the results of rows that were leased.

    `told` is called with each segment once it is on disk; `sure` returns when the folder is surely still the owner's,
    and nothing is published before.
    """

    def __init__(self, *args: Any, told: Told, sure: Callable[[], Awaitable[None]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._told = told
        self._sure = sure

    def begin(self, shard: Shard, generation: int, number: int) -> None:
        """Rows of a shard will come; the first segment's number is `number`. Blocking: it reads the shard's footer.

        Raises ShardChanged where that is gone or damaged, StorageError where the system fails to read it.
        """
        state = self._open.get(shard.path)
        if state is None:
            schema = with_retries(shard.path, lambda: self._schema_of(shard))
            state = self._open[shard.path] = Unfinished(shard, schema, [], unscored=shard.rows)
        state.numbers.setdefault(generation, number)

    def _written(self, state: Unfinished, segment: Segment, results: Sequence[Result]) -> None:
        self._told(state.shard, segment, results)

    async def _flush(self) -> None:
        await self._sure()
        await super()._flush()
