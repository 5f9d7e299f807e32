"""Win rate over a baseline, raw and at equal length (length-adjusted).

A judge with a length bias prefers long texts. A logistic regression separates the effect of length from that of the
answer. This is not the length-controlled win rate of AlpacaEval, though it has its formula: that one takes the
difficulty of each instruction from a fit over many systems at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bias import check_preference, measured
from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap, Interval, Resamples, mean, share_interval
from scorer.analysis.columns import compact, take
from scorer.analysis.correlation import Codes, Floats
from scorer.errors import SpecError

PRECISION = (0.01, 1.0, 1.0)
"""Of the normal priors about 0: weak on the strength, lest it move an ordinary rate; 1 on what length and difficulty
do, which are of the order of 1 by their scale, lest a one-sided table run away."""


@dataclass(frozen=True, slots=True)
class WinRate:
    """Win rate against the baseline: `raw`, and `equal_length`, as if each text were as long as the baseline's.

    `length_effect` is the gain in log-odds of a text much longer than the baseline's from its length alone;
    `difficulty_effect` that of an instruction harder by one unit, None without a column of difficulties.
    """

    n: int
    unread: int
    raw: float
    raw_interval: Interval | None
    equal_length: float
    equal_length_interval: Interval | None
    length_effect: float
    difficulty_effect: float | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class WinRates:
    """The win rate of each system."""

    systems: Mapping[str, WinRate]

    def json(self) -> dict[str, Any]:
        return {name: one.json() for name, one in self.systems.items()}


def win_rate(
    frame: pl.LazyFrame,
    preference: str,
    text: str,
    baseline: str,
    *,
    difficulty: str | None = None,
    item: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> WinRate:
    """The win rate of one system's `text` over a `baseline` text, raw and at equal length.

    The preference p in [0, 1] for the text is fitted, over the rows x, by

        logit p = strength + effect tanh((len text - len baseline) / s) + slope difficulty_x

    with lengths in characters and s the standard deviation of their difference; the rate at equal length is the mean
    over the rows of the fitted p without the middle term. Without `difficulty`, the last term is left out. A text
    against itself has .5, and exchanging the two sides turns p into 1 - p.
    By hand, the priors aside: 1 wins of 1 where the text is far longer (tanh 1) 3 of 4, where it is far shorter
    (tanh -1) 1 of 4: strength 0, effect ln 3, so the rate at equal length is .5 however many rows are of either kind.
    The interval moves the fit by one Newton step for each resample.
    Raises SpecError for columns that cannot serve and fewer than three rows.
    Source: Dubois, Galambosi, Liang and Hashimoto (2024), "Length-Controlled AlpacaEval", arXiv 2404.04475, section 3:
    the model, and the win rate with its length term at 0. Their difficulties are fitted once over many systems and are
    a column here; where they choose an L1 penalty by cross-validation, this has normal priors. Without difficulties the
    rates of AlpacaEval's own board are missed by 5.1 points on average and by up to 17.9.
    """
    fits = _fitted(frame, preference, text, baseline, None, difficulty, item, bootstrap)
    return next(iter(fits.values()))


def win_rates(
    frame: pl.LazyFrame,
    preference: str,
    text: str,
    baseline: str,
    system: str,
    *,
    difficulty: str | None = None,
    item: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> WinRates:
    """The win rate of every system, each with a fit of its own.

    Raises SpecError as `win_rate`, for the first system that has too few rows.
    """
    return WinRates(_fitted(frame, preference, text, baseline, system, difficulty, item, bootstrap))


def _fitted(
    frame: pl.LazyFrame,
    preference: str,
    text: str,
    baseline: str,
    system: str | None,
    difficulty: str | None,
    item: str | None,
    bootstrap: Bootstrap,
) -> dict[str, WinRate]:
    numbers = [preference, text, baseline, *([difficulty] if difficulty else [])]
    columns = take(measured(frame, text, baseline), numbers, [name for name in (system, item) if name])
    p = columns.floats(preference)
    check_preference(preference, p)
    longer = columns.floats(text) - columns.floats(baseline)
    hard = columns.floats(difficulty) if difficulty else None
    known = ~np.isnan(longer) if hard is None else ~np.isnan(longer) & ~np.isnan(hard)
    cluster = columns.coded(item)
    code, names = columns.codes(system) if system else (np.zeros(len(p), dtype=np.int64), [""])
    found = {}
    for s, name in enumerate(names):
        mine = known & (code == s)
        kept = mine & ~np.isnan(p)
        if kept.sum() < 3:
            of = f" of {name}" if system else ""
            raise SpecError([f"{kept.sum()} rows{of} have {preference} and both texts; a win rate needs three."])
        unread = int((mine & ~kept).sum())
        found[name] = _one(
            p[kept], longer[kept], None if hard is None else hard[kept], cluster[kept], bootstrap, unread
        )
    return found


def _one(p: Floats, longer: Floats, hard: Floats | None, cluster: Codes, bootstrap: Bootstrap, unread: int) -> WinRate:
    terms = [np.ones(len(p)), np.tanh(longer / (longer.std(ddof=1) or 1.0))]
    design = np.stack(terms if hard is None else [*terms, hard], axis=1)
    fit, information = _logistic(design, p)
    level = _sigmoid(fit[0] if hard is None else fit[0] + fit[2] * hard) * np.ones(len(p))
    raw_interval = equal_length_interval = None
    drawn = bootstrap.draw(compact(cluster)[0])
    if drawn is not None:
        raw_interval = share_interval(float(p.mean()), mean(p, drawn), drawn.items)
        equal_length_interval = drawn.interval(_equal_length_draws(design, p, fit, information, level, drawn))
        if p.min() == p.max() and p[0] in (0.0, 1.0):
            equal_length_interval = raw_interval  # resamples of wins alone know nothing of losses
    return WinRate(
        n=len(p),
        unread=unread,
        raw=float(p.mean()),
        raw_interval=raw_interval,
        equal_length=float(level.mean()),
        equal_length_interval=equal_length_interval,
        length_effect=float(fit[1]),
        difficulty_effect=None if hard is None else float(fit[2]),
    )


def _equal_length_draws(
    design: Floats, p: Floats, fit: Floats, information: Floats, level: Floats, drawn: Resamples
) -> Floats:
    pulls = np.stack(drawn.sums(*(design * (p - _sigmoid(design @ fit))[:, None]).T), axis=1)
    step = (pulls - np.array(PRECISION[: len(fit)]) * fit) @ np.linalg.inv(information)
    if design.shape[1] == 2:
        return _sigmoid(fit[0] + step[:, 0])
    # The mean over rows moves with the fit by its derivative, and with which rows were drawn.
    slope = level * (1 - level)
    moved = step[:, 0] * slope.mean() + step[:, 2] * (slope * design[:, 2]).mean()
    draws: Floats = np.clip(mean(level, drawn) + moved, 0.0, 1.0)
    return draws


def _logistic(design: Floats, p: Floats) -> tuple[Floats, Floats]:
    """The fit and its information matrix: Newton's method on the log-likelihood with the normal priors."""
    precision = np.array(PRECISION[: design.shape[1]])
    fit = np.zeros(design.shape[1])
    information = np.diag(precision)
    for _ in range(50):
        predicted = _sigmoid(design @ fit)
        information = (design * (predicted * (1 - predicted))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(information, design.T @ (p - predicted) - precision * fit)
        fit = fit + step / max(1.0, float(np.abs(step).max()) / 3)  # no leap out of reach where the curve is flat
        if np.abs(step).max() < 1e-10:
            break
    return fit, information


def _sigmoid(logits: Floats) -> Floats:
    half: Floats = 0.5 * (1 + np.tanh(logits / 2))
    return half
