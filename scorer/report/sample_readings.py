"""The stored replies of a run read one by one: what each sample of each row said, as arrays for the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap
from scorer.analysis.columns import require, take
from scorer.analysis.open_table import Tables, out_folder, several_folders, single
from scorer.analysis.reading import collected
from scorer.analysis.sample_worth import WORTH, SampleWorth, sample_worth
from scorer.analysis.sampled_scores import SampledScores
from scorer.errors import SpecError
from scorer.output.scan_folders import load_runs
from scorer.report.stored_judge import StoredJudge


def stored_judges(tables: Tables) -> dict[str, StoredJudge]:
    """The judge of each run in `tables`, by its name; "" for a single one. Raises SpecError where it is no run."""
    folders = several_folders(tables)
    if folders is None:
        out = out_folder(single(tables))
        if out is None:
            raise SpecError(
                [
                    f"{single(tables)} is no output folder of a run. The worth of a sample is measured from stored "
                    "replies, which a run's folder has: give its output.path, or its run file."
                ]
            )
        folders = {"": out}
    return {run.name: StoredJudge(run.manifest) for run in load_runs(folders)}


def sampled_scores(
    frame: pl.LazyFrame, judges: Mapping[str, StoredJudge], scores: Sequence[str]
) -> dict[str, SampledScores]:
    """For each score column what each sample of each row of `frame` said, in the order of its rows.

    Where an unreadable reply was asked again, the answer stands for its sample. Raises SpecError where the column is no
    score of a judge that reads replies one by one, where replies were not kept, or where they cannot be read here.
    """
    columns: dict[str, tuple[str, str]] = {}
    problems = []
    for score in scores:
        run = next((name for name in judges if score.startswith(f"{name}.")), None) if "" not in judges else ""
        if run is None:
            problems.append(f"Column {score} is of none of the runs {', '.join(judges)}.")
            continue
        columns[score] = run, score.removeprefix(f"{run}.") if run else score
        problems += _problems(judges[run], score, columns[score][1])
    if problems:
        raise SpecError(problems)
    raws = {score: f"{run}.raw" if run else "raw" for score, (run, _) in columns.items()}
    require(frame.collect_schema(), raws.values())
    rows = collected(frame.select(*dict.fromkeys(raws.values())))
    found = {}
    for score, (run, column) in columns.items():
        raw = rows[raws[score]]
        if raw.null_count() == len(raw):
            raise SpecError(
                [
                    f"No row has stored replies in {raws[score]}: the run has output.keep_raw = false. Score again "
                    "with true."
                ]
            )
        found[score] = _read(judges[run], raw.to_list(), column)
    return found


def _problems(judge: StoredJudge, score: str, column: str) -> list[str]:
    if judge.problem is not None:
        return [judge.problem]
    kind = str(judge.options.get("kind", "rating"))
    if kind == "panel" or not judge.reads_replies:
        return [
            f"{score}: judge.kind = {kind!r} has no samples that are read one by one; rating, pairwise and checklist "
            "have."
        ]
    if column not in ("score", "preference") and not column.startswith("score_"):
        return [f"{score} is no score that replies give; give score, preference or score_<criterion>."]
    return []


def _read(judge: StoredJudge, raws: Sequence[Sequence[str | None] | None], column: str) -> SampledScores:
    orders = tuple(np.full((len(raws), judge.samples), np.nan) for _ in range(1 + judge.in_two_orders))
    for row, raw in enumerate(raws):
        for values, said in zip(orders, judge.sampled(raw or (), column), strict=False):
            values[row, : len(said)] = said
    return SampledScores(orders, flips=judge.flips)


def worth_of_samples(
    frame: pl.LazyFrame,
    tables: Tables,
    scores: Sequence[str],
    human: str,
    *,
    item: str | None = None,
    task: str | None = None,
    worth: float = WORTH,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> SampleWorth:
    """`scorer.analysis.sample_worth` of the rows of `frame` that have a human value, read by the judges of `tables`.

    Raises SpecError as `sampled_scores` and `sample_worth` do, and for columns that cannot serve.
    """
    judges = stored_judges(tables)
    groups = [name for name in (item, task) if name]
    names = list(dict.fromkeys([human, *groups]))
    require(frame.collect_schema(), [*names, *scores])
    raws = [name for name in frame.collect_schema().names() if name == "raw" or name.endswith(".raw")]
    labelled = collected(
        frame.select(*names, *raws, *(s for s in scores if s not in names)).filter(pl.col(human).is_not_null())
    )
    columns = take(labelled.lazy(), [human], groups)
    return sample_worth(
        sampled_scores(labelled.lazy(), judges, scores),
        columns.floats(human),
        item=columns.codes(item)[0] if item else None,
        task=columns.codes(task)[0] if task else None,
        worth=worth,
        bootstrap=bootstrap,
    )
