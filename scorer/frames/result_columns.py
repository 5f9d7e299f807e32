"""The result columns beside the columns of a frame: their names, and their values so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from scorer.build.plan import RunPlan
from scorer.frames.input_folder import shard_path
from scorer.output.scan import scan_scores
from scorer.output.schema import (
    result_schema,
)


def result_types(planned: RunPlan) -> pl.Schema:
    """The result columns of a plan."""
    spec = planned.spec
    schema = result_schema(judge_fields=planned.judge.fields, metrics=spec.metrics.names, copies=spec.judge.dedupe)
    empty = pl.from_arrow(schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.drop("shard", "row").schema


def result_names(frame: pl.DataFrame, results: Sequence[str]) -> dict[str, str]:
    """The name of each result column beside the frame's columns."""
    return {name: f"judge_{name}" if name in frame.columns else name for name in results}


def with_results(frame: pl.DataFrame, folder: Path, planned: RunPlan) -> pl.DataFrame:
    """The frame with what is scored so far."""
    results = result_types(planned)
    numbers: dict[str, int] = {}
    held = 0
    while (path := shard_path(folder, len(numbers))).exists():
        numbers[path.name] = held
        held += pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    scores = scan_scores(str(folder)).collect()
    row = pl.col("shard").str.replace(r"^.*[/\\]", "").replace_strict(numbers, return_dtype=pl.Int64) + pl.col("row")
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in results.items() if name not in scores.columns]
    scores = scores.with_columns(row.alias(_ROW), *missing).select(_ROW, *results)
    names = result_names(frame, results.names())
    numbered = pl.DataFrame({_ROW: pl.int_range(frame.height, dtype=pl.Int64, eager=True)})
    found = numbered.join(scores, on=_ROW, how="left", maintain_order="left").drop(_ROW).rename(names)
    return pl.concat([frame, found], how="horizontal")


_ROW = "\0row"
