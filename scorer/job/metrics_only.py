"""`scorer metrics`: writes the rows of files with a column for each metric, in one file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from scorer.errors import InputError, SpecError
from scorer.files.files import Files
from scorer.files.router import AnyFiles
from scorer.files.table_file import check_table_file, table_writer
from scorer.frozen import dataclass
from scorer.inputs.column_paths import problem
from scorer.inputs.formats import format_of
from scorer.inputs.formats.protocol import DAMAGE, Wanted
from scorer.inputs.identity import finished
from scorer.inputs.pieces import Batch, Rows
from scorer.inputs.read_retry import short
from scorer.metrics import Options, problems
from scorer.metrics.pool import Pool
from scorer.metrics.references import Reference, listed

GROUP_ROWS = 8192
GROUP_BYTES = 32 * 1024 * 1024
"""Limits of one output row group, in rows and in bytes. One group at a time is in memory and at the workers."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of the written file. `scored` counts the non-null values of each metric; `mean` is None without any."""

    rows: int
    scored: dict[str, int]
    mean: dict[str, float | None]


def score_files(
    inputs: Sequence[str],
    out: str,
    names: Sequence[str],
    response: str,
    reference: str | None = None,
    *,
    options: Options | None = None,
    workers: int | None = None,
    files: Files | None = None,
) -> Summary:
    """Writes all rows of the input files, in order of path, with all columns and a float64 column `metric_<name>` each.

    `inputs` are paths, folders and globs. `response` is a column of texts, `reference` one of texts or of lists of
    texts; each may be a path into a column, such as `messages[-1].content`. `options` are those of each metric that has
    some, by its name. `out` is written whole or not at all, as Parquet, CSV or JSON Lines by the end of its name.
    `workers` is by default the number of cores.

    Raises SpecError for wrong arguments, InputError for files that cannot be read, StorageError where `out` cannot be
    written.
    """
    files = files or AnyFiles()
    if not names:
        raise SpecError(["--names is empty: give at least one metric, such as --names rouge1,exact_match."])
    if wrong := problems(names, options or {}):
        raise SpecError(wrong)
    paths = _find(files, inputs)
    schema = _schema(files, paths, response, reference, names)
    if os.path.realpath(out) in map(os.path.realpath, paths):
        raise SpecError([f"-o {out} is one of the inputs: name another file."])
    if os.path.isdir(out):
        raise SpecError(
            [f"-o {out} is a folder: name the file to write, for example {os.path.join(out, 'metrics.parquet')}."]
        )
    check_table_file(out, schema)
    with Pool(names, options=options, workers=workers, spare_cores=0) as pool:
        if reference is None and pool.needs_reference:
            wanting = ", ".join(name for name in pool.names if name in pool.needs_reference)
            raise SpecError([f"{wanting} needs a reference: name its column with --reference."])
        written = pa.schema(
            [*schema, *(pa.field(f"metric_{name}", pa.float64()) for name in pool.names)], metadata=schema.metadata
        )
        rows, scored, total = 0, dict.fromkeys(pool.names, 0), dict.fromkeys(pool.names, 0.0)
        with files.create(out) as file, table_writer(file, out, written) as write:
            for table, responses, references in _tables(files, paths, schema, response, reference):
                columns = pool.columns(responses, references)
                arrays = [*table.columns, *(pa.array(columns[name], pa.float64()) for name in pool.names)]
                write(pa.Table.from_arrays(arrays, schema=written))
                rows += table.num_rows
                for name, values in columns.items():
                    known = [value for value in values if value is not None]
                    scored[name] += len(known)
                    total[name] += sum(known)
    mean = {name: total[name] / scored[name] if scored[name] else None for name in pool.names}
    return Summary(rows, scored, mean)


def _find(files: Files, inputs: Sequence[str]) -> list[str]:
    empty = [pattern for pattern in inputs if not files.find([pattern])]
    if empty or not inputs:
        raise InputError(f"No file matches {', '.join(empty) or 'an empty list'}: give files, folders or globs.")
    return [stat.path for stat in files.find(inputs)]


