"""Scores a table in memory: the same rows with the result columns added."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.api import plan_of, run
from scorer.build.plan import RunPlan
from scorer.errors import InputError, ScorerError, SpecError, StorageError, TooManyFailed
from scorer.files.files import OWNER_ONLY
from scorer.output.scan import scan_scores
from scorer.output.schema import (
    result_schema,
)
from scorer.output.status import Status

_TAKEN = (
    "a polars DataFrame or LazyFrame, a list of dicts, a pandas DataFrame, an Arrow table, or a split of a Hugging "
    "Face Dataset"
)


def score_frame(
    df: Any,
    *,
    judge: Mapping[str, Any],
    model: Mapping[str, Any],
    limits: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> pl.DataFrame:
    """The same rows in the same order with the result columns beside them, as a polars DataFrame.

    `df` is a polars DataFrame or LazyFrame, a list of dicts, a pandas DataFrame (its index is left out), an Arrow
    table, or a split of a Hugging Face Dataset. `judge`, `model` and `limits` are the tables of a run file. A result
    column whose name the frame has already is `judge_<name>`.

    A failed row has a null score and its `error`; a warning counts them, and none of them raises: there is no
    `max_failed_share` here. Where the first 200 rows all fail alike no more are asked; the rows that were not have
    neither score nor error, and the warning says so.

    With `out`, a folder, everything is durable, and the same call goes on. The frame may have rows more at its end
    then: only these are scored. Without it the run is in a temporary folder that is deleted at the end.

    Raises SpecError before anything is sent: for a table of another kind, for names that clash or are missing, for
    another frame than the one in `out`; InputError where that one cannot be read. Whatever else ends it early (a spent
    budget, the judge's set-up, storage, Ctrl-C) is raised with `frame`, these rows with what is scored so far (None
    where that cannot be read), and `folder`, where it is stored, a temporary one too: given as `out` it goes on from
    there.
    """
    frame = as_frame(df)
    kept = _folder(out) if out is not None else None
    # Only where it is made: a check of everything that needs no folder.
    planned = _plan(frame, judge, model, limits, [str(_shard(kept or Path("out"), 0))], kept or Path("out"))
    folder = kept or Path(tempfile.mkdtemp(prefix="scorer-"))
    try:
        shards = _stored(frame, folder)
        planned = _plan(frame, judge, model, limits, shards, folder)
        tree = planned.spec.model_dump(exclude_unset=True)
        try:
            status = run(tree)
        except TooManyFailed as stopped:
            _warn(f"{stopped} No further row was asked. What is finished is in {folder}.", 3)
            return _beside(frame, folder, planned)
        _tell(status)
        found = _beside(frame, folder, planned)
    except (SpecError, InputError):  # nothing was sent
        if kept is None:
            shutil.rmtree(folder)
        raise
    except BaseException as error:
        with _no_further_interrupt():
            _carry(error, frame, folder, planned)
        raise
    if kept is None:
        shutil.rmtree(folder)
    return found


def _plan(
    frame: pl.DataFrame,
    judge: Mapping[str, Any],
    model: Mapping[str, Any],
    limits: Mapping[str, Any] | None,
    shards: Sequence[str],
    folder: Path,
) -> RunPlan:
    """The checked plan. Raises SpecError, also where a result column would find no name or a column is missing."""
    for name, table in (("judge", judge), ("model", model), ("limits", limits or {})):
        if not isinstance(table, Mapping):
            raise SpecError([f"{name} is a dict with the names of a run file's [{name}]; this is {table!r:.80}."])
    planned = plan_of(
        {
            "judge": dict(judge),
            "model": dict(model),
            "limits": {**dict(limits or {}), "max_failed_share": 1.0},
            "input": {"shards": list(shards)},
            "output": {"path": str(folder)},
        }
    )
    if missing := [name for name in planned.columns.read if name not in frame.columns]:
        raise SpecError(
            [
                f"The frame has no column {', '.join(map(repr, missing))}, which the judge or the model asks for. It "
                f"has: {', '.join(map(repr, frame.columns[:20])) or 'none'}."
            ]
        )
    names = _names(frame, _results(planned).names())
    twice = [name for name, shown in names.items() if shown != name and (shown in frame.columns or shown in names)]
    if twice:
        raise SpecError(
            [
                f"The frame has the columns {name} and {names[name]}, and the result column {name} needs one of the "
                "two names. Rename or drop one of them."
                for name in twice
            ]
        )
    return planned


def _results(planned: RunPlan) -> pl.Schema:
    """The result columns of a plan."""
    spec = planned.spec
    schema = result_schema(judge_fields=planned.judge.fields, metrics=spec.metrics.names, copies=spec.judge.dedupe)
    empty = pl.from_arrow(schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.drop("shard", "row").schema


def _names(frame: pl.DataFrame, results: Sequence[str]) -> dict[str, str]:
    """Under which name each result column stands beside the frame's."""
    return {name: f"judge_{name}" if name in frame.columns else name for name in results}


