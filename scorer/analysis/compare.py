"""Two training mixes, or a learning curve: what changed, by task, paired over items; format apart from substance.

A model first learns the format and then the task, and a mean mixes the two up. With a column that says whether an
output is well-formed, the share of those and the mean score among them are compared beside the mean of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import Resamples, are_shares, means_by_group, resample, share_interval
from scorer.analysis.correlation import Floats, defined
from scorer.analysis.tables import codes_or_rows, take
from scorer.errors import SpecError

KEY = dict.fromkeys(("task", "variant", "measure"), pl.String())
VALUE = dict.fromkeys(("value", "low", "high"), pl.Float64())
LEVELS = pl.Schema({**KEY, **VALUE, "rows": pl.Int64(), "unread": pl.Int64()})
DIFFERENCES = pl.Schema({**KEY, "against": pl.String(), **VALUE})


@dataclass(frozen=True, slots=True)
class Compared:
    """Two tables, by task (null: all rows).

    `levels`: task, variant, measure, value, low, high, rows, unread. `differences`: task, variant, measure, against,
    value (variant less against), low, high. Measures: score, and with a column of formats well_formed (a share) and
    score_well_formed. Null where a measure has no row.
    """

    levels: pl.DataFrame
    differences: pl.DataFrame

    def json(self) -> dict[str, Any]:
        return {"levels": self.levels.to_dicts(), "differences": self.differences.to_dicts()}


def compare(
    frame: pl.LazyFrame,
    score: str,
    variant: str,
    *,
    item: str | None = None,
    task: str | None = None,
    well_formed: str | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Compared:
    """The variants' scores and their differences, with intervals from the cluster bootstrap over items.

    Two variants or names: every pair. Numbers (examples trained on, steps): a learning curve, each against the one
    before. Variants are paired over the items they share; without `item` they are taken as independent.
    `well_formed` is a column of booleans, or numbers that are 0 where the format is wrong.
    Raises SpecError for columns that cannot serve, fewer than two variants, and where no row has a score.
    """
    columns = take(frame, [score, *([well_formed] if well_formed else [])], [n for n in (variant, item, task) if n])
    values = columns.floats(score)
    code, names = columns.codes(variant)
    if len(names) < 2:
        raise SpecError([f"Column {variant} holds {len(names)} variant; a comparison needs two or more."])
    if np.isnan(values).all():
        raise SpecError([f"No row has a value in {score}; a comparison needs scores."])
    of_task, tasks = columns.codes(task) if task else (np.zeros(len(values), dtype=np.int64), [])
    measures = {"score": values}
    if well_formed:
        formed = columns.floats(well_formed)
        formed = np.where(np.isnan(formed), np.nan, (formed != 0).astype(np.float64))
        measures |= {"well_formed": formed, "score_well_formed": np.where(formed == 1, values, np.nan)}
    is_curve = columns.names[variant].dtype.is_numeric()
    pairs = list(pairwise(range(len(names))) if is_curve else combinations(range(len(names)), 2))
    drawn = resample(codes_or_rows(columns, item), replicates, seed) if replicates else None
    unread = np.isnan(values)
    levels: list[tuple[Any, ...]] = []
    differences: list[tuple[Any, ...]] = []
    for part, rows in [(None, np.ones(len(values), dtype=bool)), *((t, of_task == k) for k, t in enumerate(tasks))]:
        missing = np.bincount(code[rows & unread], minlength=len(names))
        for measure, column in measures.items():
            column = np.where(rows, column, np.nan)
            count = np.bincount(code[~np.isnan(column)], minlength=len(names))
            means, draws = means_by_group(column, code, len(names), drawn)
            items = drawn.items_by_group(code, len(names), ~np.isnan(column)).tolist() if drawn else [0] * len(names)
            is_share = measure == "well_formed" or are_shares(values)
            levels += [
                (
                    *(part, name, measure),
                    *_told(means[v], draws[:, v], drawn, items[v], is_share=is_share),
                    *(int(count[v]), int(missing[v])),
                )
                for v, name in enumerate(names)
            ]
            differences += [
                (
                    *(part, names[b], measure, names[a]),
                    *_told(means[b] - means[a], draws[:, b] - draws[:, a], drawn, min(items[a], items[b])),
                )
                for a, b in pairs
            ]
    return Compared(
        levels=pl.DataFrame(levels, schema=LEVELS, orient="row"),
        differences=pl.DataFrame(differences, schema=DIFFERENCES, orient="row"),
    )


def _told(
    value: float, draws: Floats, drawn: Resamples | None, items: int, *, is_share: bool = False
) -> tuple[float | None, float | None, float | None]:
    interval = None
    if drawn and np.isfinite(value):
        interval = share_interval(value, draws, items) if is_share else drawn.interval(draws, items=items)
    return defined(value), *(interval or (None, None))
