"""Selects the rows of a run before it starts: evaluates `input.where`, draws `--sample`, opens sealed shards again.

Blocking. Reads only the columns that the condition names, a batch at a time. Every step can be killed and repeated:
run.json is written last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from scorer.build.plan import RunPlan
from scorer.files.files import Files, copy
from scorer.frozen import replace
from scorer.inputs.pieces import Batch, ReadStalled, Rows
from scorer.inputs.sample import Sample, parse_sample
from scorer.inputs.source import Columns, Reader
from scorer.inputs.where import Where
from scorer.output import segments as seg
from scorer.output.damage import unreadable
from scorer.output.layout import Layout, Segment
from scorer.output.manifest import Manifest, save
from scorer.output.selection import (
    UNKNOWN,
    Selection,
    drop_other_belonging,
    hashes,
    read_belonging,
    write_belonging,
)
from scorer.types import Mask, Shard

_HASHED = 1 << 20
"""Rows whose hashes are in memory at once."""
_BINS = 16
"""Bits of a hash that a sample's threshold is first looked for by."""


def select(plan: RunPlan, files: Files, layout: Layout, manifest: Manifest, sample: str | None) -> Manifest:
    """The manifest with the selection that this start asks for; run.json is written where it changed.

    `sample` is as on the command line; with [stop] it is left to that, whose order of items has first rows of its own.
    Rows that a wider condition brings into a sealed shard open it again: its file becomes a segment. Raises InputError
    where the condition does not fit a shard, SpecError for a wrong sample, OutputError where a sealed file cannot be
    read, StorageError.
    """
    before, where = manifest.selection, plan.where.condition if plan.where is not None else None
    drawn = parse_sample(sample) if sample is not None and plan.spec.stop is None else None
    selection = Selection(where, changed=before.changed or (before.where != where and bool(manifest.shards)))
    masks = _Masks(partial(_belonging, files, layout, plan.where) if plan.where is not None else None)
    selection = replace(selection, belonging=masks.counts(manifest.shards))
    if before.where != where or before == UNKNOWN:
        _open_again(files, layout, manifest, selection)
    if drawn is not None:
        selection = _drawn(selection, manifest.shards, masks.of, drawn)
    selected = replace(manifest, selection=selection)
    if selected != manifest:
        save(files, layout, selected)
    drop_other_belonging(files, layout, manifest.shards, where)
    return selected


class Asked:
    """The rows that a run would ask for, found without writing anything. An eighth of a byte a row is held.

    Raises InputError where the condition does not fit a shard, SpecError for a wrong sample.
    """

    def __init__(self, plan: RunPlan, files: Files, shards: Sequence[Shard], sample: str | None) -> None:
        self._masks = _Masks(partial(evaluate, files, where=plan.where) if plan.where is not None else None)
        drawn = parse_sample(sample) if sample is not None else None
        where = plan.where.condition if plan.where is not None else None
        selection = Selection(where, belonging=self._masks.counts(shards))
        if drawn is not None:
            selection = _drawn(selection, shards, self._masks.of, drawn)
        self._selection = selection
        self.rows = sum(selection.rows_of(shard) for shard in shards)

    def of(self, shard: Shard) -> Mask | None:
        """The rows of a shard; None for all of them."""
        if self._selection.where is None and self._selection.sample is None:
            return None
        return self._selection.asked(shard, self._masks.of(shard))


class _Masks:
    """The rows of each shard that belong: found once, then held in an eighth of a byte a row. All without `find`."""

    def __init__(self, find: Callable[[Shard], Mask] | None) -> None:
        self._find = find
        self._packed: dict[str, npt.NDArray[np.uint8]] = {}

    def of(self, shard: Shard) -> Mask:
        if self._find is None:
            return np.ones(shard.rows, dtype=bool)
        if shard.stem not in self._packed:
            self._packed[shard.stem] = np.packbits(self._find(shard))
        return np.unpackbits(self._packed[shard.stem], count=shard.rows).astype(bool)

    def counts(self, shards: Sequence[Shard]) -> dict[str, int]:
        """Rows that belong, by the stem of their shard; empty where all do."""
        return {shard.stem: int(self.of(shard).sum()) for shard in shards} if self._find is not None else {}


# --- input.where ------------------------------------------------------------------------------------------------------


