"""A number in [0, 1) for each row, drawn by chance from what names the row: the same in every table and every run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.correlation import Floats
from scorer.analysis.label_keys import key_text

Words = NDArray[np.uint64]


def row_chance(rows: pl.DataFrame, names: Sequence[str], seed: int) -> Floats:
    """The number of each row by its columns `names`, independent for each `seed`.

    Source: SplitMix64 (Steele, Lea and Flood 2014), over whole numbers as they are and over the hash of other values.
    """
    mixed: Words = np.full(len(rows), _hash(f"scorer.label\0{seed}"), dtype=np.uint64)
    for name in names:
        mixed = _mix(mixed * np.uint64(0x9E3779B97F4A7C15) + _values(rows[name]))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def _values(column: pl.Series) -> Words:
    if column.dtype.is_integer():
        whole: Words = column.fill_null(0).cast(pl.Int64).to_numpy().astype(np.int64).view(np.uint64)
        return whole
    texts = (key_text(column) if column.dtype == pl.Binary else column.cast(pl.String)).fill_null("")
    code = texts.rank("dense").cast(pl.Int64) - 1
    distinct = texts.unique().sort()
    hashes = np.array([_hash(text) for text in distinct], dtype=np.uint64)
    of_row: Words = hashes[code.to_numpy()]
    return of_row


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "little")


def _mix(z: Words) -> Words:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = z ^ (z >> np.uint64(31))
    return mixed
