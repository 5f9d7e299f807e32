"""`score_frame`: writes a table as shards, runs the judge over them, and returns its rows with the result columns."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from scorer.api.runs import plan_of, run
from scorer.build.plan import RunPlan
from scorer.config.run_file_types import JudgeDict, LimitsDict, ModelDict
from scorer.errors import InputError, SpecError, TooManyFailed
from scorer.frames.as_frame import as_frame
from scorer.frames.input_folder import local_folder, shard_path, store_frame
from scorer.frames.result_columns import result_names, result_types, with_results
from scorer.frames.stopping import attach_rows, no_further_interrupt, warn, warn_of_failures
from scorer.inputs.column_paths import problem, roots, split


def score_frame(
    df: Any,
    *,
    judge: JudgeDict | Mapping[str, Any],
    model: ModelDict | Mapping[str, Any],
    limits: LimitsDict | Mapping[str, Any] | None = None,
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
    kept = local_folder(out) if out is not None else None
    # Only where it is made: a check of everything that needs no folder.
    planned = _plan(frame, judge, model, limits, [str(shard_path(kept or Path("out"), 0))], kept or Path("out"))
    folder = kept or Path(tempfile.mkdtemp(prefix="scorer-"))
    try:
        shards = store_frame(frame, folder)
        planned = _plan(frame, judge, model, limits, shards, folder)
        tree = planned.spec.model_dump(exclude_unset=True)
        try:
            status = run(tree)
        except TooManyFailed as stopped:
            warn(f"{stopped} No further row was asked. What is finished is in {folder}.", 3)
            return with_results(frame, folder, planned)
        warn_of_failures(status)
        found = with_results(frame, folder, planned)
    except (SpecError, InputError):  # nothing was sent
        if kept is None:
            shutil.rmtree(folder)
        raise
    except BaseException as error:
        with no_further_interrupt():
            attach_rows(error, frame, folder, planned)
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
    if problems := _column_problems(frame, planned.columns.read):
        raise SpecError(problems)
    names = result_names(frame, result_types(planned).names())
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


def _column_problems(frame: pl.DataFrame, paths: Sequence[str]) -> list[str]:
    """A sentence for the columns that the frame lacks, and for each value within a column that it cannot have."""
    names = tuple(frame.columns)
    missing = [path for path in paths if split(path, names)[0] not in names]
    schema = frame.select(roots([path for path in paths if path not in missing], names)).head(0).to_arrow().schema
    problems = [f"The frame has {what}." for path in paths if path not in missing and (what := problem(path, schema))]
    if missing:
        problems.insert(
            0,
            f"The frame has no column {', '.join(map(repr, missing))}, which the judge or the model asks for. It "
            f"has: {', '.join(map(repr, names[:20])) or 'none'}.",
        )
    return problems
