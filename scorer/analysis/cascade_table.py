"""A cascade calibrated from a table: scores and confidences of cheap judges, and human labels of some rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import wilson
from scorer.analysis.cascade import Bools, Calibrated, calibrate
from scorer.analysis.cascade_result import Cascade, KeptBy, Promise, Strong
from scorer.analysis.cascade_tests import errors_allowed, labels_needed
from scorer.analysis.columns import not_judged, take
from scorer.analysis.correlation import Floats
from scorer.analysis.label_design import label_design
from scorer.errors import SpecError


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
    if problems := promise.problems(item):
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
        found = calibrate(
            sure[labelled], right, sure[rest], alpha=promise.alpha, delta=each, population=promise.population
        )
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
    these = promise.population == "these"
    if not found.steps:
        needed = labels_needed(promise.alpha, delta)
        more = ", and a promise about the few other rows of a table takes more" if these else ""
        return (
            f"{found.labels:,} labels do not suffice: {needed} kept rows without an error are the fewest for "
            f"{promise.agreement:g}{more}."
        )
    step = found.steps[0]
    allowed = errors_allowed(step.kept, promise.alpha, delta, step.kept_rest if these else None)
    return (
        f"{step.errors} of the {step.kept} most confident labelled rows are wrong, and {allowed or 0} may be: at this "
        "confidence the judge does not agree with people often enough, or the labels are too few to tell."
    )


def _notes(promise: Promise, judges: int, dropped: int) -> list[str]:
    kept = "kept rows like these" if promise.population == "future" else "the kept rows of this table without a label"
    notes = [
        f"The promise: with probability {1 - promise.delta:g} over the labels, the kept verdicts agree with people in "
        f"{promise.agreement:.0%} or more of {kept}. It says nothing of the rows that are passed on."
    ]
    if judges > 1:
        notes.append(f"{judges} judges are tested on the same labels: each with delta {promise.delta / judges:g}.")
    if dropped:
        notes.append(f"{dropped:,} labels are left out: one row of each item counts, so that rows are independent.")
    return notes
