"""Counts the scored and failed rows of a shard from its files, by their metadata alone where that is enough."""

from __future__ import annotations

from dataclasses import field

import numpy as np
import pyarrow as pa

from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.output import segments as seg
from scorer.output.layout import ResultFiles
from scorer.output.row_counts import SUMS, Counts
from scorer.types import Mask, Shard


@dataclass(slots=True)
class SealedCounts:
    """The counts of shards whose sealed file this process wrote from results of generation 0, and their stems."""

    stems: set[str] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)

    def add(self, stem: str, counts: Counts) -> None:
        self.stems.add(stem)
        self.counts.add(counts)

    def hold_for(self, found: ResultFiles) -> bool:
        """True where the files of these shards are there, and no later result of theirs is."""
        later = (one.generation for stem in self.stems for one in found.segments.get(stem, ()))
        return self.stems <= found.sealed and not any(later)


def count_results(files: Files, found: ResultFiles, shard: Shard, within: Mask | None = None) -> Counts:
    """The counts of a shard's newest results. Raises segments.Broken for bad files.

    `within` are the rows that count, None for all.
    """
    segments = found.segments.get(shard.stem, [])
    paths = [found.layout.segment(segment) for segment in segments]
    sealed = found.layout.sealed(shard.stem) if shard.stem in found.sealed else None
    if within is not None:
        if sealed is not None:
            paths.append(sealed)
        return _newest(files, paths, within) if paths else Counts()
    if sealed is not None:
        with seg.broken(sealed):
            about, counts = seg.read_about(files, sealed)
        newer = [p for p, s in zip(paths, segments, strict=True) if s.generation > about["generation"]]
        return _newest(files, [sealed, *newer]) if newer else counts
    if len({segment.generation for segment in segments}) > 1:
        return _newest(files, paths)
    total = Counts()
    for path in paths:
        with seg.broken(path):
            total.add(seg.read_about(files, path)[1])
    return total


def _newest(files: Files, paths: list[str], within: Mask | None = None) -> Counts:
    tables = []
    for path in paths:
        with seg.broken(path):
            counted = ["row", "generation", "score", "error", *SUMS]
            tables.append(seg.read_columns(files, path, counted, counted=True))
    table = pa.concat_tables(tables, promote_options="default")  # an older file lacks columns that a newer one has
    order = np.lexsort((table.column("generation").to_numpy(), table.column("row").to_numpy()))
    rows = table.column("row").to_numpy()[order]
    last = np.append(rows[1:] != rows[:-1], True) if len(rows) else np.zeros(0, dtype=bool)
    if within is not None:
        last &= within[rows]
    return Counts.of(table.take(pa.array(order[last])))
