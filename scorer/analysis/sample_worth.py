"""What one more sample of a judge is worth, and what another form of the question is worth, in agreement with people.

The replies are stored ones: a subset of n of a row's samples gives the score that n samples would have given. Every row
has the same n.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap
from scorer.analysis.correlation import Codes, Floats, defined
from scorer.analysis.sampled_agreement import LabelledItems, Statistic
from scorer.analysis.sampled_scores import SampledScores
from scorer.analysis.simultaneous import simultaneous_of_draws
from scorer.errors import SpecError
from scorer.html_tables import rows_html

WORTH = 0.01

_VALUE = dict.fromkeys(("value", "low", "high"), pl.Float64())
CURVES = pl.Schema(
    {"form": pl.String(), "statistic": pl.String(), "n": pl.Int64(), **_VALUE}
    | {"gain": pl.Float64(), "gain_at_most": pl.Float64(), "unread": pl.Float64()}
)
FORMS = pl.Schema(
    {"statistic": pl.String(), "form": pl.String(), "n": pl.Int64(), "against": pl.String(), "against_n": pl.Int64()}
    | {**_VALUE, "rows": pl.Int64()}
)


@dataclass(frozen=True, slots=True)
class SampleWorth:
    """Agreement with people by the number of samples, for one or several forms of the question.

    `curves`: form, statistic (pearson; item_kendall where items are named), n, the value with its 95 % interval low to
    high over items, `gain` to 2n samples and `gain_at_most`, its upper 95 % bound, both null beyond half of the stored
    samples; `unread` is the mean number of rows without a verdict. `stop` is by form and statistic the smallest n whose
    gain is at most `worth` by that bound, null where no n up to half of the stored samples is known to be enough.
    `forms` are differences of form at n less `against` at `against_n`, over the `rows` that both read; the intervals of
    one statistic hold together in 95 % of tables.
    """

    worth: float
    rows: int
    items: int
    curves: pl.DataFrame
    stop: Mapping[str, Mapping[str, int | None]]
    forms: pl.DataFrame
    notes: Sequence[str] = field(default=())

    @property
    def frame(self) -> pl.DataFrame:
        """`curves`."""
        return self.curves

    def _repr_html_(self) -> str:
        return rows_html("Agreement by the number of samples", self.curves.to_dicts(), self.notes)

    def json(self) -> dict[str, Any]:
        return {
            "worth": self.worth,
            "rows": self.rows,
            "items": self.items,
            "stop": {form: dict(found) for form, found in self.stop.items()},
            "curves": self.curves.to_dicts(),
            "forms": self.forms.to_dicts(),
            "notes": list(self.notes),
        }


def sample_worth(
    forms: Mapping[str, SampledScores],
    human: Floats,
    *,
    item: Codes | None = None,
    task: Codes | None = None,
    worth: float = WORTH,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> SampleWorth:
    """The agreement of n samples with `human`, for each n and form; rows without a human value (NaN) are left out.

    A value is the mean over 20 random subsets without replacement of each row's samples. Its interval is that of the
    bootstrap over items; at n of n samples there is one subset, and the interval is of the items alone. With `task` the
    value is the mean over tasks. Two forms are compared at one sample, at all samples, and one against all.
    Raises SpecError where fewer than two rows have a human value, all of these are equal, or `worth` is not positive.
    """
    labelled = np.flatnonzero(np.isfinite(human))
    y = human[labelled]
    problems = [f"--worth {worth:g} is not allowed; it must be more than 0."] if not worth > 0 else []
    if len(y) < 2:
        problems.append(f"{len(y)} rows have a human value; the worth of a sample needs two or more.")
    elif y.min() == y.max():
        problems.append(f"The human value is {y[0]:g} in all {len(y)} rows; agreement needs people to tell rows apart.")
    if problems:
        raise SpecError(problems)
    items = LabelledItems(
        y, None if item is None else item[labelled], None if task is None else task[labelled], bootstrap
    )
    scores = {name: dict(form.where(labelled).subsets(seed=bootstrap.seed)) for name, form in forms.items()}
    curves: list[tuple[Any, ...]] = []
    stop: dict[str, dict[str, int | None]] = {}
    for name, by_n in scores.items():
        found = {n: items.statistics(of) for n, of in by_n.items()}
        unread = {n: float(np.isnan(of).sum(axis=0).mean()) for n, of in by_n.items()}
        stop[name] = dict.fromkeys(items.names)
        for statistic in items.names:
            for n, value, interval, gain, most in _curve(items, {n: of[statistic] for n, of in found.items()}):
                curves.append((name, statistic, n, value, *(interval or (None, None)), gain, most, unread[n]))
                if stop[name][statistic] is None and most is not None and most < worth:
                    stop[name][statistic] = n
    differences = list(_differences(items, scores))
    return SampleWorth(
        worth=worth,
        rows=len(y),
        items=items.items,
        curves=pl.DataFrame(curves, schema=CURVES, orient="row"),
        stop=stop,
        forms=pl.DataFrame(differences, schema=FORMS, orient="row"),
        notes=list(_notes(forms, differences)),
    )


def _curve(
    items: LabelledItems, by_n: Mapping[int, Statistic]
) -> Iterator[tuple[int, float | None, tuple[float, float] | None, float | None, float | None]]:
    """For each n its value, interval, gain to 2n, and the upper 95 % bound of that."""
    for n, one in by_n.items():
        interval = items.drawn.interval(one.draws, items=one.items) if items.drawn else None
        gain = most = None
        if 2 * n in by_n:
            more = by_n[2 * n].minus(one)
            gain = defined(more.value)
            bounds = items.drawn.interval(more.draws, level=0.9, items=more.items) if items.drawn else None
            most = None if bounds is None else bounds[1]
        yield n, defined(one.value), interval, gain, most


def _differences(items: LabelledItems, scores: Mapping[str, Mapping[int, Floats]]) -> Iterator[tuple[Any, ...]]:
    """Each two forms at one sample, at all of theirs, and one sample of one against all of the other."""
    keys: list[tuple[str, int, str, int]] = []
    for first, second in combinations(scores, 2):
        ends = [(a, b) for a in (1, max(scores[first])) for b in (1, max(scores[second]))]
        keys += [(first, a, second, b) for a, b in dict.fromkeys(ends)]
    found: list[tuple[dict[str, Statistic], int]] = []
    for first, n, second, m in keys:
        x, y = np.broadcast_arrays(scores[first][n], scores[second][m])
        both = np.isfinite(x) & np.isfinite(y)
        a, b = (items.statistics(np.where(both, one, np.nan)) for one in (x, y))
        found.append(({name: a[name].minus(b[name]) for name in a}, round(float(both.sum(axis=0).mean()))))
    for statistic in items.names:
        intervals = simultaneous_of_draws(
            [one[statistic].value for one, _ in found],
            [one[statistic].draws for one, _ in found],
            min((one[statistic].items for one, _ in found), default=0),
        )
        for key, (one, rows), interval in zip(keys, found, intervals, strict=True):
            yield statistic, *key, defined(one[statistic].value), *(interval or (None, None)), rows


def _notes(forms: Mapping[str, SampledScores], differences: Sequence[Any]) -> Iterator[str]:
    if few := [name for name, form in forms.items() if form.samples == 1]:
        yield (
            f"{', '.join(few)}: one sample a row is stored, so what a second one is worth is not known. Run the judge "
            "with judge.samples = 4 or more on the labelled rows."
        )
    if len(differences) > 2:
        yield "The intervals of the differences of one statistic hold together in 95 % of tables (max-t)."
