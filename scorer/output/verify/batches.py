"""Verifies OUT/batches: no row is out twice, or out and finished, and the ledger has what is out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from scorer.errors import StorageError
from scorer.files.files import Files
from scorer.output import ledger
from scorer.output import segments as seg
from scorer.output.chunk import Chunk
from scorer.output.chunk_files import ChunkFiles, disagreement
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest
from scorer.output.verify.shard import Fault


def batch_faults(files: Files, layout: Layout, manifest: Manifest) -> Iterator[Fault]:
    """What is wrong with the batches that are out. Rows of a retry are out and have a result: they are left apart."""
    chunks = ChunkFiles(files, layout.batches)
    try:
        found = chunks.found()
        live = [chunk for chunk in found if chunk.live]
        lines = {chunk.nonce: chunks.lines(chunk.nonce) for chunk in live}
    except (StorageError, OSError) as error:
        yield Fault(layout.batches, str(error))
        return
    if said := disagreement(found, ledger.open_batches(files, layout.ledger)):
        yield Fault(layout.batches, said)
    yield from _twice(layout, live, lines)
    if manifest.open_revision is None:
        yield from _finished(files, layout, manifest, live, lines)


def _twice(layout: Layout, live: list[Chunk], lines: dict[str, pa.Table]) -> Iterator[Fault]:
    """Rows that are in two batches of one model."""
    of_model: dict[str, list[Chunk]] = {}
    for chunk in live:
        of_model.setdefault(lines[chunk.nonce]["model"][0].as_py(), []).append(chunk)
    for chunks in of_model.values():
        seen: dict[str, np.ndarray] = {}
        for chunk in chunks:
            for shard, rows in _rows(lines[chunk.nonce]).items():
                both = np.intersect1d(rows, seen.get(shard, rows[:0]))
                if len(both):
                    yield Fault(f"{layout.batches}/{chunk.nonce}", f"row {both[0]} of {shard} is in another batch, too")
                seen[shard] = np.union1d(rows, seen.get(shard, rows[:0]))


def _finished(
    files: Files, layout: Layout, manifest: Manifest, live: list[Chunk], lines: dict[str, pa.Table]
) -> Iterator[Fault]:
    """Rows that are in a batch and have a result."""
    results = layout.result_files(files)
    for shard in manifest.shards:
        out = {chunk.nonce: _rows(lines[chunk.nonce]).get(shard.path) for chunk in live}
        if all(rows is None for rows in out.values()):
            continue
        done = np.zeros(shard.rows, dtype=bool)
        for path in results.paths(shard.stem):
            try:
                with seg.broken(path):
                    done[seg.read_columns(files, path, ["row"]).column("row").to_numpy()] = True
            except seg.Broken:  # reported by the check of the shard
                continue
        for nonce, rows in out.items():
            if rows is not None and done[rows].any():
                row = rows[done[rows]][0]
                yield Fault(f"{layout.batches}/{nonce}", f"row {row} of {shard.path} is in a batch and has a result")


def _rows(lines: pa.Table) -> dict[str, np.ndarray]:
    shards, rows = lines["shard"].combine_chunks(), lines["row"].to_numpy()
    codes = shards.indices.to_numpy()
    return {shard: np.unique(rows[codes == code]) for code, shard in enumerate(shards.dictionary.to_pylist())}
