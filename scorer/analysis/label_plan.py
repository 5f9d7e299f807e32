"""Which rows a person labels next: drawn at random within strata, with the weights that `estimate` needs; how precise.

Labels never decide which row is drawn but by the strata's spread: a row that is picked for its score or for a
disagreement says nothing about all rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.bootstrap import student
from scorer.analysis.columns import not_judged, require, take
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.label_design import PICKED, RANDOM, STRATUM, STRATUM_ROWS, WEIGHT
from scorer.analysis.label_keys import nested_problems
from scorer.analysis.reading import collected
from scorer.analysis.row_chance import row_chance
from scorer.analysis.strata import LEAST, Stratum, allocate, strata
from scorer.errors import SpecError

SUPPOSED = 0.7
"""The correlation of judge and people that is supposed where no label says more."""
_PRIOR = 2
"""How many labels the spread within all strata counts for in the spread of one."""
STEPS = (30, 60, 120, 250, 500, 1000)


@dataclass(frozen=True, slots=True)
class Precision:
    """What `labels` labels give: half of the 95 % interval of the mean of all rows, with the judge and without."""

    labels: int
    with_judge: float
    labels_only: float


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """Rows to label: `rows` are their places in the table in a random order, and `design` their columns of the file.

    `strata` and `drawn` are in step. `precision` says what some numbers of labels give, by `measured` labels or, where
    there are none, supposing a correlation of .7; `needed` is the number for the half width that was asked for, None
    where none was or all rows do not suffice. `spread` is the standard deviation of human values that this rests on.
    """

    population: int
    rows: Codes
    design: pl.DataFrame
    strata: Sequence[Stratum]
    drawn: Sequence[int]
    precision: Sequence[Precision]
    spread: float
    measured: int
    within: float | None = None
    needed: int | None = None
    known: int = 0
    notes: Sequence[str] = field(default=())

    def json(self) -> dict[str, Any]:
        return {
            "population": self.population,
            "labels": len(self.rows),
            "labelled": self.known,
            "within": self.within,
            "needed": self.needed,
            "spread": self.spread,
            "measured": self.measured,
            "precision": [
                {"labels": p.labels, "with_judge": p.with_judge, "labels_only": p.labels_only} for p in self.precision
            ],
            "strata": [
                {
                    "systems": list(one.systems),
                    "tasks": list(one.tasks),
                    "low": one.low,
                    "high": one.high,
                    "rows": len(one.rows),
                    "labels": int(drawn),
                }
                for one, drawn in zip(self.strata, self.drawn, strict=True)
            ],
            "notes": list(self.notes),
        }


def label_plan(
    frame: pl.LazyFrame,
    score: str,
    keys: Sequence[str],
    *,
    system: str | None = None,
    task: str | None = None,
    n: int | None = None,
    within: float | None = None,
    human: str | None = None,
    simple: bool = False,
    seed: int = 0,
) -> LabelPlan:
    """Draws `n` rows to label, or as many as give the mean of all rows +- `within`; 60 where neither is given.

    The population is every row that was judged, read or not; BadRow and pending ones are out. In each stratum the rows
    with the smallest numbers by `row_chance` of their `keys` are drawn, so that a larger draw with the same seed holds
    a smaller one, but for what strata's limits move. `human` are the labels so far, null where there are none: with 10
    or more the strata's shares follow the spread of the judge's errors in them (Neyman), and the precision is measured.
    `simple` draws from all rows alike. Raises SpecError for columns that cannot serve, and where `n` or `within` is not
    positive or no row was judged.
    """
    names = [name for name in (system, task) if name]
    schema = frame.collect_schema()
    require(schema, [score, *keys, *names, *([human] if human else [])])
    problems = [] if n is None or n >= 1 else [f"--n {n} is not allowed; it must be 1 or more."]
    problems += [] if within is None or within > 0 else [f"--within {within:g} is not allowed; it must be more than 0."]
    if n is not None and within is not None:
        problems.append("--n and --within both say how many rows to label: give one of them.")
    problems += nested_problems(schema, keys)
    if problems:
        raise SpecError(problems)
    columns = take(frame, [score, *([human] if human else [])], names)
    bad, pending = not_judged(frame, score)
    judged = np.flatnonzero(~bad & ~pending)
    if not len(judged):
        raise SpecError([f"No row is judged in {score}; rows to label are drawn from judged rows."])
    rows = collected(frame.select(keys))[judged]
    if rows.is_duplicated().any():
        raise SpecError([f"--on {' --on '.join(keys)} does not name a row: some values are there twice. Give --on id."])
    f = columns.floats(score)[judged]
    y = columns.floats(human)[judged] if human else np.full(len(f), np.nan)
    errors = _Errors(f, y)
    by = [None if name is None or simple else _part(columns.codes(name), judged) for name in (system, task)]

    def divided(labels: int) -> tuple[list[Stratum], NDArray[np.int64], Floats]:
        found = [Stratum([], [], None, None, np.arange(len(f)))] if simple else strata(f, by[0], by[1], labels)
        spreads = errors.spreads(found)
        sizes = np.array([len(one.rows) for one in found], dtype=np.int64)
        return found, allocate(sizes, spreads, labels), spreads

    def half_width(labels: int) -> float:
        found, drawn, spreads = divided(labels)
        share = np.array([len(one.rows) for one in found]) / len(f)
        variance = float((share**2 * spreads**2 / drawn).sum()) + errors.explained**2 / len(f)
        return student(0.975, max(int(drawn.sum()) - len(found), 1)) * math.sqrt(variance)

    needed = None if within is None else _fewest(half_width, within, len(f))
    wanted = n if n is not None else (needed or len(f)) if within is not None else min(60, len(f))
    found, drawn, _ = divided(min(wanted, len(f)))
    chance = row_chance(rows, keys, seed)
    place, design = _draw(found, drawn, chance, seed)
    asked = sorted({steps for steps in STEPS if steps <= len(f)} | {len(place)})
    notes = []
    if within is not None and needed is None:
        notes.append(f"All {len(f):,} rows labelled would not give +-{within:g}: more rows are needed.")
    if (n or 0) > len(f):
        notes.append(f"There are {len(f):,} judged rows; all of them are drawn.")
    return LabelPlan(
        population=len(f),
        rows=judged[place],
        design=design,
        strata=found,
        drawn=drawn.tolist(),
        precision=[Precision(k, half_width(k), errors.alone(k)) for k in asked],
        spread=errors.human,
        measured=errors.labels,
        within=within,
        needed=needed,
        known=int(np.isfinite(y[place]).sum()),
        notes=notes,
    )


class _Errors:
    """The spread of human values and of the judge's errors: from labels where there are 10 or more, else supposed."""

    def __init__(self, f: Floats, y: Floats) -> None:
        both = np.isfinite(f) & np.isfinite(y)
        read = f[np.isfinite(f)]
        self._labelled = np.isfinite(y)
        self.labels = int(self._labelled.sum()) if self._labelled.sum() >= 2 * LEAST else 0
        if self.labels:
            self.human = float(y[self._labelled].std(ddof=1))
            slope = 0.0
            if both.sum() > 2 and f[both].std() > 0:
                slope = float(np.cov(f[both], y[both])[0, 1] / f[both].var(ddof=1))
            middle = float(f[both].mean()) if both.any() else 0.0
            self._rest = y - slope * (np.where(np.isfinite(f), f, middle) - middle)
            self._spread = float(self._rest[self._labelled].std(ddof=1))
        else:
            self.human = float(read.std(ddof=1)) if len(read) > 1 and read.std() > 0 else 1.0
            self._spread = self.human * math.sqrt(1 - SUPPOSED**2)
        self.explained = math.sqrt(max(self.human**2 - self._spread**2, 0.0))

    def spreads(self, found: Sequence[Stratum]) -> Floats:
        """The spread of the errors within each stratum, that of few labels drawn to the spread within all strata."""
        if not self.labels:
            return np.full(len(found), self._spread)
        mine = [self._rest[one.rows][self._labelled[one.rows]] for one in found]
        squares = np.array([float(((part - part.mean()) ** 2).sum()) if len(part) else 0.0 for part in mine])
        free = np.array([max(len(part) - 1, 0) for part in mine])
        pooled = squares.sum() / free.sum() if free.sum() else self._spread**2
        spreads: Floats = np.sqrt((squares + _PRIOR * pooled) / (free + _PRIOR))
        return spreads

    def alone(self, labels: int) -> float:
        """Half of the interval of the mean of so many labels of a simple random sample, without a judge."""
        return student(0.975, max(labels - 1, 1)) * self.human / math.sqrt(labels)


