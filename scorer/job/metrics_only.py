"""`scorer metrics`: writes the rows of files with a column for each metric, in one file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pyarrow as pa

from scorer.errors import InputError, SpecError
from scorer.files.files import Files
from scorer.files.router import AnyFiles
from scorer.files.table_file import check_table_file, table_writer
from scorer.frozen import dataclass
from scorer.inputs.formats import format_of
from scorer.inputs.formats.protocol import DAMAGE, Wanted
from scorer.inputs.identity import look
from scorer.inputs.patience import short
from scorer.inputs.pieces import Batch, Rows
from scorer.inputs.shards import missing_columns
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

    `inputs` are paths, folders and globs. `reference` is a column of texts or of lists of texts; `options` are those of
    each metric that has some, by its name. `out` is written whole or not at all, as Parquet, CSV or JSON Lines by the
    end of its name. `workers` is by default the number of
    cores.

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
            for table, references in _tables(files, paths, schema, reference):
                responses = table.column(response).to_pylist()
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
        raise InputError(
            f"No Parquet file matches {', '.join(empty) or 'an empty list'}: give files, folders or globs."
        )
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
    schema = look(files, stats[0])[2]
    for stat in stats:
        found = look(files, stat)[2]
        if missing := missing_columns(found, texts):
            raise InputError(
                f"{stat.path} has no column {', '.join(missing)}. It has: {', '.join(found.names)}. Name the columns "
                "with --response and --reference."
            )
        if not found.equals(schema):
            raise InputError(
                f"{stat.path} has other columns or types than {stats[0].path}, so one file cannot hold both: give them "
                "to `scorer metrics` one by one."
            )
    for name in texts:
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
    files: Files, paths: Sequence[str], schema: pa.Schema, reference: str | None
) -> Iterator[tuple[pa.Table, list[Reference]]]:
    """All rows in order and their references, one table for each row group of the output."""
    batches: list[pa.RecordBatch] = []
    references: list[Reference] = []
    rows = size = 0
    for batch, part in _batches(files, paths, schema, reference):
        batches.append(batch)
        references += part
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.Table.from_batches(batches, schema), references
            batches, references, rows, size = [], [], 0, 0
    if batches:
        yield pa.Table.from_batches(batches, schema), references


def _batches(
    files: Files, paths: Sequence[str], schema: pa.Schema, reference: str | None
) -> Iterator[tuple[pa.RecordBatch, list[Reference]]]:
    for path in paths:
        try:
            (stat,) = [stat for stat in files.find([path]) if stat.path == path]
            with files.open(path) as file:
                rows = look(files, stat)[0]
                for piece in format_of(path).batches(file, Wanted(schema.names, rows)):
                    if isinstance(piece, Batch):
                        batch = _whole(path, piece.first, piece.rows, schema)
                        yield batch, _references(piece.rows, batch, reference)
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


def _references(rows: Rows, batch: pa.RecordBatch, reference: str | None) -> list[Reference]:
    """The reference of each row: a list of texts where it is one; `batch` has those of JSON Lines as text."""
    if reference is None:
        return [None] * batch.num_rows
    lists = [listed(value) for value in rows.values(reference, {})]
    texts = batch.column(reference).to_pylist()
    return [text if each is None else each for each, text in zip(lists, texts, strict=True)]
