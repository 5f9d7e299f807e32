"""Merges segments into one, and a shard's segments into its sealed file. Blocking."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import OutputError
from scorer.files.files import read, replace
from scorer.frozen import dataclass
from scorer.output import segments as seg
from scorer.output.checksums import check_open
from scorer.output.damage import unreadable
from scorer.output.layout import Segment, shown
from scorer.output.merge import merge
from scorer.output.row_counts import Counts
from scorer.output.run_files import RunFiles
from scorer.processes.memory import give_memory_back
from scorer.types import Mask, Shard

MERGE_AT = 64
"""So many segments of one shard are merged into one."""
SMALL_BYTES = 1024 * 1024
"""A single segment below this size is sealed as it is; a merge below it is no large piece of work."""


def neighbours(segments: Sequence[Segment]) -> list[Segment]:
    """The segments to merge next: the longest sequence of neighbours that were merged equally often.

    Empty while no sequence has MERGE_AT of them. Equal tiers mean that a row is rewritten once for each factor of 64.
    """
    best: list[Segment] = []
    run: list[Segment] = []
    for segment in sorted(segments, key=lambda s: (s.generation, s.worker, s.low)):
        follows = run and (
            (segment.generation, segment.worker, segment.low, _tier(segment))
            == (run[-1].generation, run[-1].worker, run[-1].high + 1, _tier(run[-1]))
        )
        run = [*run, segment] if follows else [segment]
        if len(run) > len(best):
            best = run
    return best if len(best) >= MERGE_AT else []


def _tier(segment: Segment) -> int:
    numbers, tier = segment.high - segment.low + 1, 0
    while numbers >= MERGE_AT:
        numbers, tier = numbers // MERGE_AT, tier + 1
    return tier


def merge_segments(run: RunFiles, chosen: Sequence[Segment], shard: Shard, schema: pa.Schema) -> Segment:
    """One segment with all rows of `chosen`, whose name hides them.

    Raises OutputError where one is damaged; it is set aside.
    """
    merged = Segment(
        shard.stem,
        chosen[0].generation,
        chosen[0].worker,
        min(s.first for s in chosen),
        max(s.last for s in chosen),
        chosen[0].low,
        chosen[-1].high,
    )
    files, layout = run.files, run.layout
    inputs = [(layout.segment(s), s.first, s.last) for s in chosen]
    about = run.about(shard, merged.generation)
    give_memory_back()
    try:
        with files.create(layout.segment(merged)) as file:
            seg.write(file, map(itemgetter(2), merge(files, inputs, schema)), schema, about)
    except seg.Broken as error:
        raise unreadable(files, layout, error) from error
    give_memory_back()
    return merged


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed file that was written: the segments that it hides, the newest generation in them, and its counts."""

    hides: list[Segment]
    generation: int
    counts: Counts


def seal(run: RunFiles, shard: Shard, schema: pa.Schema, *, sealed_before: bool) -> Sealed:
    """Writes the sealed file of a shard whose rows all have a result: in input order, each row once, newest results.

    Results of rows that do not belong stay in the file. Raises OutputError where a segment is damaged (it is set aside)
    or a row that belongs is missing.
    """
    files, layout = run.files, run.layout
    belongs = None if run.selection.whole else run.selection.belongs(files, layout, shard)
    segments = shown(layout.segments_of(files, shard.stem))[0]
    inputs = [(layout.segment(s), s.first, s.last) for s in segments]
    generation = max((s.generation for s in segments), default=0)
    if len(segments) == 1 and not sealed_before and belongs is None:
        adopted = _adopted(run, shard, schema, segments[0])
        if adopted is not None:
            return Sealed(segments, generation, adopted)
    if sealed_before:
        inputs.append((layout.sealed(shard.stem), 0, shard.rows - 1))
    if sum(s.size for s in segments) >= SMALL_BYTES:
        give_memory_back()
    try:
        tables = _whole(merge(files, inputs, schema), shard, belongs)
        counts = _write(run, shard, schema, generation, tables)
    except seg.Broken as error:
        raise unreadable(files, layout, error) from error
    return Sealed(segments, generation, counts)


def _adopted(run: RunFiles, shard: Shard, schema: pa.Schema, segment: Segment) -> Counts | None:
    """Takes a small segment that has all rows of the shard, and is what a merge would write. None where it is not.

    It gets a second name, or is copied where the storage has no links. Returns its counts. Every byte of it is checked.
    A damaged one is not taken; the merge finds the damage again, and raises.
    """
    path = run.layout.segment(segment)
    if segment.size >= SMALL_BYTES:
        return None
    try:
        data = read(run.files, path)
        with pq.ParquetFile(pa.BufferReader(data)) as parquet:
            metadata = parquet.metadata.metadata or {}
            parts = check_open(io.BytesIO(data), metadata)
            stated, counts = seg.about_of(metadata)
            if (
                parquet.metadata.num_row_groups != 1
                or not parquet.schema_arrow.equals(schema)
                or stated != run.about(shard, segment.generation)
                or not all(part.whole for part in parts or [])
                or parts is None
                or not np.array_equal(
                    parquet.read(columns=["row"], use_threads=False).column("row").to_numpy(), np.arange(shard.rows)
                )
            ):
                return None
    except seg.DAMAGE:
        return None
    sealed = run.layout.sealed(shard.stem)
    if not run.files.link(path, sealed):
        replace(run.files, sealed, data)
    return counts


def seal_results(run: RunFiles, shard: Shard, tables: Sequence[pa.Table], schema: pa.Schema) -> Counts:
    """Writes the sealed file of a shard from its results, without a segment: `tables` have all rows in order.

    Returns their counts. Raises OutputError where a row is missing.
    """
    windows: list[tuple[int, int, pa.Table]] = []
    upto = 0
    for table in tables:
        windows.append((upto, upto + table.num_rows, table))
        upto += table.num_rows
    return _write(run, shard, schema, 0, _whole(iter(windows), shard, None))


def _write(run: RunFiles, shard: Shard, schema: pa.Schema, generation: int, tables: Iterator[pa.Table]) -> Counts:
    with run.files.create(run.layout.sealed(shard.stem)) as file:
        return seg.write(file, seg.grouped(tables), schema, run.about(shard, generation), group_rows=shard.rows or 1)


def incomplete(shard: Shard, start: int, stop: int, results: int) -> OutputError:
    """The error of a shard that is to be sealed and lacks some of the rows `start` to `stop` - 1."""
    return OutputError(
        f"{shard.path} cannot be sealed: of rows {start} to {stop - 1} only {results} have a result. "
        "The same command scores the missing ones."
    )


def _whole(windows: Iterator[tuple[int, int, pa.Table]], shard: Shard, belongs: Mask | None) -> Iterator[pa.Table]:
    """The windows' tables, each checked to hold its rows: all of them, or at least those that belong."""
    upto = results = 0
    for start, stop, table in windows:
        rows = table.column("row").to_numpy()
        expected = np.arange(start, stop) if belongs is None else start + np.flatnonzero(belongs[start:stop])
        skipped = start - upto if belongs is None else int(belongs[upto:start].sum())
        if skipped or not (np.array_equal(rows, expected) or np.isin(expected, rows, assume_unique=True).all()):
            raise incomplete(shard, start, stop, table.num_rows)
        upto = stop
        results += len(expected)
        yield table
    wanted = shard.rows if belongs is None else int(belongs.sum())
    if results != wanted:
        raise OutputError(f"{shard.path} cannot be sealed: it has {wanted} rows and {results} results.")