# --- the frame in the folder ------------------------------------------------------------------------------------------


def _folder(out: str | Path) -> Path:
    """The folder `out`, with ~ as the home folder. Raises SpecError for what is no folder of this machine."""
    if not str(out) or re.match(r"\w{2,}:/", str(out)):  # a Path of s3://bucket is s3:/bucket
        raise SpecError(
            [f'out = "{out}" is no folder of this machine. Give its path; a run file\'s output.path takes s3:// too.']
        )
    try:
        return Path(out).expanduser()
    except RuntimeError as error:  # ~nobody
        raise SpecError([f'out = "{out}" cannot be found: {_line(error)}.']) from error


def _shard(folder: Path, number: int) -> Path:
    return folder / "input" / (f"frame-{number:06d}.parquet" if number else "frame.parquet")


def _stored(frame: pl.DataFrame, folder: Path) -> list[str]:
    """The paths of the frame's shards in the folder; what is not there yet is written as one more.

    Raises SpecError where the folder holds another frame, or this one is no Parquet; InputError where a shard cannot be
    read, and StorageError where one cannot be written.
    """
    paths: list[str] = []
    parts: list[pl.DataFrame] = []
    while (path := _shard(folder, len(paths))).exists():
        try:
            parts.append(pl.read_parquet(path, glob=False))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(
                f"{path} cannot be read ({_line(error)}): it holds the frame whose scores are in {folder}. Restore it "
                "from a copy, or give another folder."
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
            raise StorageError(f"{path} cannot be written ({error.strerror or _line(error)}).") from error
        except (pl.exceptions.PolarsError, pa.ArrowException, ValueError, TypeError) as error:
            partial.unlink(missing_ok=True)
            if "IO error" in str(error):  # polars' word for an OSError: a full disk
                raise StorageError(f"{path} cannot be written ({_line(error)}).") from error
            raise SpecError([f"The frame cannot be written as Parquet: {_line(error)}. Drop that column."]) from error
        paths.append(str(path))
    return paths


def _difference(held: pl.DataFrame, given: pl.DataFrame, first: int) -> str:
    """Where as many rows differ, "" where they do not. A column that held nothing but nulls may have a type by now."""
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


def _beside(frame: pl.DataFrame, folder: Path, planned: RunPlan) -> pl.DataFrame:
    """The frame with what is scored so far."""
    results = _results(planned)
    numbers: dict[str, int] = {}
    held = 0
    while (path := _shard(folder, len(numbers))).exists():
        numbers[path.name] = held
        held += pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    scores = scan_scores(str(folder)).collect()
    row = pl.col("shard").str.replace(r"^.*[/\\]", "").replace_strict(numbers, return_dtype=pl.Int64) + pl.col("row")
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in results.items() if name not in scores.columns]
    scores = scores.with_columns(row.alias(_ROW), *missing).select(_ROW, *results)
    names = _names(frame, results.names())
    numbered = pl.DataFrame({_ROW: pl.int_range(frame.height, dtype=pl.Int64, eager=True)})
    found = numbered.join(scores, on=_ROW, how="left", maintain_order="left").drop(_ROW).rename(names)
    return pl.concat([frame, found], how="horizontal")