def evaluate(files: Files, shard: Shard, where: Where) -> Mask:
    """The rows of a shard for which the condition is true. A row that cannot be read belongs: it becomes `Damaged`."""
    belongs: Mask = np.zeros(shard.rows, dtype=bool)
    reader = Reader(files, Columns(where.columns, (), ()), count=lambda texts: [0] * len(texts), constant_tokens=0)
    for piece in reader.read_shard(shard, None):
        if isinstance(piece, ReadStalled):
            time.sleep(piece.pause_s)
        else:
            belongs[piece.first : piece.stop] = (
                _mask(where, piece.rows, shard.path) if isinstance(piece, Batch) else True
            )
    return belongs


def _mask(where: Where, rows: Rows, path: str) -> Mask:
    """Where the condition is true, and where a row cannot be judged: it becomes `BadRow`."""
    bad: dict[int, str] = {}
    belongs = where.mask(rows.own(where.columns, bad), path)
    bad.update((place, problem) for place, problem in enumerate(rows.problems) if problem is not None)
    belongs[list(bad)] = True
    return belongs


def _belonging(files: Files, layout: Layout, where: Where, shard: Shard) -> Mask:
    """The same from OUT/selection, where an earlier start wrote it there; else evaluated and written."""
    try:
        return read_belonging(files, layout, shard, where.condition)
    except seg.DAMAGE:
        belongs = evaluate(files, shard, where)
        write_belonging(files, layout, shard, where.condition, belongs)
        return belongs


def _open_again(files: Files, layout: Layout, manifest: Manifest, selection: Selection) -> None:
    """Makes a segment of each sealed file that lacks rows which belong by now."""
    sealed = {stat.path for stat in files.listing(layout.scores)}
    for shard in manifest.shards:
        path = layout.sealed(shard.stem)
        if path not in sealed:
            continue
        try:
            with seg.broken(path):
                about, counts = seg.read_about(files, path)
                if counts.rows == shard.rows:
                    continue
                rows = seg.read_columns(files, path, ["row"]).column("row").to_numpy()
        except seg.Broken as error:
            raise unreadable(files, layout, error) from error
        belongs = selection.belongs(files, layout, shard)
        belongs[rows] = False
        if not belongs.any():
            continue
        revision = manifest.open_revision
        for segment in layout.segments_of(files, shard.stem):
            if revision is None or segment.generation != revision.generation:
                files.delete(layout.segment(segment))  # the sealed file holds its rows
        if len(rows):
            first, last = int(rows[0]), int(rows[-1])
            copy(files, path, layout.segment(Segment(shard.stem, about["generation"], 0, first, last, 0, 0)))
        files.delete(path)


# --- --sample ---------------------------------------------------------------------------------------------------------


def _drawn(
    selection: Selection, shards: Sequence[Shard], belongs: Callable[[Shard], Mask], sample: Sample
) -> Selection:
    """The selection of those rows that have the smallest hashes, as many as the sample takes."""

    def numbers() -> Iterator[npt.NDArray[np.uint64]]:
        for shard in shards:
            mask = belongs(shard)
            for first in range(0, shard.rows, _HASHED):
                stop = min(shard.rows, first + _HASHED)
                yield hashes(shard, first, stop)[mask[first:stop]]

    threshold = _nth_smallest(numbers, sample.of(sum(selection.belonging_of(shard) for shard in shards)))
    drawn = replace(selection, sample=sample.text, threshold=threshold)
    counts = ((shard.stem, int(drawn.asked(shard, belongs(shard)).sum())) for shard in shards)
    return replace(drawn, sampled={stem: count for stem, count in counts if count})


def _nth_smallest(numbers: Callable[[], Iterator[npt.NDArray[np.uint64]]], wanted: int) -> int:
    """The smallest number that is not below `wanted` of them; memory is that of 65,536 counts and one bin of them.

    `numbers` gives all of them, in pieces, each time it is called. -1 where nothing is wanted.
    """
    if not wanted:
        return -1
    counts = np.zeros(1 << _BINS, dtype=np.int64)
    for piece in numbers():
        counts += np.bincount((piece >> np.uint64(64 - _BINS)).astype(np.int64), minlength=1 << _BINS)
    found = int(np.searchsorted(np.cumsum(counts), wanted))
    below = int(counts[:found].sum())
    within = np.concatenate([piece[piece >> np.uint64(64 - _BINS) == found] for piece in numbers()])
    return int(np.partition(within, wanted - below - 1)[wanted - below - 1])
