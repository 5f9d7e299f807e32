"""Opens the table of an analysis command: a Parquet file, a folder or a glob of them, or the output folder of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from scorer.analysis.reading import encrypted, first_line
from scorer.config.out_folder import STDIN, folder_of
from scorer.errors import SpecError
from scorer.files.credentials import SCHEMES, scan_options
from scorer.files.router import AnyFiles
from scorer.output.folder_names import folder_names, named
from scorer.output.layout import Layout
from scorer.output.scan_parts import scan_bounded

Tables = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
"""What names a table: one path, or several output folders, as a list (`NAME=OUT` names one) or by name."""


def open_table(table: Tables) -> pl.LazyFrame:
    """The rows of a Parquet file, of a folder or a glob of them, or of one or more OUT folders joined with their input.

    Of an OUT folder: everything finished so far, each row once. Of several: one row for each that has a result in any,
    with result columns called `<name>.<column>` (`scorer.output.scan_folders`). Of several files: their rows in the
    order of their paths; a column that some lack is null there, and numbers of several types become one that holds them
    all. URIs (s3://, gs://, az://) name files or globs. A run file (.toml) stands for its output folder. Raises
    SpecError where there is nothing to read or no row is finished yet, it is no Parquet, or the files' columns do not
    fit together.
    """
    if (folders := several_folders(table)) is not None:
        return _scored(folders)
    name = single(table)
    path = Path(name)
    places = AnyFiles()
    remote = name.partition("://")[0] in SCHEMES
    if (out := out_folder(name)) is not None:
        return _scored(out)
    if "://" in name and not remote:
        return _scanned(name, [name], glob=True)
    found = [stat.path for stat in places.find([name])]
    if not found:
        what = "holds no run.json and no Parquet file" if path.is_dir() else "is not there"
        if any(mark in name for mark in "*?[") and not path.is_dir():
            what = "matches no file"
        raise SpecError([f"{name} {what}; give a Parquet file, a folder or a glob of them, or an output folder."])
    return _scanned(name, found, glob=False)


def _scored(out: str | dict[str, str]) -> pl.LazyFrame:
    """The rows of output folders. Raises SpecError where no row of any is finished: they lack the kept columns, too."""
    frame, files = scan_bounded(out), AnyFiles()
    folders = [out] if isinstance(out, str) else [*out.values()]
    found = [Layout(folder).result_files(files) for folder in folders]
    if not any(one.sealed or any(one.segments.values()) for one in found):
        shown = " and ".join(folders)
        raise SpecError(
            [f"No row of {shown} is finished yet: there is nothing to analyse. `scorer status {folders[0]}` says why."]
        )
    return frame


def several_folders(table: Tables) -> dict[str, str] | None:
    """The output folders by name that `table` names; None where it is one path without a name.

    Raises SpecError where one of several is no output folder.
    """
    if isinstance(table, str | Path):
        given = [str(table)]
    elif isinstance(table, Mapping):
        given = [str(path) for path in table.values()]
    else:
        given = [str(path) for path in table]
    if not isinstance(table, Mapping) and len(given) == 1 and not named(given[0])[0]:
        return None
    paths = [named(one)[1] for one in given]
    problems = [
        f"{path} is no output folder of a run. Of several tables each is an output folder or a run file."
        for path in paths
        if out_folder(path) is None
    ]
    if problems:
        raise SpecError(problems)
    return folder_names(table if isinstance(table, Mapping) else given)


def score_columns(frame: pl.LazyFrame, table: Tables, scores: Sequence[str]) -> list[str]:
    """The columns that `scores` name: of several runs, `score` is `<name>.score` of each that has it."""
    known = frame.collect_schema()
    folders = several_folders(table) or {}
    found: list[str] = []
    for score in scores:
        each = [f"{name}.{score}" for name in folders if f"{name}.{score}" in known]
        found += each if each and score not in known else [score]
    return list(dict.fromkeys(found))


def single(table: Tables) -> str:
    """The path of a table that `several_folders` takes for one path."""
    return str(table if isinstance(table, str | Path) else next(iter(table)))


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
            problem = f"{path} cannot be read as Parquet: {first_line(error)}. {encrypted(error)}"
            raise SpecError([problem.rstrip()]) from error
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
