"""The rows of one or several runs over the same input, some shards at a time: a join with the input of one is small."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import polars as pl
from polars.io.plugins import register_io_source

from scorer.files.files import Files
from scorer.files.router import AnyFiles
from scorer.output.layout import Layout
from scorer.output.scan import first_to_read, scan_run
from scorer.output.scan_folders import Run, load_runs, scan_runs

PART_ROWS, PART_SHARDS = 100_000, 100
"""A part of a table has about so many rows, or one shard; and no more shards, for polars has a thread for each."""
BATCH_ROWS = 50_000


def scan_some(runs: Sequence[Run], files: Files, paths: Collection[str] | None, *, joined: bool) -> pl.LazyFrame:
    """The rows of a single run, whose name is "", or of several, in shards with these paths in the table."""
    if paths is not None:
        runs = [_restricted(run, paths) for run in runs]
    if len(runs) == 1 and not runs[0].name:
        return scan_run(files, Layout(runs[0].out), runs[0].manifest, joined)
    return scan_runs(runs, files, joined)


def scan_parts(
    runs: Sequence[Run], files: Files, columns: Collection[str], schema: pl.Schema, *, joined: bool
) -> Iterator[tuple[frozenset[str], pl.LazyFrame]]:
    """The rows of some shards at a time, with their paths in the table; `columns` have the types of `schema`.

    A column that a part lacks is null there.
    """
    for paths in _groups(runs):
        frame = scan_some(runs, files, paths, joined=joined)
        own = frame.collect_schema()
        yield (
            paths,
            frame.with_columns(
                pl.col(name).cast(kind) if name in own else pl.lit(None, kind).alias(name)
                for name in columns
                if own.get(name) != (kind := schema[name])
            ),
        )


def scan_bounded(out: str | dict[str, str]) -> pl.LazyFrame:
    """`scan_scores(out, join_input=True)`, read some shards at a time, and joined only for columns of the input.

    The rows come in the order of the shards. Raises SpecError and OutputError as `scan_scores` does.
    """
    files = AnyFiles()
    runs = load_runs({"": out} if isinstance(out, str) else out, files)
    schema = scan_some(runs, files, None, joined=True).collect_schema()
    names = first_to_read(schema.names()) if isinstance(out, str) else schema.names()
    results = frozenset(scan_some(runs, files, None, joined=False).collect_schema().names())

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        wanted = names if with_columns is None else with_columns
        read = {*wanted, *(predicate.meta.root_names() if predicate is not None else ())}
        left = n_rows
        for _, frame in scan_parts(runs, files, read, schema, joined=not results.issuperset(read)):
            rows = frame if predicate is None else frame.filter(predicate)
            for found in rows.select(wanted).collect(engine="streaming").iter_slices(batch_size or BATCH_ROWS):
                part = found if left is None else found.head(left)
                left = None if left is None else left - part.height
                yield part
                if left == 0:
                    return

    return register_io_source(read, schema=pl.Schema({name: schema[name] for name in names}), is_pure=True)


def _groups(runs: Sequence[Run]) -> Iterator[frozenset[str]]:
    """Paths of shards in the table, as many as have some rows together."""
    sizes = {run.paths[shard.path]: shard.rows for run in runs for shard in run.manifest.shards}
    group: list[str] = []
    rows = 0
    for path in dict.fromkeys(path for run in runs for path in run.paths.values()):
        group.append(path)
        rows += sizes[path]
        if len(group) >= PART_SHARDS or rows >= PART_ROWS:
            yield frozenset(group)
            group, rows = [], 0
    if group or not sizes:
        yield frozenset(group)


def _restricted(run: Run, paths: Collection[str]) -> Run:
    """A run with those of its shards whose path in the table is among `paths`."""
    shards = tuple(shard for shard in run.manifest.shards if run.paths[shard.path] in paths)
    return replace(run, manifest=replace(run.manifest, shards=shards))
