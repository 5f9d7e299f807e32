"""The noise of labels, from rows that were labelled twice: how often, and by how much, a person says something else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.columns import take
from scorer.analysis.correlation import Floats
from scorer.analysis.join_labels import join_labels, keys_of, open_labels
from scorer.errors import SpecError

FEWEST = 10


@dataclass(frozen=True, slots=True)
class Retest:
    """Two labels of each of `rows` rows.

    `same` is the share of equal ones, `noise` the standard deviation of one label about what the person means on
    average, `shift` the mean of second less first. `reliability` is the share of the variance of labels that is no
    noise, None where all labels are equal, and `highest_correlation` its root: no judge agrees better with one label.
    """

    rows: int
    same: float
    shift: float
    noise: float
    reliability: float | None
    highest_correlation: float | None

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def notes(self) -> list[str]:
        """What it means for the estimate, as sentences."""
        sentence = (
            f"{self.rows:,} rows were labelled twice: {self.same:.0%} equal, a label's noise is {self.noise:.3f}, the "
            f"second label differs by {self.shift:+.3f} on average."
        )
        if self.highest_correlation is not None:
            sentence += f" No judge can correlate with one label by more than {self.highest_correlation:.2f}."
        notes = [sentence + " The intervals above hold this noise already."]
        if self.rows < FEWEST:
            notes.append(f"{self.rows} repeated labels say little: a few dozen are needed.")
        return notes


def retest(first: Floats, second: Floats) -> Retest | None:
    """The noise by rows that have both labels (NaN: none); None where fewer than two have.

    Source: Dahlberg (1940), "Statistical Methods for Medical and Biological Students": noise^2 = sum d^2 / 2n, here
    about the mean difference; reliability as in Lord and Novick (1968), "Statistical Theories of Mental Test Scores".
    """
    both = np.isfinite(first) & np.isfinite(second)
    a, b = first[both], second[both]
    if len(a) < 2:
        return None
    difference = b - a
    noise2 = float(difference.var(ddof=1)) / 2
    total = float((a.var(ddof=1) + b.var(ddof=1)) / 2)
    reliability = None if total <= 0 else min(1.0, max(0.0, 1 - noise2 / total))
    return Retest(
        rows=len(a),
        same=float((difference == 0).mean()),
        shift=float(difference.mean()),
        noise=math.sqrt(noise2),
        reliability=reliability,
        highest_correlation=None if reliability is None else math.sqrt(reliability),
    )


def retest_of(frame: pl.LazyFrame, human: str, again: str | Path, on: Sequence[str] = ()) -> Retest:
    """`retest` of the labels in the column `human` and those of the file `again`, which has a column of that name.

    `on` are the columns that find a row's label, by default shard and row. Raises SpecError where fewer than two rows
    have both.
    """
    second = "\0again"
    keys = list(on) or keys_of(again, frame)
    labels = open_labels(again, frame, keys).rename({human: second}, strict=False)
    if second not in labels.collect_schema():
        raise SpecError(
            [f"--again {again} has no column {human}; name the column of second labels as the first one's."]
        )
    joined = take(join_labels(frame, labels, keys, [second]), [human, second])
    found = retest(joined.floats(human), joined.floats(second))
    if found is None:
        raise SpecError([f"Fewer than two rows have a label in {human} and a second one in {again}: label some again."])
    return found
