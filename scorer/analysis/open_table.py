"""Opens the table of an analysis command: a Parquet file, a folder or a glob of them, or the output folder of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from scorer.analysis.columns import first_line
from scorer.config.out_folder import STDIN, folder_of
from scorer.errors import SpecError
from scorer.files.router import SCHEMES, AnyFiles, scan_options


def open_table(table: str | Path) -> pl.LazyFrame:
    """The rows of a Parquet file, of a folder or a glob of them, or of an OUT folder joined with its input.

    Of an OUT folder: everything finished so far, each row once. Of several files: their rows in the order of their
    paths; a column that some lack is null there, and numbers of several types become one that holds them all. URIs
    (s3://, gs://, az://) name files or globs. A run file (.toml) stands for its output folder.
    Raises SpecError where there is nothing to read, it is no Parquet, or the files' columns do not fit together.
    """
    name = str(table)
    path = Path(name)
    places = AnyFiles()
    remote = name.partition("://")[0] in SCHEMES
    if (out := out_folder(name)) is not None:
        import scorer  # the front door imports the engine, which only an OUT folder needs

        frame: pl.LazyFrame = scorer.scan_scores(out, join_input=True)
        return frame
    if "://" in name and not remote:
        return _scanned(name, [name], glob=True)
    found = [stat.path for stat in places.find([name])]
    if not found:
        what = "holds no run.json and no Parquet file" if path.is_dir() else "is not there"
        if any(mark in name for mark in "*?[") and not path.is_dir():
            what = "matches no file"
        raise SpecError([f"{name} {what}; give a Parquet file, a folder or a glob of them, or an OUT folder."])
    return _scanned(name, found, glob=False)


def out_folder(table: str) -> str | None:
    """The output folder that `table` names, also by a run file; None for a table of another kind."""
    if table == STDIN or table.endswith(".toml"):
        return folder_of(table)
    if Path(table).is_dir():
        return table if Path(table, "run.json").is_file() else None
    remote = table.partition("://")[0] in SCHEMES
    plain = not any(mark in table for mark in "*?[") and not table.endswith(".parquet")
    return table if remote and plain and AnyFiles().find([f"{table.rstrip('/')}/run.json"]) else None


def _scanned(name: str, paths: Sequence[str], *, glob: bool) -> pl.LazyFrame:
    scans, schemas = [], []
    for path in paths:
        scan = pl.scan_parquet(path, glob=glob, **scan_options(path))
        try:
            schemas.append(scan.collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SpecError([f"{path} cannot be read as Parquet: {first_line(error)}."]) from error
        scans.append(scan)
    if all(schema == schemas[0] for schema in schemas):
        return scans[0] if len(scans) == 1 else _scan_all(list(paths))
    frame = pl.concat(scans, how="diagonal_relaxed")
    try:
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise SpecError(
            [f"The {len(paths)} files of {name} do not fit together: {first_line(error)}. Give them one by one."]
        ) from error
    return frame


def _scan_all(paths: list[str]) -> pl.LazyFrame:
    return pl.scan_parquet(paths, glob=False, **scan_options(paths[0]))
