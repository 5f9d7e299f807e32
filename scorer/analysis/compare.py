"""Differences of variants, or steps of a learning curve, paired over items and by task; format apart from quality.

A model first learns the format and then the task, and a mean mixes the two up. With a column that says whether an
output is well-formed, the share of those and the mean score among them are compared beside the mean of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import (
    BOOTSTRAP,
    Bootstrap,
    Resamples,
    are_shares,
    means_by_group,
    share_interval,
)
from scorer.analysis.columns import listed, take
from scorer.analysis.correlation import Codes, Floats, defined
from scorer.analysis.paired import Mask, Measure, Pair, cells, independent, over_items, sample
from scorer.analysis.score_range import Range, bounds
from scorer.analysis.simultaneous import critical_of
from scorer.errors import SpecError
from scorer.html_tables import rows_html

KEY = dict.fromkeys(("task", "variant", "measure"), pl.String())
VALUE = dict.fromkeys(("value", "low", "high"), pl.Float64())
LEVELS = pl.Schema({**KEY, **VALUE, "rows": pl.Int64(), "unread": pl.Int64()})
ENDS = dict.fromkeys(("at_lowest", "at_highest"), pl.Float64())
COUNTS = dict.fromkeys(("items", "rows", "unread"), pl.Int64())
DIFFERENCES = pl.Schema({**KEY, "against": pl.String(), **VALUE, **ENDS, **COUNTS, "better": pl.String()})


@dataclass(frozen=True, slots=True)
class Compared:
    """Two tables, by task (null: all rows), and notes.

    `levels`: task, variant, measure, value, low, high, rows, unread, each variant by itself. Measures: score, and with
    a column of formats well_formed (a share) and score_well_formed. Null where a measure has no row.
    `differences`: task, variant, measure, against, value, low, high, at_lowest, at_highest, items, rows, unread,
    better. `value` is variant minus against over the `items` that both have read, and their `rows`; at_lowest and
    at_highest are the difference over all items that both have, with their `unread` rows at that end of the scale, or
    of the observed scores; a note says which. The intervals of the whole table hold together in 95 % of tables.
    `better` is the variant that leads significantly, whatever the scores of unread rows are; null where none does.
    """

    levels: pl.DataFrame
    differences: pl.DataFrame
    notes: Sequence[str] = field(default=())

    @property
    def frame(self) -> pl.DataFrame:
        """`differences`."""
        return self.differences

    def _repr_html_(self) -> str:
        return rows_html("Differences", self.differences.to_dicts(), self.notes)

    def json(self) -> dict[str, Any]:
        return {
            "levels": self.levels.to_dicts(),
            "differences": self.differences.to_dicts(),
            "notes": list(self.notes),
        }


def compare(
    frame: pl.LazyFrame,
    score: str,
    variant: str,
    *,
    item: str | None = None,
    task: str | None = None,
    well_formed: str | None = None,
    scale: Range | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Compared:
    """The variants' scores and their differences, with intervals from the bootstrap over items.

    Two variants or names: every pair. Numbers (examples trained on, steps): a learning curve, each against the one
    before. Differences are over the items that both variants have (with `task`, of that task), and null where they
    share none; without `item` the variants are independent samples.
    `scale` bounds rows with no verdict, by default the lowest and the highest observed score.
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
    everywhere = np.ones(len(values), dtype=bool)
    ends = bounds(values, scale)
    measures = {"score": Measure(values, everywhere, ends.low, ends.high)}
    if well_formed:
        formed = columns.floats(well_formed)
        formed = np.where(np.isnan(formed), np.nan, (formed != 0).astype(np.float64))
        measures |= {
            "well_formed": Measure(formed, everywhere, 0.0, 1.0),
            "score_well_formed": _measure(np.where(formed == 1, values, np.nan), formed == 1, scale),
        }
    is_curve = columns.values[variant].dtype.is_numeric()
    pairs = list(pairwise(range(len(names))) if is_curve else combinations(range(len(names)), 2))
    of_item = columns.coded(item)
    drawn = bootstrap.draw(of_item)
    unread = np.isnan(values)
    levels: list[tuple[Any, ...]] = []
    keys: list[tuple[str | None, str, str, str]] = []
    found: list[Pair] = []
    for part, rows in [(None, everywhere), *((t, of_task == k) for k, t in enumerate(tasks))]:
        missing = np.bincount(code[rows & unread], minlength=len(names))
        for measure, of in measures.items():
            column = np.where(rows, of.values, np.nan)
            count = np.bincount(code[~np.isnan(column)], minlength=len(names))
            means, draws = means_by_group(column, code, len(names), drawn)
            items = drawn.items_by_group(code, len(names), ~np.isnan(column)).tolist() if drawn else [0] * len(names)
            is_share = measure == "well_formed" or are_shares(values)
            levels += [
                (
                    *(part, name, measure),
                    *_with_interval(means[v], draws[:, v], drawn, items[v], is_share=is_share),
                    *(int(count[v]), int(missing[v])),
                )
                for v, name in enumerate(names)
            ]
            keys += [(part, names[b], measure, names[a]) for a, b in pairs]
            found += _pairs(of, rows, code, pairs, of_item if item else None, of_task, drawn)
    contrasts = [pair.contrast for pair in found if pair.contrast is not None]
    critical = None if drawn is None else critical_of(contrasts, drawn)
    differences = [_difference(key, pair, critical) for key, pair in zip(keys, found, strict=True)]
    return Compared(
        levels=pl.DataFrame(levels, schema=LEVELS, orient="row"),
        differences=pl.DataFrame(differences, schema=DIFFERENCES, orient="row"),
        notes=[*_notes(keys, found, critical), *([ends.note(score)] if unread.any() else [])],
    )


