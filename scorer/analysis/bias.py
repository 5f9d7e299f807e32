"""Bias of a judge: position, length, self-preference. Measured on finished tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import (
    BOOTSTRAP,
    Bootstrap,
    Interval,
    mean,
    means_by_group,
    share_interval,
)
from scorer.analysis.columns import compact, require, take
from scorer.analysis.correlation import Codes, Floats, defined
from scorer.analysis.rank_correlation import rank_correlation
from scorer.errors import SpecError


@dataclass(frozen=True, slots=True)
class Position:
    """Verdicts of one pair in both orders.

    `first`: mean preference for what stands first, .5 without bias. `same`: share of the `pairs` whose verdict names
    the same side in both orders. `incomplete` pairs lack a verdict in one order.
    """

    pairs: int
    incomplete: int
    first: float
    first_interval: Interval | None
    same: float
    same_interval: Interval | None

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Length:
    """Correlations of scores and human values with the length of a text, over the same rows.

    Spearman's correlations with length; `people` None without a human column, `partial` that of score and length with
    the human value held fixed, which is the judge's length bias. None where a side is constant.
    """

    n: int
    unread: int
    judge: float | None
    judge_interval: Interval | None
    people: float | None
    people_interval: Interval | None
    partial: float | None

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SelfPreference:
    """Self-preference: how much more a judge rates its own systems above human values than other systems.

    `excess` is mean (score - human) of its own systems less that of the others, both sides standardised: in standard
    deviations, 0 without bias. None where a side is constant.
    """

    own: int
    others: int
    unread: int
    excess: float | None
    interval: Interval | None

    def json(self) -> dict[str, Any]:
        return asdict(self)


def position(
    frame: pl.LazyFrame,
    preference: str,
    swapped: str,
    pair: Sequence[str],
    *,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Position:
    """Position bias, from two rows of each pair, one for each order.

    One row for each pair and order: `preference` in [0, 1] is that for the same side whatever the order, `swapped` says
    that this side stood second, `pair` are the columns that name a pair.
    Raises SpecError for columns that cannot serve, a pair that is not there exactly once in each order, and where no
    pair has both verdicts.
    """
    columns = take(frame, [preference, swapped], pair)
    values, second = columns.floats(preference), columns.floats(swapped) == 1
    check_preference(preference, values)
    code, names = columns.codes(*pair)
    given, turned = (np.bincount(code[rows], minlength=len(names)) for rows in (~second, second))
    if odd := np.flatnonzero((given != 1) | (turned != 1)).tolist():
        times = f"{given[odd[0]]} times as given, {turned[odd[0]]} times swapped"
        raise SpecError([f"{len(odd)} pairs are not there once in each order, the first {names[odd[0]]}: {times}."])
    as_given, as_turned = (np.empty(len(names)) for _ in range(2))
    as_given[code[~second]], as_turned[code[second]] = values[~second], values[second]
    return _position(preference, as_given, as_turned, np.arange(len(names), dtype=np.int64), bootstrap)


def position_of_orders(
    frame: pl.LazyFrame,
    given: str,
    swapped: str,
    *,
    item: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Position:
    """Position bias, where a row holds a pair's preferences in both orders.

    `given` and `swapped` are the preferences in [0, 1] for one side of the pair, which stood first and second. Rows of
    an `item` count as one in the intervals.
    Raises SpecError for columns that cannot serve and where no row has both.
    """
    columns = take(frame, [given, swapped], [item] if item else [])
    for name in (given, swapped):
        check_preference(name, columns.floats(name))
    cluster = columns.coded(item)
    return _position(given, columns.floats(given), columns.floats(swapped), cluster, bootstrap)


def _position(preference: str, as_given: Floats, as_turned: Floats, cluster: Codes, bootstrap: Bootstrap) -> Position:
    both = ~np.isnan(as_given) & ~np.isnan(as_turned)
    if not both.any():
        raise SpecError([f"No pair has a value in {preference} in both orders."])
    as_given, as_turned = as_given[both], as_turned[both]
    first = (as_given + 1 - as_turned) / 2
    same = (np.sign(as_given - 0.5) == np.sign(as_turned - 0.5)).astype(np.float64)
    drawn = bootstrap.draw(compact(cluster[both])[0])
    return Position(
        pairs=len(first),
        incomplete=int((~both).sum()),
        first=float(first.mean()),
        first_interval=share_interval(float(first.mean()), mean(first, drawn), drawn.items) if drawn else None,
        same=float(same.mean()),
        same_interval=share_interval(float(same.mean()), mean(same, drawn), drawn.items) if drawn else None,
    )


def length(
    frame: pl.LazyFrame,
    score: str,
    text: str,
    *,
    human: str | None = None,
    item: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Length:
    """Length bias: Spearman's correlation of the score with the characters of the column `text`.

    Raises SpecError for columns that cannot serve and fewer than three rows with all numbers.
    """
    return by_length(measured(frame, text), score, text, human=human, item=item, bootstrap=bootstrap)


def by_length(
    frame: pl.LazyFrame,
    score: str,
    length: str,
    *,
    human: str | None = None,
    item: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Length:
    """The same, where the column `length` holds the numbers of characters."""
    names = [score, length, *([human] if human else [])]
    columns = take(frame, names, [item] if item else [])
    rows, unread = 0, 0
    there = np.zeros(columns.rows.height if item is None else len(columns.values[item]), dtype=bool)
    for numbers, (of_item,) in columns.parts(names, [item]):
        judged, known = ~np.isnan(numbers[0]), ~np.isnan(numbers[1:]).any(axis=0)
        rows, unread = rows + int((judged & known).sum()), unread + int((known & ~judged).sum())
        there[of_item[judged & known]] = True
    if rows < 3:
        needed = " and ".join(name for name in (score, length, human) if name)
        raise SpecError([f"Rows with {needed}: {rows}; a correlation with length needs three."])
    drawn = bootstrap.draw_items(int(there.sum()))
    cluster = np.zeros(len(there), dtype=np.int16)  # BUNDLES is smaller than its largest value
    if drawn is not None:
        cluster[there] = drawn.cluster_of_item

    def of(first: str, second: str, *, resampled: bool = True) -> tuple[float | None, Interval | None]:
        def pairs() -> Iterator[tuple[Floats, Floats, Codes]]:
            for numbers, (of_item,) in columns.parts(names, [item]):
                kept = ~np.isnan(numbers).any(axis=0)
                one, other = numbers[names.index(first)][kept], numbers[names.index(second)][kept]
                yield one, other, cluster[of_item[kept]].astype(np.int64)

        rho, draws = rank_correlation(pairs, drawn if resampled else None)
        return rho, drawn.interval(draws) if drawn is not None and resampled and rho is not None else None

    judge, judge_interval = of(score, length)
    people, people_interval = of(human, length) if human else (None, None)
    partial = None
    if human and judge is not None and people is not None:
        both, _ = of(score, human, resampled=False)
        rest = 0.0 if both is None else (1 - people**2) * (1 - both**2)
        partial = defined((judge - people * (both or 0.0)) / math.sqrt(rest)) if rest > 0 else None
    return Length(rows, unread, judge, judge_interval, people, people_interval, partial)


def self_preference(
    frame: pl.LazyFrame,
    score: str,
    human: str,
    system: str,
    own: Sequence[str],
    *,
    item: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> SelfPreference:
    """Self-preference: whether the judge rates the systems named in `own` higher than people do.

    Raises SpecError for columns that cannot serve, an `own` that is no system of the table, and where either side has
    no row with both numbers.
    """
    columns = take(frame, [score, human], [system, *([item] if item else [])])
    x, y = columns.floats(score), columns.floats(human)
    code, names = columns.codes(system)
    if unknown := [name for name in own if name not in names]:
        raise SpecError([f"{', '.join(unknown)} is not in column {system}; there are {', '.join(names)}."])
    kept = ~np.isnan(x) & ~np.isnan(y)
    unread = int((np.isnan(x) & ~np.isnan(y)).sum())
    mine = np.isin(code, [names.index(name) for name in own])[kept].astype(np.int64)
    count = np.bincount(mine, minlength=2)
    if not count.all():
        raise SpecError(
            [f"{count[1]} rows of its own and {count[0]} of others have both {score} and {human}; give both."]
        )
    x, y = x[kept], y[kept]
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return SelfPreference(int(count[1]), int(count[0]), unread, None, None)
    above = (x - x.mean()) / x.std() - (y - y.mean()) / y.std()
    drawn = bootstrap.draw(compact(columns.coded(item)[kept])[0])
    means, draws = means_by_group(above, mine, 2, drawn)
    interval = drawn.interval(draws[:, 1] - draws[:, 0]) if drawn else None
    return SelfPreference(int(count[1]), int(count[0]), unread, float(means[1] - means[0]), interval)


def check_preference(name: str, values: Floats) -> None:
    """Raises SpecError where a value is no preference."""
    if ((values < 0) | (values > 1)).any():
        raise SpecError([f"Column {name} leaves [0, 1]; it must be a preference, 0.5 for a tie."])


def measured(frame: pl.LazyFrame, *texts: str) -> pl.LazyFrame:
    """The frame with each text replaced by its length in characters."""
    schema = frame.collect_schema()
    require(schema, texts)
    problems = [f"Column {name} holds {schema[name]}, not texts." for name in texts if schema[name] != pl.String]
    if problems:
        raise SpecError(problems)
    return frame.with_columns(pl.col(*texts).str.len_chars())