def _schema(
    files: Files, paths: Sequence[str], response: str, reference: str | None, names: Sequence[str]
) -> pa.Schema:
    """The schema that all files share.

    Raises where `response` is no text column, `reference` neither that nor one of lists of texts, or a metric's column
    name is taken.
    """
    texts = [response] if reference is None else [response, reference]
    stats = files.find(paths)
    schema = finished(files, stats[0]).schema
    for stat in stats:
        found = finished(files, stat)
        if missing := [wrong for name in dict.fromkeys(texts) if (wrong := problem(name, found.shape)) is not None]:
            raise InputError(
                f"{stat.path} has {'; '.join(missing)}. It has: {', '.join(found.schema.names)}. Name the columns "
                "with --response and --reference."
            )
        if not found.schema.equals(schema):
            raise InputError(
                f"{stat.path} has other columns or types than {stats[0].path}, so one file cannot hold both: give them "
                "to `scorer metrics` one by one."
            )
    for name in (name for name in texts if name in schema.names):
        kind = schema.field(name).type
        if not _is_text(kind) and not (name == reference and name != response and _is_texts(kind)):
            raise InputError(
                f"Column {name} of {stats[0].path} has type {kind}; metrics need text: convert it to string. "
                "References may also be lists of strings."
            )
    taken = [name for name in names if f"metric_{name}" in schema.names]
    if taken:
        raise SpecError(
            [f"{stats[0].path} has a column metric_{name} already: leave {name} out of --names." for name in taken]
        )
    return schema


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(test(kind) for test in tests)


def _is_texts(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return any(test(kind) for test in tests) and _is_text(kind.value_type)


def _tables(
    files: Files, paths: Sequence[str], schema: pa.Schema, response: str, reference: str | None
) -> Iterator[tuple[pa.Table, list[str | None], list[Reference]]]:
    """All rows in order, their responses and references, one table for each row group of the output."""
    batches: list[pa.RecordBatch] = []
    responses: list[str | None] = []
    references: list[Reference] = []
    rows = size = 0
    for path, piece in _pieces(files, paths, schema):
        batch = _whole(path, piece.first, piece.rows, schema)
        batches.append(batch)
        responses += _texts(path, piece, batch, response)
        references += _references(path, piece, batch, reference)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.Table.from_batches(batches, schema), responses, references
            batches, responses, references, rows, size = [], [], [], 0, 0
    if batches:
        yield pa.Table.from_batches(batches, schema), responses, references


def _pieces(files: Files, paths: Sequence[str], schema: pa.Schema) -> Iterator[tuple[str, Batch]]:
    for path in paths:
        try:
            (stat,) = [stat for stat in files.find([path]) if stat.path == path]
            with files.open(path) as file:
                for piece in format_of(path).batches(file, Wanted(schema.names, finished(files, stat).rows)):
                    if isinstance(piece, Batch):
                        yield path, piece
        except DAMAGE as error:
            raise InputError(
                f"{path} cannot be read to its end ({short(error)}). Nothing was written. Restore the file, then "
                "repeat the command."
            ) from error


def _whole(path: str, first: int, rows: Rows, schema: pa.Schema) -> pa.RecordBatch:
    """The rows in the types of `schema`. Raises InputError for a value of a text format that does not fit its type."""
    bad = {place: problem for place, problem in enumerate(rows.problems) if problem is not None}
    if rows.problems:
        for name in schema.names:
            rows.exact(name, bad)
    if bad:
        place = min(bad)
        raise InputError(f"{path}: {bad[place]} It is row {first + place}. Nothing was written. Mend that row first.")
    return rows.arrow(schema)


def _texts(path: str, piece: Batch, batch: pa.RecordBatch, column: str) -> list[str | None]:
    """The texts of a column, or at a path into one."""
    if column in batch.schema.names:
        texts: list[str | None] = batch.column(column).to_pylist()
        return texts
    return _checked(path, piece, column, piece.rows.values(column, {}))


def _references(path: str, piece: Batch, batch: pa.RecordBatch, reference: str | None) -> list[Reference]:
    """The reference of each row: a list of texts where it is one; `batch` has those of JSON Lines as text."""
    if reference is None:
        return [None] * batch.num_rows
    given = piece.rows.values(reference, {})
    lists = [listed(value) for value in given]
    if reference in batch.schema.names:
        given = batch.column(reference).to_pylist()
    else:
        given = [value if each is None else None for each, value in zip(lists, given, strict=True)]
        given = _checked(path, piece, reference, given)
    return [text if each is None else each for each, text in zip(lists, given, strict=True)]


def _checked(path: str, piece: Batch, column: str, values: list[Any]) -> list[str | None]:
    """The values at a path into a column. Raises InputError where one is no text."""
    for place, value in enumerate(values):
        if not isinstance(value, str | None):
            raise InputError(
                f"{path}: {column} of row {piece.first + place} is a {type(value).__name__}; metrics need text. "
                "References may also be lists of texts. Nothing was written."
            )
    return values
