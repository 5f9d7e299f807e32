"""A pseudo-random number for each row, always the same for the same shard, row and seed, as a polars expression."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import polars as pl

from scorer.report.run_table import RunTable


def row_hash(table: RunTable, purpose: str, seed: int) -> pl.Expr:
    """64 bits for each row, independent for each `purpose` and `seed`. Source: SplitMix64 (Steele et al. 2014)."""
    seeds = {}
    for path in table.shards:
        digest = hashlib.sha256(f"scorer.{purpose}\0{seed}\0{path}".encode("utf-8", "surrogateescape")).digest()
        seeds[path] = int.from_bytes(digest[:8], "little")
    mixed = pl.col("row").cast(pl.UInt64) * _u64(0x9E3779B97F4A7C15) + _by_shard(seeds, pl.UInt64())
    mixed = (mixed ^ (mixed // _u64(2**30))) * _u64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed // _u64(2**27))) * _u64(0x94D049BB133111EB)
    return mixed ^ (mixed // _u64(2**31))


def row_share(table: RunTable) -> pl.Expr:
    """A pseudo-random number from 0 to 1 for each row, the same at every call."""
    return row_hash(table, "share", 0).cast(pl.Float64) / 2.0**64


def shard_numbers(table: RunTable) -> pl.Expr:
    """The number of each row's shard, in the order of run.json."""
    return _by_shard(table.numbers, pl.Int64())


def _by_shard(values: Mapping[str, int], kind: pl.DataType) -> pl.Expr:
    if len(values) == 1:
        return pl.lit(next(iter(values.values())), kind)
    return pl.col("shard").replace_strict(list(values), pl.Series(list(values.values()), dtype=kind), default=None)


def _u64(value: int) -> pl.Expr:
    return pl.lit(value, pl.UInt64)