def _measure(values: Floats, rows: Mask, scale: Range | None) -> Measure:
    ends = bounds(values, scale)
    return Measure(values, rows, ends.low, ends.high)


def _pairs(
    of: Measure,
    rows: Mask,
    variant: Codes,
    pairs: Sequence[tuple[int, int]],
    item: Codes | None,
    task: Codes,
    drawn: Resamples | None,
) -> list[Pair]:
    """The pairs of variants over these rows; items of one name in two tasks are two items, of one cluster."""
    part = Measure(of.values, of.rows & rows, of.low, of.high)
    named = list(dict.fromkeys(v for pair in pairs for v in pair))
    if item is None:
        samples = {v: sample(part, variant == v, drawn) for v in named}
        return [independent(part, samples[a], samples[b]) for a, b in pairs]
    place = item * (int(task.max(initial=0)) + 1) + task
    items = int(item.max(initial=-1)) + 1
    of_variant = {v: cells(part, variant == v, place, item) for v in named}
    return [over_items(part, of_variant[a], of_variant[b], items, drawn) for a, b in pairs]


def _difference(key: tuple[str | None, str, str, str], pair: Pair, critical: float | None) -> tuple[Any, ...]:
    _, name, _, against = key
    value = None if pair.contrast is None else pair.contrast.value
    low, high = (pair.interval(critical) if critical is not None else None) or (None, None)
    better = None
    if pair.one_sign and low is not None and high is not None and (low > 0 or high < 0):
        better = name if low > 0 else against
    return *key, value, low, high, pair.at_lowest, pair.at_highest, pair.items, pair.rows, pair.unread, better


def _notes(
    keys: Sequence[tuple[str | None, str, str, str]], found: Sequence[Pair], critical: float | None
) -> list[str]:
    notes = []
    count = sum(pair.contrast is not None for pair in found)
    if critical is not None and count > 1:
        notes.append(
            f"The {count:,} intervals of differences hold together in 95 % of tables (max-t, {critical:.2f} "
            "standard errors). The interval of a level holds for that level alone."
        )
    apart = {f"{a} and {b}" for (_, a, _, b), pair in zip(keys, found, strict=True) if not pair.rows}
    if apart:
        notes.append(
            f"{listed(sorted(apart))} have no item with a verdict for both, overall or by task: no difference there."
        )
    turned = {
        f"{a} and {b}"
        for (_, a, _, b), pair in zip(keys, found, strict=True)
        if pair.unread and pair.contrast is not None and not pair.one_sign
    }
    if turned:
        notes.append(
            f"Which of {listed(sorted(turned))} leads depends on the rows with no verdict: no winner is named."
        )
    return notes


def _with_interval(
    value: float, draws: Floats, drawn: Resamples | None, items: int, *, is_share: bool = False
) -> tuple[float | None, float | None, float | None]:
    interval = None
    if drawn and np.isfinite(value):
        interval = share_interval(value, draws, items) if is_share else drawn.interval(draws, items=items)
    return defined(value), *(interval or (None, None))
