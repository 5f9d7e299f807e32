"""The input rows of many shards as one polars lazy frame, each with its key: shard and row.

Parquet files of equal columns are one scan. A scan for each of 1,440 files took sixty times its CPU, a union of 5,760
took 91 s (docs/project/log.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from scorer.files.credentials import scan_options
from scorer.inputs.formats import is_parquet
from scorer.inputs.formats.folder_columns import folder_columns
from scorer.output.scan_input import scan_input
from scorer.types import Shard

_ROW, _SHARD, _FILE = "\0row", "\0shard", "\0file"
INPUT_KEY = (_SHARD, _ROW)
"""The columns of `scan_inputs` that name a row."""


def scan_inputs(shards: Sequence[Shard]) -> pl.LazyFrame | None:
    """The input rows of these shards and the columns `INPUT_KEY`; None where there are none.

    Where shards differ in their columns, one that a shard lacks is null for its rows, and one of several types has the
    smallest type that holds all of them; where there is none, it is left out. Raises OSError or one of polars' errors
    where a file cannot be read.
    """
    alike: dict[tuple[tuple[str, pl.DataType], ...], dict[str, Shard]] = {}
    scans = []
    for shard in shards:
        if not shard.rows:
            continue
        scan = scan_input(shard)
        group = alike.setdefault(tuple(scan.collect_schema().items()), {}) if _is_plain(shard) else None
        if group is None or shard.place in group:
            scans.append(
                scan.with_row_index(_ROW).with_columns(pl.col(_ROW).cast(pl.Int64), pl.lit(shard.path).alias(_SHARD))
            )
        else:
            group[shard.place] = shard
    scans += [_scan_alike(group) for group in alike.values() if group]
    return _united(scans) if scans else None


def _united(scans: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """The rows of all scans, without the columns whose types no type holds, as times with and without a time zone."""
    united = pl.concat(scans, how="diagonal_relaxed")
    try:
        united.collect_schema()
    except pl.exceptions.SchemaError:
        types: dict[str, dict[pl.DataType, None]] = {}
        for scan in scans:
            for name, kind in scan.collect_schema().items():
                types.setdefault(name, {})[kind] = None
        lacking = [name for name, several in types.items() if not _has_common(list(several))]
        united = pl.concat([scan.drop(lacking, strict=False) for scan in scans], how="diagonal_relaxed")
    return united


def _has_common(types: Sequence[pl.DataType]) -> bool:
    try:
        pl.concat([pl.DataFrame(schema={"x": kind}) for kind in types], how="diagonal_relaxed")
    except pl.exceptions.SchemaError:
        return False
    return True


def _is_plain(shard: Shard) -> bool:
    """True for a Parquet file that polars reads by its path alone."""
    return is_parquet(shard.path) and not shard.place.startswith("hf://") and not folder_columns(shard.path)


def _scan_alike(shards: Mapping[str, Shard]) -> pl.LazyFrame:
    """The rows of Parquet files of equal columns, by their places."""
    places = list(shards)
    first_rows, rows = [], 0
    for shard in shards.values():
        first_rows.append(rows)
        rows += shard.rows
    paths = [shard.path for shard in shards.values()]
    frame = pl.scan_parquet(
        places, glob=False, row_index_name=_ROW, include_file_paths=_FILE, **scan_options(places[0])
    )
    return frame.with_columns(
        pl.col(_ROW).cast(pl.Int64) - pl.col(_FILE).replace_strict(places, first_rows, return_dtype=pl.Int64),
        pl.col(_FILE).replace_strict(places, paths, return_dtype=pl.String).alias(_SHARD),
    ).drop(_FILE)
