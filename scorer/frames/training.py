"""`scorer.curves` and `scorer.cascade`: learning curves, and what a cheap judge may keep, as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.cascade import Population
from scorer.analysis.cascade_result import AGREEMENT, DELTA, Cascade, Promise
from scorer.analysis.cascade_table import cascade as calibrated
from scorer.analysis.join_labels import join_labels, keys_of, open_labels
from scorer.analysis.learning_curves import CurveColumns, learning_curves
from scorer.analysis.learning_curves_result import LearningCurves
from scorer.analysis.open_table import open_table, score_columns
from scorer.analysis.score_range import scale_of
from scorer.frames.analysis_results import ByScore
from scorer.frames.opened_table import Names, listed, opened
from scorer.report.confidence import confidences


def curves(
    table: Any,
    score: Names = "score",
    *,
    step: str,
    mix: str | None = None,
    item: str | None = None,
    task: str | None = None,
    well_formed: str | None = None,
    seed: str | None = None,
    margin: float | None = None,
    levels: Sequence[float] = (),
    bootstrap: int = 1000,
) -> ByScore[LearningCurves]:
    """What training teaches: scores by training step, a curve for each mix, over the same items.

    `step` is a column of numbers (steps, examples trained on), `mix` the column that tells the curves apart, `item`
    what was answered. `task` adds the change of each task. `well_formed`, booleans or 0 and 1, separates the format
    from the quality. `seed` is the column of the training's seed: without it intervals are over items alone. `margin`
    is the gain that is too small to train for, by default 5 % of the scale; `levels` are scores at which curves are
    compared, by default two within the range that both cover. `bootstrap` is the number of resamples, 0 for none.

    `frame` has a row for each score, measure (well_formed, score_well_formed, score), task (null: all), mix and step:
    value with low and high of its 95 % interval, rows, unread. Of a score's result, `gains` are each step less the
    first, with intervals that hold together; `flat` is by mix the first step from which no later one gains `margin`;
    `saved` are distances of curves in steps; `changes` are last step less first by task, `lost` where it surely fell.

    Raises SpecError for columns that are missing or cannot serve, and for fewer than two steps.
    """
    frame, scores, named = opened(table, score)
    by = CurveColumns(step, mix, item, task, well_formed, seed)
    return ByScore(
        {
            name: learning_curves(
                frame,
                name,
                by,
                margin=margin,
                levels=levels,
                scale=scale_of(table, name) if named else None,
                bootstrap=Bootstrap(bootstrap),
            )
            for name in scores
        }
    )


def cascade(
    table: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
    score: Names = "score",
    *,
    human: Names,
    confidence: Names = (),
    strong: str | None = None,
    agreement: float = AGREEMENT,
    delta: float = DELTA,
    within: float = 0.5,
    population: Population = "future",
    item: str | None = None,
    labels: str | Path | None = None,
    on: Names = (),
) -> Cascade:
    """Learns from human labels which verdicts of a cheap judge may be kept, with a guarantee, or refuses.

    `table` is a path, or several output folders. `score` is the score of a cheap judge, or a list of which each is
    tested; `human` the columns of human values, null where a row has none: several are several people. `confidence` is
    a column for each score that says how sure the judge is; by default a preference's distance from .5, the column
    confidence of a cascade, or how close a row's samples are. `strong` is the score of the judge that other rows are
    passed to. With probability 1 - `delta` over the labels, kept verdicts agree with people in `agreement` or more of
    kept rows like these; ratings agree where they differ by `within` at most. With `population` "these" the promise is
    about the kept rows of the table that have no label. With `item` one row of each item counts.
    `labels` is a file of labels and `on` the columns that find a row's label, by default shard and row.

    The result has `chosen`, the score that keeps most, and its `threshold`, both None where every judge is refused;
    `judges` by score, with the tests of each, and `strong`, an estimate of how the rest fares.

    Source: Jung, Brahman and Choi (2025), "Trust or Escalate", ICLR. Raises SpecError for columns that cannot serve,
    for labels drawn within strata, and for an agreement above that of people with each other.
    """
    frame = open_table(table)
    scores = score_columns(frame, table, listed(score))
    people = listed(human)
    if labels is not None:
        keys = list(listed(on)) or keys_of(labels, frame)
        frame = join_labels(frame, open_labels(labels, frame, keys), keys, people, design=True)
    return calibrated(
        frame,
        scores,
        people,
        confidence=confidences(frame, table, scores, listed(confidence)),
        strong=strong,
        item=item,
        promise=Promise(agreement, delta, within, population),
    )
