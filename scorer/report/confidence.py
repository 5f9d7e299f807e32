"""How sure a judge is of each row, from stored results: a preference's distance from a tie, or samples' spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from scorer.analysis.columns import take
from scorer.analysis.correlation import Floats
from scorer.analysis.open_table import Tables, out_folder, several_folders, single
from scorer.analysis.reading import collected
from scorer.analysis.score_range import scale_of
from scorer.errors import SpecError
from scorer.report.sample_readings import sampled_scores, stored_judges

CONFIDENCE = "confidence"
"""The column of a run of judge.kind = "cascade"."""


def confidences(
    frame: pl.LazyFrame, tables: Tables, scores: Sequence[str], columns: Sequence[str]
) -> dict[str, Floats]:
    """The confidence of each row, higher is surer, by score column; NaN where there is none.

    `columns` name a column for each of `scores`. Without them: the column `confidence` of a cascade; of scores in
    [0, 1] twice the distance from .5; of a run with several samples 1 less twice their standard deviation over the
    width of the scale. Raises SpecError where none serves.
    """
    if columns and len(columns) != len(scores):
        raise SpecError(
            [f"--confidence is there {len(columns)} times and --score names {len(scores)} columns: give one for each."]
        )
    if columns:
        taken = take(frame, columns)
        return {score: taken.floats(column) for score, column in zip(scores, columns, strict=True)}
    known = frame.collect_schema().names()
    own = {score: f"{score.rpartition('.')[0]}.{CONFIDENCE}".lstrip(".") for score in scores}
    if all(column in known for column in own.values()):
        taken = take(frame, list(own.values()))
        return {score: taken.floats(column) for score, column in own.items()}
    values = take(frame, scores)
    found = {}
    for score in scores:
        given = values.floats(score)[np.isfinite(values.floats(score))]
        scale = scale_of(tables, score)
        if scale == (0.0, 1.0) or (scale is None and len(given) and given.min() >= 0 and given.max() <= 1):
            found[score] = np.abs(2 * values.floats(score) - 1)
        else:
            found[score] = _by_spread(frame, tables, score, scale)
    return found


def _by_spread(frame: pl.LazyFrame, tables: Tables, score: str, scale: tuple[float, float] | None) -> Floats:
    is_run = several_folders(tables) is not None or out_folder(single(tables)) is not None
    judges = stored_judges(tables) if is_run else {}
    judge = judges.get("") or next((one for name, one in judges.items() if score.startswith(f"{name}.")), None)
    if judge is None or judge.samples < 2 or scale is None:
        raise SpecError(
            [
                f"--confidence is missing: nothing says how sure the judge was of {score}. Name a column, or judge "
                "with judge.samples = 3 or more, whose spread serves, or pairwise, whose preference does."
            ]
        )
    raws = [name for name in frame.collect_schema().names() if name == "raw" or name.endswith(".raw")]
    read = sampled_scores(collected(frame.select(*raws)).lazy(), judges, [score])[score].orders[0]
    known = np.isfinite(read)
    count = known.sum(axis=1)
    mean = np.where(known, read, 0.0).sum(axis=1) / np.maximum(count, 1)
    square = np.where(known, (read - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(count, 1)
    width = scale[1] - scale[0]
    return np.where(count > 1, 1 - 2 * np.sqrt(square) / width, np.nan)
