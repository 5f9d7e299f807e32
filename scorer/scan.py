"""Scores as polars tables, whether the run is over or goes on. The only part of the spine that knows polars."""

from __future__ import annotations

import polars as pl

from scorer.files import Files
from scorer.lake.places import Places, scan_options
from scorer.store.layout import Layout
from scorer.store.manifest import Manifest, load, no_run


def scan_scores(out: str, join_input: bool = False, *, files: Files | None = None) -> pl.LazyFrame:
    """Everything scored so far in an output folder: each row once, with its newest result.

    Sealed shards come first, and the rows of each shard in order. Where shards differ in the type of a column that is
    kept, it has the smallest type that holds all of them (an integer and a text: text). With `join_input` the input's
    other columns stand beside the scores. Raises SpecError where the folder holds no run, OutputError where run.json
    is damaged.
    """
    files = files or Places()
    layout = Layout(str(out))
    manifest = load(files, layout)
    if manifest is None:
        raise no_run(files, layout)
    # Segments first: a shard that is sealed between the two listings is then seen twice, never not at all.
    segments = layout.segments_to_read(files)
    sealed = {stat.path for stat in files.listing(layout.scores)}
    whole: dict[str, list[str]] = {}  # by the types of what is kept, since polars reads only equal ones as one table
    parts: dict[str, list[str]] = {}  # files of which some may hold the same row
    for shard in manifest.shards:
        path, found = layout.sealed(shard.stem), segments.get(shard.stem, [])
        if path not in sealed:
            parts.setdefault(shard.types, []).extend(layout.segment(segment) for segment in found)
        elif again := [layout.segment(segment) for segment in found if segment.generation]:
            parts.setdefault(shard.types, []).extend([path, *again])
        else:
            whole.setdefault(shard.types, []).append(path)
    frames = [_scan(paths) for paths in whole.values()]
    frames += [
        _scan(paths)
        .sort("shard", "row", "generation")
        .unique(subset=["shard", "row"], keep="last", maintain_order=True)
        for paths in parts.values()
        if paths
    ]
    scores = pl.concat(frames or [_empty()], how="diagonal_relaxed")
    return _joined(scores, manifest) if join_input else scores


def _scan(paths: list[str]) -> pl.LazyFrame:
    options = scan_options(paths[0])
    return pl.scan_parquet(paths, glob=False, missing_columns="insert", extra_columns="ignore", **options)


def _empty() -> pl.LazyFrame:
    from scorer.schema import result_schema

    empty = pl.from_arrow(result_schema().empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.lazy()


def _joined(scores: pl.LazyFrame, manifest: Manifest) -> pl.LazyFrame:
    inputs = [
        pl.scan_parquet(shard.path, glob=False, **scan_options(shard.path))
        .drop("row", "shard", strict=False)  # the run's own columns of these names tell the row
        .with_row_index("row")
        .with_columns(pl.col("row").cast(pl.Int64), pl.lit(shard.path).alias("shard"))
        for shard in manifest.shards
        if shard.rows
    ]
    if not inputs:
        return scores
    joined = pl.concat(inputs, how="diagonal_relaxed")
    names = set(scores.collect_schema().names()) - {"shard", "row"}
    others = [name for name in joined.collect_schema().names() if name not in names]
    return scores.join(joined.select(others), on=["shard", "row"], how="left", maintain_order="left")
