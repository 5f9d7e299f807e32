"""`scorer metrics`: Parquet in, the same rows with a column for each metric out, in one file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import InputError, SpecError
from scorer.files import Files, LocalFiles
from scorer.metrics import REFERENCE_FREE
from scorer.metrics.pool import Pool, cores
from scorer.source import arrow_batches, look, missing_columns

GROUP_ROWS = 8192
GROUP_BYTES = 32 * 1024 * 1024
"""Rows go out in row groups of either size: as much is held at once, and sent to the workers at once."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What `score_files` wrote: `scored` counts each metric's scores, `mean` is over those, None where there is none."""

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
    workers: int | None = None,
    files: Files | None = None,
) -> Summary:
    """Every row of the input shards, sorted by path, all columns kept, with `metric_<name>` (float64) behind them.

    `inputs` are paths, folders and globs; `out` appears whole or not at all. `workers` is one for each core by default.

    Raises SpecError for arguments, InputError for shards that cannot be read so, StorageError for the output.
    """
    files = files or LocalFiles()
    if not names:
        raise SpecError(["--names is empty: give at least one metric, such as --names rouge1,exact_match."])
    with Pool(names, workers=workers or _workers(names)) as pool:
        if reference is None and pool.needs_reference:
            wanting = ", ".join(name for name in pool.names if name in pool.needs_reference)
            raise SpecError([f"{wanting} compare with a reference: name its column with --reference."])
        texts = [response] if reference is None else [response, reference]
        paths = [stat.path for stat in files.find(inputs)]
        schema = _schema(files, inputs, texts, pool.names)
        if os.path.realpath(out) in map(os.path.realpath, paths):
            raise SpecError([f"-o {out} is one of the inputs, which are never written to: name another file."])
        added = [pa.field(f"metric_{name}", pa.float64()) for name in pool.names]
        written = pa.schema([*schema, *added], metadata=schema.metadata)
        rows, scored, total = 0, dict.fromkeys(pool.names, 0), dict.fromkeys(pool.names, 0.0)
        with files.create(out) as file, pq.ParquetWriter(file, written, compression="zstd") as writer:
            for table in _tables(files, paths, schema):
                responses = table.column(response).to_pylist()
                references = table.column(reference).to_pylist() if reference else [None] * len(responses)
                columns = pool.columns(responses, references)
                arrays = [*table.columns, *(pa.array(columns[name], pa.float64()) for name in pool.names)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=written))
                rows += table.num_rows
                for name, values in columns.items():
                    known = [value for value in values if value is not None]
                    scored[name] += len(known)
                    total[name] += sum(known)
    mean = {name: total[name] / scored[name] if scored[name] else None for name in pool.names}
    return Summary(rows, scored, mean)
