"""A cascade calibrated from a table: scores and confidences of cheap judges, and human labels of some rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import Interval, wilson
from scorer.analysis.cascade import Bools, Calibrated, calibrate, errors_allowed, labels_needed
from scorer.analysis.columns import not_judged, take
from scorer.analysis.correlation import Floats
from scorer.analysis.label_design import label_design
from scorer.errors import SpecError

AGREEMENT, DELTA = 0.9, 0.05


@dataclass(frozen=True, slots=True)
class Promise:
    """What is asked of a cascade: agreement with people on kept rows of at least `agreement`, but for `delta`.

    Two verdicts agree where they are on the same side of .5, for preferences and shares, else where they differ by
    `within` at most.
    """

    agreement: float = AGREEMENT
    delta: float = DELTA
    within: float = 0.5

    @property
    def alpha(self) -> float:
        return 1 - self.agreement

    def problems(self) -> list[str]:
        problems = [
            f"--{name} {value:g} is not allowed; it must be more than 0 and less than 1."
            for name, value in (("agreement", self.agreement), ("delta", self.delta))
            if not 0 < value < 1
        ]
        if self.within < 0:
            problems.append(f"--within {self.within:g} is not allowed; it must be 0 or more.")
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


def cascade(
    frame: pl.LazyFrame,
    scores: Sequence[str],
    human: Sequence[str],
    *,
    confidence: Mapping[str, Floats],
    strong: str | None = None,
    costs: Mapping[str, str] | None = None,
    item: str | None = None,
    promise: Promise | None = None,
    seed: int = 0,
) -> Cascade:
    """Calibrates each judge of `scores` on the rows with human values, and chooses the one that keeps most rows.

    `confidence` has a number for each row of the frame, by score column. Several `human` columns: a row is compared
    with one of its people, drawn with `seed`, so that agreement is that with a person, and how often two people agree
    is the ceiling. With `item` one labelled row of each item counts, drawn with `seed`: the test needs independent
    rows. `strong` is the score of the judge that the others are passed to; `costs` are the cost columns by score.
    Labels of a file that says how they were drawn must be a simple random sample (`scorer label --simple`); rows that
    were picked by hand are left out.
    Raises SpecError for columns and numbers that cannot serve, for labels drawn within strata, and where the agreement
    that is asked for is above that of people among themselves.
    """
    promise = promise or Promise()
    if problems := promise.problems():
        raise SpecError(problems)
    names = list(dict.fromkeys([*scores, *([strong] if strong else [])]))
    columns = take(frame, [*names, *human], [item] if item else [])
    people = np.stack([columns.floats(name) for name in dict.fromkeys(human)], axis=1)
    y = _one_person(people, seed)
    bad, pending = not_judged(frame, scores[0])
    judged = ~bad & ~pending
    design = label_design(frame, np.isfinite(y), judged)
    if design.weight is not None and len(np.unique(design.weight[np.isfinite(design.weight)])) > 1:
        raise SpecError(
            [
                "The labels were drawn within strata, so that some stand for more rows than others. The exact test of "
                "a cascade needs a simple random sample: draw the rows with scorer label --simple."
            ]
        )
    labelled = np.flatnonzero(np.isfinite(y) & design.usable & judged)
    every = len(labelled)
    if item:
        order = np.random.default_rng(seed).permutation(labelled)
        code = columns.codes(item)[0][order]
        labelled = np.sort(order[np.unique(code, return_index=True)[1]])
    if not len(labelled):
        raise SpecError([f"No judged row has a value in {' and '.join(human)}; a threshold is learned on labels."])
    ceiling = _ceiling(people[labelled], promise)
    if ceiling is not None and promise.agreement > ceiling:
        raise SpecError(
            [
                f"--agreement {promise.agreement:g} is above the agreement of people with each other, {ceiling:.3f} on "
                "these rows: no judge can promise it. Ask for less, or for labels on which people agree more."
            ]
        )
    rest = np.setdiff1d(np.flatnonzero(judged), labelled)
    each = promise.delta / len(scores)
    judges: dict[str, KeptBy] = {}
    for name in scores:
        score = columns.floats(name)
        sure = np.where(np.isfinite(score), confidence[name], np.nan)
        right = promise.agree(score[labelled], y[labelled])
        found = calibrate(sure[labelled], right, sure[rest], alpha=promise.alpha, delta=each)
        judges[name] = KeptBy(found, float(right.mean()), _why_refused(found, promise, each))
    chosen = max((n for n in scores if judges[n].calibrated.threshold is not None), default=None,
                 key=lambda n: judges[n].calibrated.share)  # fmt: skip
    last = None
    if strong is not None:
        keeps = np.zeros(len(y), dtype=bool)
        if chosen is not None and (threshold := judges[chosen].calibrated.threshold) is not None:
            keeps = np.isfinite(columns.floats(chosen)) & (confidence[chosen] >= threshold)
        last = _strong(frame, strong, chosen, columns.floats, y, labelled, keeps, promise, costs or {})
    return Cascade(
        promise=promise,
        delta_each=each,
        rows=int(judged.sum()),
        labels=len(labelled),
        judges=judges,
        chosen=chosen,
        strong=last,
        ceiling=ceiling,
        notes=[*_notes(promise, len(scores), every - len(labelled)), *design.notes(int(judged.sum()))],
    )


def _strong(
    frame: pl.LazyFrame,
    name: str,
    chosen: str | None,
    floats: Any,
    y: Floats,
    labelled: np.ndarray[Any, np.dtype[np.int64]],
    keeps: Bools,
    promise: Promise,
    costs: Mapping[str, str],
) -> Strong:
    right = promise.agree(floats(name)[labelled], y[labelled])
    rest = right[~keeps[labelled]]
    on_rest = None
    if chosen is not None and len(rest):
        share = float(rest.mean())
        on_rest = share, wilson(share, share * (1 - share) / len(rest), len(rest))
    whole = cost = None
    if chosen is not None:
        first = promise.agree(floats(chosen)[labelled], y[labelled])
        whole = float(np.where(keeps[labelled], first, right).mean())
        if chosen in costs and name in costs:
            priced = take(frame, [costs[chosen], costs[name]])
            cheap, dear = (np.nanmean(priced.floats(costs[one])) for one in (chosen, name))
            cost = float((cheap + (1 - keeps.mean()) * dear) / dear) if dear > 0 else None
    return Strong(name, float(right.mean()), on_rest, whole, cost)


def _one_person(people: Floats, seed: int) -> Floats:
    """One of the values of each row, drawn at random; NaN where it has none."""
    chance = np.where(np.isfinite(people), np.random.default_rng(seed).random(people.shape), -1.0)
    drawn: Floats = np.take_along_axis(people, chance.argmax(axis=1)[:, None], axis=1)[:, 0]
    return drawn


def _ceiling(people: Floats, promise: Promise) -> float | None:
    """How often two people agree, over all pairs of values of one row."""
    same = pairs = 0
    for a, b in combinations(people.T, 2):
        both = np.isfinite(a) & np.isfinite(b)
        pairs += int(both.sum())
        same += int(promise.agree(a[both], b[both]).sum()) if both.any() else 0
    return same / pairs if pairs else None


def _why_refused(found: Calibrated, promise: Promise, delta: float) -> str | None:
    if found.threshold is not None:
        return None
    needed = labels_needed(promise.alpha, delta)
    if not found.steps:
        return (
            f"{found.labels:,} labels do not suffice: {needed} kept rows without an error are the fewest for "
            f"{promise.agreement:g}."
        )
    step = found.steps[0]
    allowed = errors_allowed(step.kept, promise.alpha, delta)
    return (
        f"{step.errors} of the {step.kept} most confident labelled rows are wrong, and {allowed or 0} may be: at this "
        "confidence the judge does not agree with people often enough, or the labels are too few to tell."
    )


def _notes(promise: Promise, judges: int, dropped: int) -> list[str]:
    notes = [
        f"The promise: with probability {1 - promise.delta:g} over the labels, the kept verdicts agree with people in "
        f"{promise.agreement:.0%} or more of kept rows like these. It says nothing of the rows that are passed on."
    ]
    if judges > 1:
        notes.append(f"{judges} judges are tested on the same labels: each with delta {promise.delta / judges:g}.")
    if dropped:
        notes.append(f"{dropped:,} labels are left out: one row of each item counts, so that rows are independent.")
    return notes
