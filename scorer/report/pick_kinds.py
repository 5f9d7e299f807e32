"""The kinds of picks as polars expressions: which rows belong, in which order, and by what value.

Each kind is one function of the table. A kind that the table cannot have says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from scorer.report.columns import number
from scorer.report.distance import Distance
from scorer.report.row_hash import shard_numbers
from scorer.report.run_table import RunTable

UNREAD = ("Unreadable", "Truncated", "Refused", "NoReply")
"""Errors of rows whose reply held no verdict, or that got no reply."""


@dataclass(frozen=True, slots=True)
class PickKind:
    """One kind of pick: the rows that belong to it (None: all), in rising `order` (None: one drawn by chance).

    `by` is the value that tells why a row was picked, `unit` says in what it is measured. `columns` are those that the
    expressions read. With `missing`, a sentence, the table can have no such rows.
    """

    belongs: pl.Expr | None = None
    order: pl.Expr | None = None
    by: pl.Expr | None = None
    columns: tuple[str, ...] = ()
    unit: str = ""
    missing: str | None = None


def no_such(why: str) -> PickKind:
    """A kind that the table cannot have."""
    return PickKind(belongs=pl.lit(False), missing=why)


def score_of(table: RunTable) -> pl.Expr:
    """The score of a row; of several runs the mean of their scores, null where one has none."""
    scores = [number(name, table.schema.get(name)) for name in table.columns.scores]
    return scores[0] if len(scores) == 1 else pl.mean_horizontal(*scores, ignore_nulls=False)


def _worst(table: RunTable, _: Distance | None) -> PickKind:
    score = score_of(table)
    return PickKind(score.is_not_null(), score, score, table.columns.scores, _named(table))


def _best(table: RunTable, _: Distance | None) -> PickKind:
    score = score_of(table)
    return PickKind(score.is_not_null(), -score, score, table.columns.scores, _named(table))


def _named(table: RunTable) -> str:
    scores = table.columns.scores
    return scores[0] if len(scores) == 1 else f"mean of {', '.join(scores)}"


def _too_high(table: RunTable, distance: Distance | None) -> PickKind:
    if distance is None:
        return no_such("There is no column of human values: name one with --human.")
    return PickKind(distance.value > 0, -distance.value, distance.value, distance.columns, distance.unit)


def _too_low(table: RunTable, distance: Distance | None) -> PickKind:
    if distance is None:
        return no_such("There is no column of human values: name one with --human.")
    return PickKind(distance.value < 0, distance.value, distance.value, distance.columns, distance.unit)


def _flips(table: RunTable, _: Distance | None) -> PickKind:
    flipped = [table.of_run(run, "flipped") for run in table.runs]
    found = [run for run, name in zip(table.runs, flipped, strict=True) if name in table.schema]
    if not found:
        return no_such('The run compares no two responses in both orders (judge.kind = "pairwise").')
    names = {
        name: [table.of_run(run, name) for run in found]
        for name in ("flipped", "preference_given", "preference_swapped")
    }
    gap = pl.max_horizontal(
        (pl.col(given) - pl.col(swapped)).abs()
        for given, swapped in zip(names["preference_given"], names["preference_swapped"], strict=True)
    )
    return PickKind(
        pl.any_horizontal(pl.col(name).fill_null(False) for name in names["flipped"]),
        -gap,
        gap,
        tuple(name for some in names.values() for name in some),
        "difference of the preferences in the two orders",
    )


def _spread(table: RunTable, _: Distance | None) -> PickKind:
    names = [table.of_run(run, "disagreement") for run in table.runs]
    names = [name for name in names if name in table.schema]
    if not names:
        return no_such('The run asks no panel of models (judge.kind = "panel"), so no spread of theirs is stored.')
    spread = pl.max_horizontal(names)
    return PickKind(spread > 0, -spread, spread, tuple(names), "standard deviation of the models' scores")


def _judges(table: RunTable, _: Distance | None) -> PickKind:
    scores = table.columns.scores
    if len(scores) < 2:
        return no_such("There is one judge: give several output folders over the same input.")
    each = [number(name, table.schema.get(name)) for name in scores]
    gap = pl.max_horizontal(each) - pl.min_horizontal(each)
    compared = pl.sum_horizontal(one.is_not_null() for one in each) > 1
    return PickKind(compared & (gap > 0), -gap, gap, scores, "difference of the judges' scores")


def _errors(table: RunTable) -> list[str]:
    return [table.of_run(run, "error") for run in table.runs]


def _unread(table: RunTable, _: Distance | None) -> PickKind:
    errors = _errors(table)
    return PickKind(
        pl.any_horizontal(pl.col(name).is_in(UNREAD).fill_null(False) for name in errors), columns=(*errors,)
    )


def _failed(table: RunTable, _: Distance | None) -> PickKind:
    errors = _errors(table)
    return PickKind(pl.any_horizontal(pl.col(name).is_not_null() for name in errors), columns=(*errors,))


def _rows(table: RunTable, _: Distance | None) -> PickKind:
    return PickKind(order=shard_numbers(table) * 2**40 + pl.col("row"))


KINDS: Mapping[str, Callable[[RunTable, Distance | None], PickKind]] = {
    "random": lambda table, _: PickKind(),
    "worst": _worst,
    "best": _best,
    "too_high": _too_high,
    "too_low": _too_low,
    "flips": _flips,
    "spread": _spread,
    "judges": _judges,
    "unread": _unread,
    "failed": _failed,
    "rows": _rows,
}
"""The kinds by name."""

TITLES: Mapping[str, str] = {
    "random": "random rows",
    "worst": "lowest scores",
    "best": "highest scores",
    "too_high": "judge too high: the score is above the human value",
    "too_low": "judge too low: the score is below the human value",
    "flips": "verdicts that flip with the order",
    "spread": "models of the panel that differ most",
    "judges": "judges that differ most",
    "unread": "replies without a verdict",
    "failed": "failed rows",
    "rows": "rows in their order",
}
"""What each kind shows."""
