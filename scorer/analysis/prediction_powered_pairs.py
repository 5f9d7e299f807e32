"""Differences of systems by prediction-powered inference, over the items that both have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.columns import listed
from scorer.analysis.prediction_powered_fit import Fit, LabelledRows, MeanError, fit_mean
from scorer.analysis.prediction_powered_result import Difference
from scorer.analysis.simultaneous import contrast, simultaneous

POWER = 0.8


def differences_of(
    parts: Mapping[str, LabelledRows], *, paired: bool, bootstrap: Bootstrap
) -> tuple[list[Difference], list[str]]:
    """Every pair of systems that has labels enough, and a sentence where systems share no item."""
    whole = {name: fit for name, part in parts.items() if (fit := fit_mean(part)) is not None}
    present = {name: parts[name].present() for name in whole}
    known: dict[tuple[str, bytes], Fit | None] = {}

    def over(name: str, shared: NDArray[np.bool_]) -> Fit | None:
        """The estimate of a system over the rows of these items, computed once for each set of items."""
        if not paired or np.array_equal(shared, present[name]):
            return whole[name]
        key = (name, np.packbits(shared).tobytes())
        if key not in known:
            part = parts[name]
            known[key] = fit_mean(part.where(shared[part.cluster]))
        return known[key]

    pairs: list[tuple[str, str, Fit, Fit, int | None]] = []
    apart: list[str] = []
    for a, b in combinations(whole, 2):
        shared = present[a] & present[b]
        if paired and not shared.any():
            apart.append(f"{a} and {b}")
            continue
        of_a, of_b = over(a, shared), over(b, shared)
        if of_a is not None and of_b is not None:
            pairs.append((a, b, of_a, of_b, int(shared.sum()) if paired else None))
    items = next(iter(parts.values())).items if parts else 0
    drawn = bootstrap.draw(np.arange(items)) if len(pairs) > 1 else None
    contrasts = [
        contrast(a.value - b.value, a.error.of_item - b.error.of_item, _labelled_items(a, b), drawn)
        for _, _, a, b, _ in pairs
    ]
    intervals = simultaneous(contrasts, drawn)
    notes = []
    if apart:
        notes.append(f"{listed(apart)} share no item: no difference is taken. Without --item they are independent.")
    if len(pairs) > 1:
        notes.append(f"The {len(pairs):,} intervals of differences hold together in 95 % of tables (max-t).")
    return [
        Difference(a, b, one.value, interval, _labels_more(one.value, of_a, of_b), shared_items)
        for (a, b, of_a, of_b, shared_items), one, interval in zip(pairs, contrasts, intervals, strict=True)
    ], notes


def _labelled_items(a: Fit, b: Fit) -> int:
    """The number of labelled items that a difference rests on."""
    return int((a.error.present | b.error.present).sum())


def _labels_more(difference: float, a: Fit, b: Fit) -> int | None:
    error = MeanError(a.error.of_item - b.error.of_item, a.error.present | b.error.present)
    standard = NormalDist()
    aimed = (difference / (standard.inv_cdf(0.975) + standard.inv_cdf(POWER))) ** 2
    # What stays however many labels there are: the judge's own mean over a finite corpus.
    kept = max(error.variance - a.label_variance / a.labels - b.label_variance / b.labels, 0.0)
    if aimed <= kept:
        return None
    needed = math.ceil((a.label_variance + b.label_variance) / (aimed - kept))
    return max(0, needed - min(a.labels, b.labels))
