"""The result type of `estimate`: its parts and its JSON. `scorer.analysis.prediction_powered` computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from scorer.analysis.bootstrap import Interval
from scorer.html_tables import rows_html


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its 95 % interval; both None where there is nothing to average, the interval where one item is.

    A mean of zeros and ones alone, a share, has Wilson's interval.
    """

    value: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """One system, or all rows.

    `mean` is the answer, on the human scale; `labels_only` what the labels say by themselves, `judge_only` the mean of
    the scores on the judge's scale. `weight` is PPI++'s lambda, which also translates the judge's scale; near 0 the
    judge's scores do not help. `labels_worth` is how many labels alone would give as narrow an interval.

    The population is `rows` with a score, of which `labels` have a human value, and `unread` rows without one, of which
    `labels_unread` do; the estimate rests on both kinds of labels. `unread_weight` is the weight of the second
    regressor where unread rows stand at the mean of the read scores: what people think of an unread row beyond that. It
    is 0 where no labelled row is unread, None where no row is unread. `bad` rows ended as BadRow, had nothing to judge;
    `pending` ones are not judged yet. Neither is in the population.
    """

    rows: int
    labels: int
    unread: int
    mean: Mean
    labels_only: Mean
    judge_only: Mean
    weight: float | None
    labels_worth: int | None
    labels_unread: int = 0
    unread_weight: float | None = None
    bad: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """System `a` less system `b`, over the `items` of which both have a row, unread ones included.

    Each system keeps all its labels of these items, whether the other's answer is labelled or not. Without an item
    column every row counts, and the systems are independent samples; `items` is None. The intervals of all differences
    of a table hold together in 95 % of tables.
    `labels_more` is how many further labels each would need to tell them apart (95 %, power 80 %) if the difference is
    what it seems: 0 where they suffice, None where no number would, with this corpus.
    """

    a: str
    b: str
    difference: float
    interval: Interval | None
    labels_more: int | None
    items: int | None = None


_FLOATS = ("mean", "low", "high", "labels_only", "judge_only", "weight", "unread_weight")
"""Columns of `Estimates.frame` that may hold nothing but nulls."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """The answer of `estimate`: all rows, each system, each pair of systems, and notes."""

    overall: Estimate
    systems: Mapping[str, Estimate]
    differences: Sequence[Difference]
    notes: Sequence[str] = field(default=())

    def json(self) -> dict[str, Any]:
        return {
            "overall": {**asdict(self.overall), "notes": list(self.notes)},
            "systems": {name: asdict(of_system) for name, of_system in self.systems.items()},
            "differences": [asdict(difference) for difference in self.differences],
        }

    @property
    def frame(self) -> pl.DataFrame:
        """A row for all rows (`system` null) and one for each system: mean, low, high, and the counts behind them."""
        return pl.DataFrame(
            [{"system": system, **flat(asdict(one))} for system, one in [(None, self.overall), *self.systems.items()]],
            schema_overrides={"system": pl.String, "labels_worth": pl.Int64, **dict.fromkeys(_FLOATS, pl.Float64)},
            infer_schema_length=None,
        )

    def _repr_html_(self) -> str:
        return rows_html("Mean human value, estimated", self.frame.to_dicts(), self.notes)


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with each mean in three columns: `<name>`, `<name>_low`, `<name>_high`; for `mean` low and high."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            low, high = value["interval"] or (None, None)
            before = "" if name == "mean" else f"{name}_"
            found |= {name: value["value"], f"{before}low": low, f"{before}high": high}
        else:
            found[name] = value
    return found
