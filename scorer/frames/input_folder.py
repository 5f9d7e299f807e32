"""The input of `score_frame` as Parquet shards in its folder: written once, compared with the frame on resume."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import InputError, SpecError, StorageError
from scorer.files.local_files import OWNER_ONLY
from scorer.frames.as_frame import first_line


def local_folder(out: str | Path) -> Path:
    """The folder `out`, with ~ as the home folder. Raises SpecError for what is no folder of this machine."""
    if not str(out) or re.match(r"\w{2,}:/", str(out)):  # a Path of s3://bucket is s3:/bucket
        raise SpecError(
            [f'out = "{out}" is no folder of this machine. Give its path; a run file\'s output.path takes s3:// too.']
        )
    try:
        return Path(out).expanduser()
    except RuntimeError as error:  # ~nobody
        raise SpecError([f'out = "{out}" cannot be found: {first_line(error)}.']) from error


def shard_path(folder: Path, number: int) -> Path:
    return folder / "input" / (f"frame-{number:06d}.parquet" if number else "frame.parquet")


def store_frame(frame: pl.DataFrame, folder: Path) -> list[str]:
    """The paths of the frame's shards in the folder; what is not there yet is written as one more.

    Raises SpecError where the folder holds another frame, or this one is no Parquet; InputError where a shard cannot be
    read, and StorageError where one cannot be written.
    """
    paths: list[str] = []
    parts: list[pl.DataFrame] = []
    while (path := shard_path(folder, len(paths))).exists():
        try:
            parts.append(pl.read_parquet(path, glob=False))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(
                f"{path} cannot be read ({first_line(error)}): it holds the frame whose scores are in {folder}. "
                "Restore it from a copy, or give another folder."
            ) from error
        paths.append(str(path))
    held = sum(part.height for part in parts)
    if held > frame.height:
        raise _another(folder, f"it has {held} rows, and this one {frame.height}")
    first = 0
    for part in parts:
        if what := _difference(part, frame[first : first + part.height], first):
            raise _another(folder, what)
        first += part.height
    if held < frame.height or not paths:
        partial = path.with_suffix(".partial")
        try:
            folder.mkdir(OWNER_ONLY, parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            frame[held:].write_parquet(partial)
            pq.read_schema(partial)  # Arrow knows fewer types than polars
            partial.rename(path)
        except (FileExistsError, NotADirectoryError) as error:
            raise SpecError(
                [f"{folder} cannot be a folder: it, or a part of its path, is a file. Give another out."]
            ) from error
        except OSError as error:
            raise StorageError(f"{path} cannot be written ({error.strerror or first_line(error)}).") from error
        except (pl.exceptions.PolarsError, pa.ArrowException, ValueError, TypeError) as error:
            partial.unlink(missing_ok=True)
            if "IO error" in str(error):  # polars' word for an OSError: a full disk
                raise StorageError(f"{path} cannot be written ({first_line(error)}).") from error
            raise SpecError(
                [f"The frame cannot be written as Parquet: {first_line(error)}. Drop that column."]
            ) from error
        paths.append(str(path))
    return paths


def _difference(held: pl.DataFrame, given: pl.DataFrame, first: int) -> str:
    """What differs between equally many rows, "" where nothing does. A column of nulls may have got a type since."""
    if held.columns != given.columns:
        return f"it has the columns {', '.join(held.columns)}, and this one {', '.join(given.columns)}"
    for name in held.columns:
        one, other = held[name], given[name]
        if one.dtype == pl.Null:
            one = one.cast(other.dtype)
        if one.dtype != other.dtype:
            return f"its column {name} is {one.dtype}, and this one's {other.dtype}"
        if not one.equals(other, null_equal=True):
            rows = zip(one.to_list(), other.to_list(), strict=True)
            at = next((n for n, (before, now) in enumerate(rows) if before != now), 0)
            return f"column {name} differs from row {first + at} on"
    return ""


def _another(folder: Path, what: str) -> SpecError:
    return SpecError(
        [
            f"{folder} holds the scores of another frame: {what}. Give another folder, or the same frame again, with "
            "rows more at its end if there are."
        ]
    )
