"""Scores as polars lazy frames, of finished and of running jobs. Imports polars, as scan_input does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl

from scorer.config.out_folder import folder_of
from scorer.files.credentials import scan_options
from scorer.files.files import Files
from scorer.files.router import AnyFiles
from scorer.output.folder_names import folder_names
from scorer.output.layout import Layout
from scorer.output.located import look_for
from scorer.output.manifest import Manifest, load, no_run
from scorer.output.scan_input import scan_input
from scorer.output.scan_inputs import INPUT_KEY, scan_inputs


def scan_scores(
    out: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
    join_input: bool = False,
    *,
    files: Files | None = None,
) -> pl.LazyFrame:
    """Everything scored so far in an output folder: each row once, with its newest result.

    `out` is the output folder or the run file. The columns begin with id, kept columns, scores, reason and error; with
    `join_input` the input's other columns come last. One whose name a result column has is `input_<name>`. They are
    null for rows whose shard cannot be found, and left out where no shard can be, or where no type holds those of all
    shards. Sealed shards come first, and the rows of each shard are in order. Where shards differ in the type of a kept
    column, it has the smallest type that holds all of them (of an integer and a text: text). In files of an earlier
    version the judge's `model` is `judge_model`, and a column that they lack is null.

    Of several folders, a list or a dict by name, the result columns are `<name>.<column>` in one table, null where a
    folder has no result for the row (`scorer.output.scan_folders`).
    Raises SpecError where the folder holds no run, OutputError where run.json is damaged.
    """
    if not isinstance(out, str | Path):
        from scorer.output.scan_folders import scan_folders

        return scan_folders(folder_names(out), join_input, files=files)
    files = files or AnyFiles()
    layout = Layout(folder_of(str(out)))
    manifest = load(files, layout)
    if manifest is None:
        raise no_run(files, layout)
    scan = scan_run(files, layout, manifest, join_input)
    names = scan.collect_schema().names()
    return scan.select(first_to_read(names))


def scan_run(files: Files, layout: Layout, manifest: Manifest, join_input: bool = False) -> pl.LazyFrame:
    """`scan_scores` of one run for the shards that `manifest` lists, which may be a part of the run's."""
    results = layout.result_files(files)
    whole: dict[str, list[str]] = {}  # by the types of what is kept, since polars reads only equal ones as one table
    parts: dict[str, list[str]] = {}  # files of which some may hold the same row
    for shard in manifest.shards:
        paths = results.paths(shard.stem)
        if shard.stem not in results.sealed:
            parts.setdefault(shard.types, []).extend(paths)
        elif again := [layout.segment(one) for one in results.segments.get(shard.stem, ()) if one.generation]:
            parts.setdefault(shard.types, []).extend([*paths, *again])
        else:
            whole.setdefault(shard.types, []).extend(paths)
    frames = [_scan(paths) for paths in whole.values()]
    frames += [
        _scan(paths)
        .sort("shard", "row", "generation")
        .unique(subset=["shard", "row"], keep="last", maintain_order=True)
        for paths in parts.values()
        if paths
    ]
    scores = pl.concat(frames or [_empty()], how="diagonal_relaxed")
    return _joined(scores, manifest, layout.out, files) if join_input else scores


def _scan(paths: list[str]) -> pl.LazyFrame:
    """The rows of files that may be of several versions: today's columns, null where a file is too old for them."""
    options = scan_options(paths[0])
    first = pl.scan_parquet(paths[0], glob=False, **options).collect_schema()
    columns = {**first, **{name: kind for name, kind in _empty().collect_schema().items() if name not in first}}
    kept = "model" in first and "judge_model" in first  # a column of the input, in files of every version
    if not kept:
        columns["model"] = pl.String()
    frame = pl.scan_parquet(
        paths, glob=False, schema=columns, missing_columns="insert", extra_columns="ignore", **options
    )
    if kept:
        return frame
    # Before format 2 this was the judge's model, which no newer file calls so.
    names = dict.fromkeys("judge_model" if name == "model" else name for name in columns)
    return frame.with_columns(pl.coalesce("judge_model", "model").alias("judge_model")).select(list(names))


def _empty() -> pl.LazyFrame:
    from scorer.output.schema import (
        result_schema,
    )

    empty = pl.from_arrow(result_schema().empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.lazy()


def _joined(scores: pl.LazyFrame, manifest: Manifest, out: str, files: Files) -> pl.LazyFrame:
    found = [look_for(files, shard, manifest, out) for shard in manifest.shards]
    inputs = scan_inputs([one.shard for one in found if one.alike])
    if inputs is None:
        return scores
    given = [name for name in inputs.collect_schema().names() if name not in INPUT_KEY]
    names = joined_names(scores.collect_schema().names(), given, manifest)
    others = inputs.select(*INPUT_KEY, *(pl.col(name).alias(shown) for name, shown in names.items()))
    return scores.join(
        others, left_on=["shard", "row"], right_on=INPUT_KEY, how="left", maintain_order="left", coalesce=True
    ).drop(INPUT_KEY, strict=False)


def beside(out: str, manifest: Manifest) -> dict[str, str]:
    """The names under which the input's columns stand beside the scores of `out`; {} where no shard can be read."""
    results = scan_run(AnyFiles(), Layout(out), manifest).collect_schema().names()
    for shard in manifest.shards:
        try:
            scan = scan_input(look_for(AnyFiles(), shard, manifest, out).shard)
            return joined_names(results, scan.collect_schema().names(), manifest)
        except (pl.exceptions.PolarsError, OSError):
            continue
    return {}


def joined_names(results: Sequence[str], given: Sequence[str], manifest: Manifest) -> dict[str, str]:
    """Under which name each of the input's columns `given` stands beside the result columns.

    Its own, or `input_<name>` where a result column or another column of the input has that. What the results hold a
    copy of, by `input.id` and `input.keep`, is left out.
    """
    from scorer.output.schema import kept_names

    copies = set(kept_names(results))
    if manifest.spec.get("input", {}).get("id") not in ("id", None):
        copies.discard("id")  # it is the copy of another column
    return input_names(results, given, copies)


def first_to_read(names: Sequence[str]) -> list[str]:
    """The columns of a result table in an order to read: what names a row, what was scored and why, then the rest."""
    from scorer.output.schema import COLUMNS, METRIC, judge_names, kept_names

    others = {column.name for column in COLUMNS}
    own = ["score", *judge_names(names), "reason", "error", "error_detail"]
    metrics = [name for name in names if name.startswith(METRIC)]
    kept = kept_names(names)
    first = [*kept, *own, *(name for name in metrics if name not in kept)]
    inputs = [name for name in names if name not in others and name not in first]
    first += inputs
    return [*first, *(name for name in names if name not in first)]


def input_names(results: Sequence[str], given: Sequence[str], copies: Collection[str]) -> dict[str, str]:
    """`joined_names`, where the results hold copies of the columns `copies`."""
    others = [name for name in given if name not in copies]
    taken = {*results, *others}
    names = {}
    for name in others:
        shown = name
        if name in results:
            while shown in taken:
                shown = f"input_{shown}"
            taken.add(shown)
        names[name] = shown
    return names
