"""The results of one worker, written as segments. Each segment is reported to the owner.

A worker never merges, seals, lists or deletes files. The owner knows which rows are left and numbers the segments.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from scorer.inputs.read_retry import with_retries
from scorer.output.inventory import Unfinished
from scorer.output.layout import Segment
from scorer.output.result_store import ResultStore
from scorer.output.run_files import RunFiles
from scorer.output.segment_writer import SegmentWriter, WriterHooks
from scorer.output.tables import Measure
from scorer.types import Offload, Result, Shard


class WorkerStore(ResultStore):
    """The store of one worker, for rows that were leased to it.

    `on_written` is called with each segment once it is on disk. `owned` returns once the folder is surely still the
    owner's, and nothing is written before. `measure` and `say` are as in Store.
    """

    def __init__(
        self,
        run: RunFiles,
        *,
        offload: Offload,
        flush_rows: int,
        flush_s: float,
        on_written: Callable[[Shard, Segment, Sequence[Result]], None],
        owned: Callable[[], Awaitable[None]],
        measure: Measure | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._run = run
        self._open: dict[str, Unfinished] = {}
        super().__init__(
            SegmentWriter(
                run,
                WriterHooks(
                    self._open.__getitem__,
                    lambda state, segment, results: on_written(state.shard, segment, results),
                    owned=owned,
                ),
                offload=offload,
                flush_rows=flush_rows,
                flush_s=flush_s,
                measure=measure,
                say=say,
            )
        )

    def begin(self, shard: Shard, generation: int, number: int) -> None:
        """Prepares for rows of a shard, whose first segment gets `number`. Blocking: it reads the shard's footer.

        Raises ShardChanged where the shard is gone or damaged, StorageError where the system fails to read it.
        """
        state = self._open.get(shard.path)
        if state is None:
            schema = with_retries(shard.path, lambda: self._run.schema_of(shard))
            state = self._open[shard.path] = Unfinished(shard, schema, [], unscored=shard.rows)
        state.numbers.setdefault(generation, number)
