"""What a cascade promises, and the result of its calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

import numpy as np

from scorer.analysis.bootstrap import Interval
from scorer.analysis.cascade import Bools, Calibrated, Population
from scorer.analysis.cascade_tests import labels_needed
from scorer.analysis.correlation import Floats

AGREEMENT, DELTA = 0.9, 0.05


@dataclass(frozen=True, slots=True)
class Promise:
    """What is asked of a cascade: agreement with people on kept rows of at least `agreement`, but for `delta`.

    Two verdicts agree where they are on the same side of .5, for preferences and shares, else where they differ by
    `within` at most. `population` is "future", rows like the labelled ones, or "these", the table's rows without a
    label.
    """

    agreement: float = AGREEMENT
    delta: float = DELTA
    within: float = 0.5
    population: Population = "future"

    @property
    def alpha(self) -> float:
        return 1 - self.agreement

    def problems(self, item: str | None = None) -> list[str]:
        """What is not allowed; `item` is the column of which one row each counts."""
        problems = [
            f"--{name} {value:g} is not allowed; it must be more than 0 and less than 1."
            for name, value in (("agreement", self.agreement), ("delta", self.delta))
            if not 0 < value < 1
        ]
        if self.within < 0:
            problems.append(f"--within {self.within:g} is not allowed; it must be 0 or more.")
        if self.population not in get_args(Population):
            problems.append(f"--population {self.population!r} is not allowed; it must be future or these.")
        if self.population == "these" and item is not None:
            problems.append(
                "--population these counts the rows of the table that have no label, and needs labels drawn row by "
                f"row; with --item {item} one row of each item counts. Leave one of the two out."
            )
        return problems

    def agree(self, a: Floats, b: Floats) -> Bools:
        """Whether each two verdicts agree; False where one is NaN."""
        known = np.concatenate([a[np.isfinite(a)], b[np.isfinite(b)]])
        if len(known) and known.min() >= 0 and known.max() <= 1:
            return np.asarray(np.sign(a - 0.5) == np.sign(b - 0.5)) & np.isfinite(a) & np.isfinite(b)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(a - b) <= self.within + 1e-9)


@dataclass(frozen=True, slots=True)
class KeptBy:
    """One cheap judge: its calibration, and the agreement on the labelled rows that it keeps and on all of them."""

    calibrated: Calibrated
    on_all: float
    why_refused: str | None

    def json(self) -> dict[str, Any]:
        taken = self.calibrated.taken
        return {
            "threshold": self.calibrated.threshold,
            "share": self.calibrated.share,
            "labels": self.calibrated.labels,
            "kept_labels": taken.kept if taken else 0,
            "errors": taken.errors if taken else 0,
            "p": taken.p if taken else None,
            "agreement_on_all": self.on_all,
            "refused": self.why_refused,
            "steps": [asdict(step) for step in self.calibrated.steps],
        }


@dataclass(frozen=True, slots=True)
class Strong:
    """The strong judge on the labelled rows: its agreement on all, and on those that the chosen judge passes on.

    `whole` is the agreement of the cascade. None where there is no row or no choice. These are estimates; the promise
    is about kept rows alone. `cost` is that of the cascade over that of the strong judge alone, by cost_microusd.
    """

    name: str
    on_all: float
    on_rest: tuple[float, Interval] | None
    whole: float | None
    cost: float | None

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Cascade:
    """The calibration: each cheap judge by its score column, and `chosen`, the one that keeps most; None: refused.

    `delta_each` is delta over the number of judges. `needed` are the labels that must be kept for so many errors, and
    `ceiling` is how often two people agree, None where one person labelled.
    """

    promise: Promise
    delta_each: float
    rows: int
    labels: int
    judges: Mapping[str, KeptBy]
    chosen: str | None
    strong: Strong | None
    ceiling: float | None
    notes: Sequence[str] = field(default=())

    @property
    def threshold(self) -> float | None:
        """The threshold of the chosen judge; None where the cascade is refused."""
        return None if self.chosen is None else self.judges[self.chosen].calibrated.threshold

    def json(self) -> dict[str, Any]:
        return {
            "agreement": self.promise.agreement,
            "delta": self.promise.delta,
            "population": self.promise.population,
            "delta_each": self.delta_each,
            "rows": self.rows,
            "labels": self.labels,
            "needed": {str(e): labels_needed(self.promise.alpha, self.delta_each, e) for e in (0, 1, 2, 5, 10)},
            "ceiling": self.ceiling,
            "chosen": self.chosen,
            "threshold": self.threshold,
            "judges": {name: one.json() for name, one in self.judges.items()},
            "strong": None if self.strong is None else self.strong.json(),
            "notes": list(self.notes),
        }
