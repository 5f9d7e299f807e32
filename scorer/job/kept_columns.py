"""Changes the kept columns of stored results where `input.keep` changed: each file from itself and the input.

Every file is replaced whole, by a rename; killed at any moment, the next start goes on with the files that are left.
Scores, `generation` and `finished_at` stay. A published table sees a newer version of each sealed shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.build.plan import RunPlan, schema_of
from scorer.errors import Damaged, InputError
from scorer.files.arrow_take import take
from scorer.files.files import Files
from scorer.inputs.column_windows import ColumnWindows
from scorer.inputs.identity import schema_now
from scorer.inputs.one_table import uncommon_types
from scorer.inputs.shards import kept_types, missing_columns
from scorer.job.start import stored_spec
from scorer.output import segments as seg
from scorer.output.damage import unreadable
from scorer.output.layout import Layout, shown
from scorer.output.manifest import Manifest, save
from scorer.output.merge import merge
from scorer.output.schema import kept_names, modern
from scorer.types import Shard


def keep_columns(plan: RunPlan, files: Files, layout: Layout, manifest: Manifest) -> Manifest:
    """The manifest once every stored result has the columns of `input.keep`, and no other of the input's.

    Blocking. Raises OutputError where the input is gone or changed, or a result file is damaged, InputError where the
    input lacks a column or cannot be read, each before that file is touched. While files are replaced, `kept` of
    run.json is null.
    """
    wanted = tuple(plan.spec.input.keep)
    stored = [(shard, paths) for shard in manifest.shards if (paths := _files_of(files, layout, manifest, shard))]
    schemas = _checked(plan, files, manifest.shards)
    edition = manifest.edition + bool(stored)
    manifest = replace(manifest, spec=stored_spec(plan), edition=edition)
    if stored:
        save(files, layout, replace(manifest, kept=None))
    for shard, paths in stored:
        schema = schema_of(plan, files, shard)
        for path in paths:
            _rewrite(plan, files, layout, shard, path, schema, edition)
    types = {path: kept_types(schema, plan.columns.kept) for path, schema in schemas.items()}
    shards = tuple(replace(shard, types=types.get(shard.path, shard.types)) for shard in manifest.shards)
    changed = replace(manifest, shards=shards, kept=wanted)
    save(files, layout, changed)
    return changed


def _files_of(files: Files, layout: Layout, manifest: Manifest, shard: Shard) -> list[str]:
    """The result files of a shard that count: its sealed file, and the segments that it does not hide."""
    segments = shown(layout.segments_of(files, shard.stem))[0]
    sealed = [layout.sealed(shard.stem)] if files.find([layout.sealed(shard.stem)]) else []
    if sealed:
        open_generation = manifest.open_revision.generation if manifest.open_revision is not None else None
        segments = [segment for segment in segments if segment.generation == open_generation]
    return [*sealed, *(layout.segment(segment) for segment in segments)]


def _checked(plan: RunPlan, files: Files, shards: Sequence[Shard]) -> dict[str, pa.Schema]:
    """The schemas of the input by path. Raises InputError for every column that is missing somewhere."""
    schemas, problems = {}, []
    for shard in shards:
        schemas[shard.path] = schema = schema_now(files, shard)
        if missing := missing_columns(schema, plan.columns.kept):
            problems.append(
                f"{shard.path} has no column {', '.join(map(repr, missing))}, which input.keep asks for. It has: "
                f"{', '.join(schema.names[:20])}."
            )
    if problems := problems or uncommon_types(schemas, plan.columns.kept, schemas):
        raise InputError("\n".join(problems))
    return schemas


def _rewrite(
    plan: RunPlan, files: Files, layout: Layout, shard: Shard, path: str, schema: pa.Schema, edition: int
) -> None:
    """Replaces one result file, unless it has the columns already."""
    try:
        with seg.broken(path):
            about, counts = seg.read_about(files, path)
            with files.open(path) as file:
                stored = modern(pq.read_schema(file).remove_metadata())
        if kept_names(stored.names) == kept_names(schema.names):
            return
        inputs = [(path, 0, shard.rows - 1)] if counts.rows else []
        held = pa.schema([field for field in stored if field.name in schema.names])
        new = [name for name in plan.spec.input.keep if name not in held.names]
        with ColumnWindows(files, shard, new) as given, files.create(path) as file:
            tables = seg.grouped(_with_columns(merge(files, inputs, held, some=True), given, schema, shard))
            seg.write(file, tables, schema, {**about, "edition": edition})
    except seg.Broken as error:
        raise unreadable(files, layout, error) from error


def _with_columns(
    windows: Iterator[tuple[int, int, pa.Table]], given: ColumnWindows, schema: pa.Schema, shard: Shard
) -> Iterator[pa.Table]:
    """The windows with the columns that they lack. Raises InputError where a scored row cannot be read any more."""
    for start, stop, table in windows:
        if not table.num_rows:
            continue
        rows = table.column("row").to_numpy()
        values = take(given.window(start, stop), pa.array(rows - start))
        import pyarrow.compute as pc

        readable = pc.fill_null(pc.not_equal(table.column("error"), Damaged.__name__), True).to_numpy()
        if any(((rows >= first) & (rows < end) & readable).any() for first, end in given.lost):
            raise InputError(
                f"{shard.path} cannot be read to copy {', '.join(values.column_names)} for rows {start} to {stop - 1}"
                f"{f' ({given.problem})' if given.problem else ''}. Restore it, or set input.keep to what it was."
            )
        columns = [
            table.column(field.name) if field.name in table.schema.names else _as(values.column(field.name), field.type)
            for field in schema
        ]
        yield pa.Table.from_arrays(columns, schema=schema)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The values of the input under the result's type; a text that is no UTF-8 becomes null, as in a run."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        valid = [_text(scalar) for scalar in column]
        return pa.chunked_array([pa.array(valid, kind)])
    return column.cast(kind)


def _text(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return None
