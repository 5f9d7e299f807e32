"""Verifies copied answers against their source rows, for runs with `judge.dedupe`.

Changes nothing; holds a window of rows at a time, and some 70 bytes for each copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scorer.files.files import Files
from scorer.output import segments as seg
from scorer.output.layout import Layout, shown
from scorer.output.manifest import Manifest
from scorer.output.merge import merge
from scorer.output.schema import COPIED
from scorer.output.verify.shard import Fault
from scorer.types import Shard

_READ = ("row", "generation", "score", "error", "finished_at", COPIED)
_COPY = np.dtype(
    [("shard", "i4"), ("row", "i8"), ("of", "i4"), ("at", "i8"), ("score", "f8"), ("error", "i2"), ("time", "i8")]
)
"""The columns of a copied row that are compared, and its source."""


class Provenance:
    """Checks the copied rows of one run. Raises segments.Broken where a file cannot be read."""

    def __init__(self, files: Files, layout: Layout, manifest: Manifest) -> None:
        self._files = files
        self._layout = layout
        self._shards = manifest.shards
        self._number = {shard.path: number for number, shard in enumerate(manifest.shards)}
        self._forgotten = {shard.path for shard in manifest.forgotten}  # what was copied from them is not compared
        self._errors: dict[str | None, int] = {None: 0}

    def faults(self) -> Iterator[Fault]:
        """A copy whose source has no result, or had another one when the copy was made.

        A source that was scored again since then, by `retry` or because its file was damaged, may say something else.
        """
        sealed = {stat.path for stat in self._files.listing(self._layout.scores)}
        inputs = [self._inputs(shard, sealed) for shard in self._shards]
        found = [part for number in range(len(inputs)) for part in self._copies(number, inputs[number])]
        copies = np.concatenate(found) if found else np.zeros(0, dtype=_COPY)
        copies = copies[np.lexsort((copies["at"], copies["of"]))]
        borders = np.searchsorted(copies["of"], np.arange(len(inputs) + 1))
        yield from self._faults("names no row of this run as its source", copies[copies["of"] < 0])
        for number in np.unique(copies["of"][copies["of"] >= 0]):
            part = copies[borders[number] : borders[number + 1]]
            missing, other = self._compared(part, inputs[number])
            what = f"is a copy of a row of {self._shards[number].path}"
            yield from self._faults(f"{what} that has no result", part[missing])
            yield from self._faults(f"{what} and says something else than that row", part[other])

    def _faults(self, what: str, copies: np.ndarray) -> Iterator[Fault]:
        for number in np.unique(copies["shard"]):
            rows = copies["row"][copies["shard"] == number]
            more = f" (so are {len(rows) - 1} others)" if len(rows) > 1 else ""
            yield Fault(self._shards[number].path, f"row {rows.min()} {what}{more}")

    def _inputs(self, shard: Shard, sealed: set[str]) -> list[tuple[str, int, int]]:
        segments = shown(self._layout.segments_of(self._files, shard.stem))[0]
        paths = [(self._layout.segment(one), one.first, one.last) for one in segments]
        path = self._layout.sealed(shard.stem)
        if path not in sealed:
            return paths
        newer = [given for given, one in zip(paths, segments, strict=True) if one.generation]
        return [(path, 0, shard.rows - 1), *newer]

    def _windows(self, inputs: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, int, pa.Table]]:
        if not inputs:
            return
        with seg.broken(inputs[0][0]), self._files.open(inputs[0][0]) as file:
            stored = pq.read_schema(file)
        schema = pa.schema([field for field in stored if field.name in _READ])
        yield from merge(self._files, inputs, schema, some=True)

    def _copies(self, number: int, inputs: Sequence[tuple[str, int, int]]) -> Iterator[np.ndarray]:
        for _, _, table in self._windows(inputs):
            chosen = table.filter(pc.is_valid(table.column(COPIED)))
            if self._forgotten:
                sources = [source.rpartition("#")[0] for source in chosen.column(COPIED).to_pylist()]
                chosen = chosen.filter(pa.array([path not in self._forgotten for path in sources], pa.bool_()))
            copies = self._read(chosen)
            copies["shard"] = number
            sources = [source.rpartition("#") for source in chosen.column(COPIED).to_pylist()]
            copies["of"] = [self._number.get(path, -1) if row.isdecimal() else -1 for path, _, row in sources]
            copies["at"] = [int(row) if row.isdecimal() else -1 for _, _, row in sources]
            yield copies

    def _compared(self, copies: np.ndarray, inputs: Sequence[tuple[str, int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """The copies, sorted by `at`, whose source has no result, and those that differ from their source."""
        missing, other = np.ones(len(copies), dtype=bool), np.zeros(len(copies), dtype=bool)
        for start, stop, table in self._windows(inputs):
            low, high = np.searchsorted(copies["at"], (start, stop))
            if low == high or not table.num_rows:
                continue
            part, sources = copies[low:high], self._read(table)
            places = np.searchsorted(sources["row"], part["at"])
            there = np.minimum(places, len(sources) - 1)
            source = sources[there]
            found = source["row"] == part["at"]
            same = (source["error"] == part["error"]) & (
                (source["score"] == part["score"]) | (np.isnan(source["score"]) & np.isnan(part["score"]))
            )
            missing[low:high] = ~found
            other[low:high] = found & ~same & (source["time"] <= part["time"])
        return missing, other

    def _read(self, table: pa.Table) -> np.ndarray:
        read = np.zeros(table.num_rows, dtype=_COPY)
        read["row"] = table.column("row").to_numpy()
        read["score"] = table.column("score").to_numpy()  # null becomes NaN, which no score is
        read["time"] = table.column("finished_at").cast(pa.int64()).to_numpy()
        read["error"] = [self._errors.setdefault(name, len(self._errors)) for name in table.column("error").to_pylist()]
        return read
