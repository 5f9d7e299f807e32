"""Which rows of the input belong to a run (`input.where`), and which of these are selected now (`--sample`).

A selection is kept in run.json; the rows that belong, one file a shard, in OUT/selection/. A shard is sealed when all
rows that belong have a result. Narrowing a selection removes no stored row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.files.files import Files
from scorer.files.parquet_batches import read_whole
from scorer.frozen import dataclass
from scorer.output.layout import Layout
from scorer.types import Mask, Shard

BELONGS = "belongs"
_CHUNK = 1 << 20
"""Rows hashed at once."""
_SEED = "scorer.sample"


@dataclass(frozen=True, slots=True)
class Selection:
    """`where` as in the run file, `sample` as on the command line; None where all rows are asked for.

    `stop` is the question that ended the run before all rows were asked: the rows with a result are those selected,
    and `sampled` counts them. `threshold` is the largest hash of a row that the sample takes. `belonging` and `sampled`
    count rows by the stem of their shard, and are empty without `where`, and without `sample` and `stop`. `changed` is
    True once another `where` was in force before: files may hold rows that do not belong.
    """

    where: str | None = None
    sample: str | None = None
    threshold: int | None = None
    belonging: Mapping[str, int] = field(default_factory=dict)
    sampled: Mapping[str, int] = field(default_factory=dict)
    changed: bool = False
    stop: str | None = None

    @property
    def whole(self) -> bool:
        """True where a sealed file holds each row of its shard."""
        return self.where is None and not self.changed

    @property
    def counts_all(self) -> bool:
        """True where all stored rows count in a status."""
        return self.sample is None and (self.where is None or not self.changed)

    @property
    def drawn_sample(self) -> str | None:
        """`sample`; None where it is not known either."""
        return None if self == UNKNOWN else self.sample

    def belonging_of(self, shard: Shard) -> int:
        """The number of rows of a shard that belong to the run."""
        return shard.rows if self.where is None else self.belonging.get(shard.stem, shard.rows)

    def rows_of(self, shard: Shard) -> int:
        """The number of selected rows of a shard."""
        if self.sample is None and self.stop is None:
            return self.belonging_of(shard)
        return self.sampled.get(shard.stem, 0)

    def belongs(self, files: Files, layout: Layout, shard: Shard) -> Mask:
        """The rows of a shard that belong to the run. Raises one of segments.DAMAGE where their file is damaged."""
        if self.where is None:
            return np.ones(shard.rows, dtype=bool)
        return read_belonging(files, layout, shard, self.where)

    def asked(self, shard: Shard, belongs: Mask) -> Mask:
        """The selected rows among `belongs`."""
        if self.threshold is None:
            return belongs
        if self.threshold < 0:
            return np.zeros(shard.rows, dtype=bool)
        asked = belongs.copy()
        for first in range(0, shard.rows, _CHUNK):
            stop = min(shard.rows, first + _CHUNK)
            asked[first:stop] &= hashes(shard, first, stop) <= np.uint64(self.threshold)
        return asked

    def counted(self, files: Files, layout: Layout, shard: Shard) -> Mask | None:
        """The rows that count in a status; None where all stored rows count. Raises as `belongs`."""
        if self.counts_all:
            return None
        return self.asked(shard, self.belongs(files, layout, shard))


ALL_ROWS = Selection()
"""Every row of every shard."""
UNKNOWN = Selection(sample="unknown", changed=True)
"""The selection where run.json was lost: sealed files may lack rows."""


def hashes(shard: Shard, first: int, stop: int) -> npt.NDArray[np.uint64]:
    """A 64-bit number for each row of a range, always the same for the same shard and row: SplitMix64 (Steele 2014)."""
    seed = int.from_bytes(hashlib.sha256(f"{_SEED}\0{shard.stem}".encode()).digest()[:8], "little")
    with np.errstate(over="ignore"):
        mixed = (np.arange(first, stop, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed += np.uint64(seed)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


# --- OUT/selection: the rows that belong ------------------------------------------------------------------------------


def belonging_file(layout: Layout, shard: Shard, where: str) -> str:
    """The file that says which rows of a shard belong. Its name changes with the condition and with the shard."""
    digest = hashlib.sha256(f"{where}\0{shard.footer}\0{shard.rows}".encode()).hexdigest()[:16]
    return f"{layout.selection}/{shard.stem}-{digest}.parquet"


def read_belonging(files: Files, layout: Layout, shard: Shard, where: str) -> Mask:
    """The rows that belong. Raises one of segments.DAMAGE where the file is gone or damaged."""
    with files.open(belonging_file(layout, shard, where)) as file:
        table = read_whole(file, [BELONGS])
    if table.num_rows != shard.rows:
        raise ValueError(f"it has {table.num_rows} rows, and the shard {shard.rows}")
    mask: Mask = table.column(BELONGS).to_numpy().astype(bool)
    return mask


def write_belonging(files: Files, layout: Layout, shard: Shard, where: str, belongs: Mask) -> None:
    """Writes which rows of a shard belong, whole or not at all."""
    table = pa.table({BELONGS: pa.array(belongs)})
    with files.create(belonging_file(layout, shard, where)) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def drop_other_belonging(files: Files, layout: Layout, shards: Sequence[Shard], where: str | None) -> None:
    """Deletes the files of other conditions."""
    kept = {belonging_file(layout, shard, where) for shard in shards} if where is not None else set()
    for stat in files.listing(layout.selection):
        if stat.path not in kept:
            files.delete(stat.path)
