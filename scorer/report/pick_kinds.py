"""The kinds of picks as polars expressions: which rows belong, in which order, and by what value.

Each kind is one function of the table. A kind that the table cannot have says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from scorer.report.columns import number
from scorer.report.distance import Distance, distance
from scorer.report.error_counts import error_counts
from scorer.report.row_hash import row_share, shard_numbers
from scorer.report.run_table import RunTable
from scorer.report.sample_spread import POOL, sampled_runs, spread_of

UNREAD = ("Unreadable", "Truncated", "Refused", "NoReply")
"""Errors of rows whose reply held no verdict, or that got no reply."""


@dataclass(frozen=True, slots=True)
class PickKind:
    """One kind of pick: the rows that belong to it (None: all), in rising `order` (None: one drawn by chance).

    `by` is the value that tells why a row was picked, `unit` says in what it is measured. `columns` are those that the
    expressions read. With `measure` the rows are ordered by what it finds of `pool` rows that belong, largest first; it
    gets them with `columns`. With `missing`, a sentence, the table can have no such rows.
    """

    belongs: pl.Expr | None = None
    order: pl.Expr | None = None
    by: pl.Expr | None = None
    columns: tuple[str, ...] = ()
    unit: str = ""
    missing: str | None = None
    measure: Callable[[pl.DataFrame], list[float]] | None = None
    pool: int = 0


class Measured:
    """What some kinds need to know of all rows before they pick: measured once, where a kind asks for it."""

    def __init__(self, table: RunTable) -> None:
        self._table = table

    @cached_property
    def distance(self) -> Distance | None:
        """The distance to the human values, None where there are none."""
        return distance(self._table)

    @cached_property
    def errors(self) -> Mapping[str, int]:
        """How many rows have each error."""
        return error_counts(self._table)


def no_such(why: str) -> PickKind:
    """A kind that the table cannot have."""
    return PickKind(belongs=pl.lit(False), missing=why)


_NO_HUMAN = no_such("There is no column of human values: name one with --human.")


def score_of(table: RunTable) -> pl.Expr:
    """The score of a row; of several runs the mean of their scores, null where one has none."""
    scores = [number(name, table.schema.get(name)) for name in table.columns.scores]
    return scores[0] if len(scores) == 1 else pl.mean_horizontal(*scores, ignore_nulls=False)


def _worst(table: RunTable, _: Measured) -> PickKind:
    score = score_of(table)
    return PickKind(score.is_not_null(), score, score, table.columns.scores, _named(table))


def _best(table: RunTable, _: Measured) -> PickKind:
    score = score_of(table)
    return PickKind(score.is_not_null(), -score, score, table.columns.scores, _named(table))


def _named(table: RunTable) -> str:
    scores = table.columns.scores
    return scores[0] if len(scores) == 1 else f"mean of {', '.join(scores)}"


def _too_high(_: RunTable, measured: Measured) -> PickKind:
    far = measured.distance
    return _NO_HUMAN if far is None else PickKind(far.value > 0, -far.value, far.value, far.columns, far.unit)


def _too_low(_: RunTable, measured: Measured) -> PickKind:
    far = measured.distance
    return _NO_HUMAN if far is None else PickKind(far.value < 0, far.value, far.value, far.columns, far.unit)


def _flips(table: RunTable, _: Measured) -> PickKind:
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


def _spread(table: RunTable, _: Measured) -> PickKind:
    names = [table.of_run(run, "disagreement") for run in table.runs]
    names = [name for name in names if name in table.schema]
    if not names:
        return _spread_of_samples(table)
    spread = pl.max_horizontal(names)
    return PickKind(spread > 0, -spread, spread, tuple(names), "standard deviation of the models' scores")


def _spread_of_samples(table: RunTable) -> PickKind:
    raws = {run: table.of_run(run, "raw") for run in sampled_runs(table)}
    if not raws:
        return no_such("The judge gave one reading a row: there is no panel, and judge.samples is 1.")
    return PickKind(
        pl.any_horizontal((pl.col(raw).list.n_unique() > 1).fill_null(False) for raw in raws.values()),
        columns=tuple(raws.values()),
        unit="standard deviation of the samples",
        measure=lambda rows: spread_of(table, rows, raws),
        pool=POOL,
    )


def _judges(table: RunTable, _: Measured) -> PickKind:
    scores = table.columns.scores
    if len(scores) < 2:
        return no_such("There is one judge: give several output folders over the same input.")
    each = [number(name, table.schema.get(name)) for name in scores]
    gap = pl.max_horizontal(each) - pl.min_horizontal(each)
    compared = pl.sum_horizontal(one.is_not_null() for one in each) > 1
    return PickKind(compared & (gap > 0), -gap, gap, scores, "difference of the judges' scores")


def _errors(table: RunTable) -> list[str]:
    return [table.of_run(run, "error") for run in table.runs]


def _unread(table: RunTable, _: Measured) -> PickKind:
    errors = _errors(table)
    return PickKind(
        pl.any_horizontal(pl.col(name).is_in(UNREAD).fill_null(False) for name in errors), columns=(*errors,)
    )


def _failed(table: RunTable, measured: Measured) -> PickKind:
    """Rows of all errors in turn, each drawn by chance: a share of the chance times how many rows have that error."""
    errors = _errors(table)
    error = pl.coalesce(errors)
    counts = pl.Series([float(count) for count in measured.errors.values()], dtype=pl.Float64)
    often = error.replace_strict(list(measured.errors), counts, default=1.0, return_dtype=pl.Float64)
    named = ", ".join(f"{name} {count:,}" for name, count in measured.errors.items())
    return PickKind(error.is_not_null(), often * row_share(table), columns=(*errors,), unit=named)


def _rows(table: RunTable, _: Measured) -> PickKind:
    return PickKind(order=shard_numbers(table) * 2**40 + pl.col("row"))


KINDS: Mapping[str, Callable[[RunTable, Measured], PickKind]] = {
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
    "too_high": "judge too high",
    "too_low": "judge too low",
    "flips": "verdicts that flip with the order",
    "spread": "widest spread of the judge's readings",
    "judges": "judges that differ most",
    "unread": "replies without a verdict",
    "failed": "failed rows",
    "rows": "rows in their order",
}
"""What each kind shows."""