def _part(by: tuple[Codes, Sequence[str]], rows: Codes) -> tuple[Codes, Sequence[str]]:
    return by[0][rows], by[1]


def _fewest(half_width: Any, within: float, most: int) -> int | None:
    """The smallest number of labels that gives it: by doubling, then halving the step."""
    if half_width(most) > within:
        return None
    low, high = 1, 2
    while high < most and half_width(high) > within:
        low, high = high, 2 * high
    high = min(high, most)
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(middle) <= within else (middle, high)
    return high


def _draw(found: Sequence[Stratum], drawn: NDArray[np.int64], chance: Floats, seed: int) -> tuple[Codes, pl.DataFrame]:
    """The drawn rows in a random order, and their columns of the design. Strata are numbered without a meaning."""
    rng = np.random.default_rng(seed)
    number = 1 + rng.permutation(len(found))
    places = [one.rows[np.argsort(chance[one.rows], kind="stable")[:k]] for one, k in zip(found, drawn, strict=True)]
    place = np.concatenate(places)
    counts = [len(p) for p in places]
    sizes = np.repeat([len(one.rows) for one in found], counts)
    weight = sizes / np.repeat(counts, counts)
    order = rng.permutation(len(place))
    design = pl.DataFrame(
        {
            PICKED: [RANDOM] * len(place),
            STRATUM: np.repeat(number, counts),
            STRATUM_ROWS: sizes,
            WEIGHT: weight,
        }
    )
    return place[order], design[order]
