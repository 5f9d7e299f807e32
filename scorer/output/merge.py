"""Merges result files that are sorted by row, window by window, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.files.arrow_share import EqualColumns
from scorer.files.arrow_take import take
from scorer.files.files import Files
from scorer.output import segments as seg
from scorer.output.schema import fitted, modern

FEW_RUNS, MANY_RUNS = 16, 64
"""Up to so many runs of rows in order are not copied; up to so many are copied without pyarrow.compute: it takes 20 ms
to load and 7 MB for good."""
MERGE_BYTES, LEAST_BYTES = 16 * 1024 * 1024, 128 * 1024
"""The stored bytes that all files of a merge have loaded together, and the least that each of them has loaded."""


class Cursor:
    """Reads a file that is sorted by row forward, in portions of `size` bytes. It holds one portion.

    `equal` holds what its portions have in common with each other and with those of other files. The file is closed
    once its last portion is loaded: its reader takes more memory than 1,000 rows. Raises one of DAMAGE, with the path
    in `Cursor.path`.
    """

    def __init__(
        self, files: Files, path: str, columns: Sequence[str] | None = None, *, size: int, equal: EqualColumns
    ) -> None:
        self.path, self._equal = path, equal
        with ExitStack() as stack:
            self._file = stack.enter_context(files.open(path))
            parquet = pq.ParquetFile(self._file, pre_buffer=False, buffer_size=1 << 18, page_checksum_verification=True)
            stack.pop_all()
        if columns is not None:
            stored = parquet.schema_arrow
            named = zip(stored.names, modern(stored).names, strict=True)
            columns = [name for name, today in named if today in columns]
        self._batches = seg.batches(parquet, size=size, columns=columns)
        self._rest: pa.Table | None = None
        self.portion_bytes = 0
        """The bytes of the loaded portion, also of those of its rows that were returned."""
        self._unread: int = parquet.metadata.num_rows

    def loaded(self) -> int | None:
        """The row number after the last loaded row; None where the file has no rows beyond the loaded ones.

        It loads the next portion where all loaded rows were returned.
        """
        while self._rest is None or not self._rest.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return None
            self.portion_bytes = batch.get_total_buffer_size()
            self._rest = pa.Table.from_batches([self._equal.shared(batch)])
            self._unread -= batch.num_rows
        if not self._unread:
            self.close()
            return None
        last: int = self._rest.column("row")[-1].as_py()
        return last + 1

    def bytes_below(self, limit: int) -> int:
        """The bytes of the loaded rows before row number `limit`."""
        cut = self._cut(limit)
        return self._rest.slice(0, cut).nbytes if self._rest is not None and cut else 0

    def below(self, limit: int) -> pa.Table | None:
        """Returns the loaded rows before row number `limit`, once. None where there are none."""
        cut = self._cut(limit)
        if self._rest is None or not cut:
            return None
        given, self._rest = self._rest.slice(0, cut), self._rest.slice(cut)
        return given

    def _cut(self, limit: int) -> int:
        return 0 if self._rest is None else int(np.searchsorted(self._rest.column("row").to_numpy(), limit))

    def close(self) -> None:
        self._batches = iter(())
        self._file.close()


def merge(
    files: Files, inputs: Sequence[tuple[str, int, int]], schema: pa.Schema, *, some: bool = False
) -> Iterator[tuple[int, int, pa.Table]]:
    """The rows of several sorted files in row order, each once (the highest generation), window by window.

    `inputs` are (path, first row, last row). `schema` is theirs, or with `some` a part of it. A nullable column that a
    file of an earlier version lacks is null. Yields (first row of the window, its end, its rows). A window has at most
    `WINDOW` rows, and about `WINDOW_BYTES` or a single row. Raises Broken.
    """
    waiting = sorted(inputs, key=lambda item: item[1], reverse=True)
    cursors: list[tuple[Cursor, int]] = []
    equal = EqualColumns()
    size = max(LEAST_BYTES, MERGE_BYTES // max(8, len(inputs)))
    end = max((last for _, _, last in inputs), default=-1) + 1
    try:
        start = min((first for _, first, _ in inputs), default=0)
        width = seg.WINDOW // 2  # of the last window; the next is at most twice as wide, so that few files are open
        while start < end:
            width = min(2 * width, seg.WINDOW)
            stop = min(end, start + width)
            for cursor, _ in cursors:
                stop = _loaded(cursor, start, stop)
            while waiting and waiting[-1][1] < stop:
                path, _, last = waiting.pop()
                with seg.broken(path):
                    cursor = Cursor(files, path, schema.names if some else None, size=size, equal=equal)
                cursors.append((cursor, last))
                stop = _loaded(cursor, start, stop)
            if sum(cursor.portion_bytes for cursor, _ in cursors) > seg.WINDOW_BYTES:
                stop = _bounded(cursors, start, stop)
            width = stop - start
            yield start, stop, _window(cursors, stop, schema)  # held by no name while the next one is made
            for cursor, last in cursors:
                if last < stop:
                    cursor.close()
            cursors = [(cursor, last) for cursor, last in cursors if last >= stop]
            start = stop
    finally:
        for cursor, _ in cursors:
            cursor.close()


def _loaded(cursor: Cursor, start: int, stop: int) -> int:
    """The end of the window, or so much less that the cursor has all its rows before it loaded."""
    with seg.broken(cursor.path):
        loaded = cursor.loaded()
    return stop if loaded is None else min(stop, max(loaded, start + 1))


def _bounded(cursors: Sequence[tuple[Cursor, int]], start: int, stop: int) -> int:
    """The end of the window, or so much less that its rows have `WINDOW_BYTES` or are one."""
    while stop > start + 1 and sum(cursor.bytes_below(stop) for cursor, _ in cursors) > seg.WINDOW_BYTES:
        stop = start + (stop - start) // 2
    return stop


def _window(cursors: Sequence[tuple[Cursor, int]], stop: int, schema: pa.Schema) -> pa.Table:
    """The loaded rows before row number `stop`, in order."""
    parts: list[pa.Table] = []
    for cursor, _ in cursors:
        with seg.broken(cursor.path):
            if (part := cursor.below(stop)) is not None:
                parts.append(fitted(part, schema))
    return _in_order(pa.concat_tables(parts) if parts else schema.empty_table())


def _in_order(table: pa.Table) -> pa.Table:
    """The rows by number, each once. Few runs of rows are put together as they are; more are copied."""
    rows: npt.NDArray[np.int64] = table.column("row").to_numpy()
    generations = table.column("generation").to_numpy()
    order = np.lexsort((generations, rows))
    ordered = rows[order]
    order = order[np.append(ordered[1:] != ordered[:-1], True)] if len(order) else order
    starts = np.flatnonzero(np.diff(order, prepend=-2) != 1)
    if len(starts) > MANY_RUNS:
        # As a buffer: pa.array loads numpy.ma for an array of numpy.
        return take(table, pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)]))
    lengths = np.diff(starts, append=len(order))
    runs = [table.slice(first, length) for first, length in zip(order[starts].tolist(), lengths.tolist(), strict=True)]
    joined = pa.concat_tables(runs) if runs else table
    return joined if len(runs) <= FEW_RUNS else joined.combine_chunks()
