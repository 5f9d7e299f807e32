"""Rank intervals: the ranks that each system may have, simultaneously for all systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Resamples
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.simultaneous import CHUNK, Family, unknown_beyond, widening

Ranks = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Standing:
    """The means of systems and their errors, from which ranks follow; NaN is a system without a mean.

    `influence` is clusters x systems, `items` how many each rests on, `span` the width of the scale. Two systems of
    different `part` are not to be compared. `ends` are further means of the same systems, such as those with unread
    rows at an end of the scale: no system is better than another that leads it in one of them.
    """

    means: Floats
    influence: Floats
    items: Codes
    part: Codes
    span: float
    ends: Sequence[Floats] = ()


@dataclass(frozen=True, slots=True)
class Leads:
    """The pairs of systems of a board, the one with the higher mean first, and half the interval of each difference.

    `half` is infinite where a system rests on one item, and 0 without resamples. `sure` are those that are significant.
    """

    high: Codes
    low: Codes
    half: Floats
    sure: NDArray[np.bool_]


def ranked(boards: Sequence[Standing], drawn: Resamples | None) -> list[list[Ranks]]:
    """The first and the last place that each system may have, board by board, as `places_and_leads` has them."""
    return [places for places, _ in places_and_leads(boards, drawn)]


def places_and_leads(boards: Sequence[Standing], drawn: Resamples | None) -> list[tuple[list[Ranks], Leads]]:
    """The first and the last place that each system may have, None without a mean, and the leads behind them.

    1 plus the number of systems significantly better, and the number of systems minus those significantly worse. All
    these judgements, over all boards given, are right together in 95 % of tables. Without resamples any lead counts. In
    the order of the means neither place ever falls: where it would, as errors differ, the interval is widened until it
    does not.
    """
    family = Family(drawn)
    leads = [_leads(board) for board in boards]
    if drawn is not None:
        for board, (high, low) in zip(boards, leads, strict=True):
            for start in range(0, len(high), CHUNK):
                a, b = high[start : start + CHUNK], low[start : start + CHUNK]
                family.add(board.influence[:, a] - board.influence[:, b], np.minimum(board.items[a], board.items[b]))
    critical = family.critical()
    found = []
    for board, (high, low) in zip(boards, leads, strict=True):
        half = np.zeros(len(high)) if drawn is None else _halves(board, high, low, critical)
        sure = _sure(board, high, low, half)
        found.append((_places(board, high, low, sure), Leads(high, low, half, sure)))
    return found


def _leads(board: Standing) -> tuple[Codes, Codes]:
    """The pairs of systems that can be compared, the one with the higher mean first."""
    known = np.flatnonzero(np.isfinite(board.means))
    order = known[np.argsort(-board.means[known], kind="stable")]
    first, second = np.triu_indices(len(order), 1)
    high, low = order[first], order[second]
    kept = board.part[high] == board.part[low]
    return high[kept], low[kept]


def _sure(board: Standing, high: Codes, low: Codes, half: Floats) -> NDArray[np.bool_]:
    """Which of the leads are significant."""
    sure: NDArray[np.bool_] = board.means[high] - board.means[low] > half
    for end in board.ends:
        sure &= end[high] > end[low]
    return sure


def _halves(board: Standing, high: Codes, low: Codes, critical: float) -> Floats:
    """Half of each lead's interval; infinite where a system rests on one item."""
    m = np.minimum(board.items[high], board.items[low])
    halves = np.full(len(high), np.inf)
    for start in range(0, len(high), CHUNK):
        part = slice(start, start + CHUNK)
        influence = board.influence[:, high[part]] - board.influence[:, low[part]]
        free = m[part] / np.maximum(m[part] - 1, 1)
        error = np.sqrt((influence * influence).sum(axis=0) * free)
        still = np.array([unknown_beyond(n, board.span, critical) for n in m[part].tolist()])
        size = np.maximum(np.abs(board.means[high[part]]), np.abs(board.means[low[part]]))
        halves[part] = np.where(error > 1e-12 * size, critical * widening(m[part]) * error, still)
    halves[m < 2] = np.inf
    return halves


def _places(board: Standing, high: Codes, low: Codes, sure: NDArray[np.bool_]) -> list[Ranks]:
    known = np.flatnonzero(np.isfinite(board.means))
    better = np.bincount(low[sure], minlength=len(board.means))
    worse = np.bincount(high[sure], minlength=len(board.means))
    first, last = 1 + better, len(known) - worse
    order = known[np.argsort(-board.means[known], kind="stable")]
    # Of equal means neither stands before the other.
    values, group = np.unique(-board.means[order], return_inverse=True)
    lowest, highest = np.full(len(values), len(known)), np.zeros(len(values), dtype=np.int64)
    np.minimum.at(lowest, group, first[order])
    np.maximum.at(highest, group, last[order])
    lowest = np.minimum.accumulate(lowest[::-1])[::-1]
    highest = np.maximum.accumulate(highest)
    places: list[Ranks] = [(None, None)] * len(board.means)
    for system, g in zip(order.tolist(), group.tolist(), strict=True):
        places[system] = (int(lowest[g]), int(highest[g]))
    return places