_ROW = "\0row"


# --- how it ended -----------------------------------------------------------------------------------------------------


def _tell(status: Status) -> None:
    if status.failed:
        names = ", ".join(f"{name} {count}" for name, count in status.errors.items())
        _warn(
            f"{status.failed} of {status.rows} rows failed ({names}). Their score is null; the columns error and "
            "error_detail say why.",
            4,
        )


def _warn(text: str, level: int) -> None:
    warnings.warn(text, stacklevel=level)


@contextmanager
def _no_further_interrupt() -> Iterator[None]:
    """Ctrl-C does nothing within: the call is ending, and another one would end it without its frame."""
    mine = threading.current_thread() is threading.main_thread()  # signals are the main thread's
    if not mine or signal.getsignal(signal.SIGINT) is None:  # None: not Python's to put back
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _carry(error: BaseException, frame: pl.DataFrame, folder: Path, planned: RunPlan) -> None:
    """Gives the error `frame` and `folder`, and tells of them in its text."""
    found: pl.DataFrame | None
    try:
        found = _beside(frame, folder, planned)
    except (ScorerError, pl.exceptions.PolarsError, OSError):  # no run was begun in it, or it cannot be read
        found = None
    scored = found[_names(frame, ["score"])["score"]].count() if found is not None else 0
    error.frame, error.folder = found, str(folder)  # type: ignore[attr-defined]
    paid = f"{scored} of {frame.height} rows are scored: they are in the error's `frame`, and stored in {folder}, which"
    kept = f"What is stored is in {folder}, which" if found is None else paid
    told = f"{kept} stays. score_frame(..., out=that folder) goes on from there."
    if isinstance(error, ScorerError):
        error.args = (f"{error} {told}",)
    else:
        error.add_note(told)


# --- tables of other kinds --------------------------------------------------------------------------------------------


def as_frame(given: Any) -> pl.DataFrame:
    """A table of another kind as a polars DataFrame; pandas' index is left out. Raises SpecError for what is none."""
    try:
        frame = _as_frame(given)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError, OSError) as error:
        raise SpecError([f"This table cannot be read as a polars DataFrame: {_line(error)}."]) from error
    if frame is None:
        raise SpecError([f"score_frame takes {_TAKEN}; this is a {type(given).__module__}.{type(given).__qualname__}."])
    odd = [name for name, kind in frame.schema.items() if kind == pl.Object]
    if odd:
        raise SpecError([f"Column {name} holds Python objects: make it texts or numbers, or drop it." for name in odd])
    return frame


def _as_frame(given: Any) -> pl.DataFrame | None:
    if isinstance(given, pl.DataFrame):
        return given
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    if isinstance(given, list | tuple) and all(isinstance(row, Mapping) for row in given):
        return pl.from_dicts([dict(row) for row in given], infer_schema_length=None) if given else pl.DataFrame()
    if type(given).__module__.partition(".")[0] == "pandas" and hasattr(given, "columns"):
        return pl.from_pandas(given)
    if callable(getattr(given, "with_format", None)) and hasattr(given, "column_names"):  # a Hugging Face Dataset
        try:
            table = given.with_format("arrow")[:]  # the rows as they are selected and shuffled
        except (TypeError, NotImplementedError, KeyError):  # a stream, or a dict of splits
            return None
        return _of_arrow(table)
    if hasattr(given, "__arrow_c_stream__") and not isinstance(given, pl.Series):
        return _of_arrow(given)
    return None


def _of_arrow(table: Any) -> pl.DataFrame | None:
    found = pl.from_arrow(table)
    return found if isinstance(found, pl.DataFrame) else None


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
