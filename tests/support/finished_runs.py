"""Output folders with any given results, made in one piece: for what reads them, at any number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from scorer.files.local_files import LocalFiles
from scorer.inputs.identity import look
from scorer.output import segments as seg
from scorer.output.layout import Layout, Segment
from scorer.output.manifest import Manifest, save
from scorer.output.schema import COLUMNS, result_schema
from scorer.output.segments import about
from scorer.types import Shard

FINGERPRINT = "0123456789abcdef"
RATING = {
    "judge": {"kind": "rating", "prompt": "Rate.\n{response}\nScore:", "scale": [1, 5]},
    "model": {"name": "judge", "base_url": "http://127.0.0.1:1/v1"},
}
_GIVEN: dict[str, Any] = {
    "reason": None,
    "error": None,
    "error_detail": None,
    "finish_reason": "stop",
    "raw": None,
    "judge_model": "judge",
    "judge": FINGERPRINT,
    "method": "number",
    "samples": 1,
    "prompt_tokens": 10,
    "completion_tokens": 2,
    "cached_tokens": 0,
    "reasoning_tokens": None,
    "tier": None,
    "system_fingerprint": None,
    "cost_microusd": 5,
    "attempts": 1,
    "waited_s": 0.0,
    "answered_s": 1.0,
    "finished_at": 1_700_000_000_000_000,
    "generation": 0,
}
"""What a row has where nothing else is said; any other column of the results is null."""


def finished_run(
    root: Path,
    given: pl.DataFrame,
    results: Mapping[str, Sequence[Any] | pl.Series],
    *,
    name: str = "out",
    keep: Sequence[str] = (),
    spec: Mapping[str, Any] = RATING,
    shards: int = 1,
    pending: int = 0,
    run: str = "0123456789abcdef",
) -> str:
    """The path of `root`/`name`: a run over `root`/in with the columns `given`, and these `results`.

    `results` are `score`, columns of the judge's own, and any result columns that are to differ from usual ones; a row
    without a score has `error`, by default Unreadable. The last `pending` rows of the last shard have no result.
    """
    files, layout = LocalFiles(), Layout(f"{root}/{name}")
    table = _results(given, results, keep)
    (root / "in").mkdir(exist_ok=True)
    size, rest = divmod(given.height, shards)
    found, first = [], 0
    for n in range(shards):
        count = size + (n < rest)
        shard = _shard(root / "in" / f"{n:04d}.parquet", given.slice(first, count))
        mine = table.slice(first, count - (pending if n == shards - 1 else 0))
        path = pa.array([shard.path] * mine.num_rows, pa.string())
        for at, (column, values) in enumerate((("shard", path), ("row", pa.array(range(mine.num_rows), pa.int64())))):
            mine = mine.set_column(at, pa.field(column, values.type, nullable=False), values)
        _write(files, layout, shard, mine.cast(table.schema))
        found.append(shard)
        first += count
    kept = {"output": {"path": layout.out}, "input": {"shards": [f"{root}/in/*.parquet"], "keep": list(keep)}}
    spec, names = {**kept, **spec}, tuple(keep)
    save(files, layout, Manifest(FINGERPRINT, {}, spec, "2026-11-24T00:00:00+00:00", tuple(found), id=run, kept=names))
    return layout.out


def _shard(path: Path, rows: pl.DataFrame) -> Shard:
    if not path.exists():
        rows.write_parquet(path)
    (stat,) = LocalFiles().find([str(path)])
    count, footer, _ = look(LocalFiles(), stat)
    return Shard(str(path), path.stem, stat.size, stat.version, count, footer)


def _results(given: pl.DataFrame, results: Mapping[str, Sequence[Any] | pl.Series], keep: Sequence[str]) -> pa.Table:
    usual = {column.name for column in COLUMNS}
    own = [name for name in results if name not in usual]
    arrow = pl.DataFrame({name: results[name] for name in own}, strict=False).to_arrow().schema
    schema = result_schema(
        kept=[given.to_arrow().schema.field(name).with_nullable(True) for name in keep],
        judge_fields=[field.with_type(_plain(field.type)) for field in arrow],
    )
    rows = given.height
    frame = pl.DataFrame({"score": results["score"]}, schema={"score": pl.Float64}, strict=False)
    missing = pl.when(frame["score"].is_null())
    values = {**dict.fromkeys(usual), **_GIVEN, **results}
    if "error" not in results:
        values["error"] = frame.select(missing.then(pl.lit("Unreadable"))).to_series()
        values["error_detail"] = frame.select(missing.then(pl.lit("no verdict in the reply"))).to_series()
    columns = []
    for field in schema:
        if field.name in ("shard", "row"):
            columns.append(pa.array([""] * rows if field.name == "shard" else range(rows), field.type))
        elif field.name in keep:
            columns.append(given[field.name].to_arrow().cast(field.type))
        else:
            columns.append(_column(values[field.name], rows, field.type))
    return pa.table(columns, schema=schema)


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def _column(values: Any, rows: int, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pl.Series):
        return values.to_arrow().cast(kind)
    if isinstance(values, Sequence) and not isinstance(values, str):
        return pa.array(values, kind)
    return pa.repeat(pa.scalar(values, kind), rows)


def _write(files: LocalFiles, layout: Layout, shard: Shard, rows: pa.Table) -> None:
    whole = rows.num_rows == shard.rows
    segment = Segment(shard.stem, 0, 0, 0, max(0, rows.num_rows - 1), 0, 0)
    path = layout.sealed(shard.stem) if whole else layout.segment(segment)
    with files.create(path) as file:
        seg.write(file, iter([rows]), rows.schema, about(shard, FINGERPRINT, 0, "0123456789abcdef"))


__all__ = ["FINGERPRINT", "RATING", "finished_run"]
