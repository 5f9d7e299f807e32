"""Means of systems that did not all answer the same items: adjusted for the items by two-way least squares.

A system that lacks the hardest items has a higher mean for that alone. With an effect for each system and one for each
item fitted together, a system's adjusted mean is what it would have had on all the items. Where every system has a
score for every item it is the plain mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scorer.analysis.bootstrap import Resamples
from scorer.analysis.columns import compact
from scorer.analysis.correlation import Codes, Floats

_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The adjusted mean of each system, and the `part` of the table that it belongs to; NaN and -1 without a score.

    Systems that share items, directly or through other systems, are of one part. Systems of different parts cannot be
    compared. `influence` is clusters x systems, what each cluster of items adds to the error of the mean;
    empty without resamples.
    """

    means: Floats
    part: Codes
    influence: Floats


def has_holes(values: Floats, system: Codes, item: Codes) -> bool:
    """Whether a system lacks a score for an item for which another has one."""
    read = np.isfinite(values)
    there = [np.count_nonzero(np.bincount(code[read])) for code in (item, system)]
    pairs = _distinct(item[read] * (int(system.max(initial=0)) + 1) + system[read])
    return bool(len(pairs) < there[0] * there[1])


def is_balanced(system: Codes, item: Codes) -> bool:
    """Whether every system has as many rows of every item: adjusted means are then the plain ones."""
    code = np.sort(item * (int(system.max(initial=0)) + 1) + system)
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    there = [np.count_nonzero(np.bincount(one)) for one in (item, system)]
    return len(starts) == there[0] * there[1] and len(np.unique(np.diff(starts, append=len(code)))) <= 1


def adjust(values: Floats, system: Codes, systems: int, item: Codes, drawn: Resamples | None) -> Adjusted:
    """The adjusted means over all items of the rows; NaN in `values` is an unread score.

    An item weighs as much as a system has rows of it on average, unread ones included.
    By hand: a has 1 and 3 on two items, b has 4 on the second: b leads by 1, and has
    3 on both, where its raw mean is 4.
    Source: the two-way model of Searle (1971), "Linear Models", chapter 7; errors clustered by item, as in Liang and
    Zeger (1986), "Longitudinal data analysis using generalized linear models", Biometrika 73(1).
    """
    read = np.isfinite(values)
    y, who = values[read], system[read]
    what, old = compact(item[read])
    items = len(old)
    weight = _weights(system, systems, item)[old]
    rows = np.bincount(what, minlength=items).astype(np.float64)
    total = np.bincount(what, y, minlength=items)

    between = np.diag(np.bincount(who, minlength=systems).astype(np.float64))
    right = np.bincount(who, y - (total / rows)[what], minlength=systems)
    seen = np.zeros(systems)  # the weighted share of each system in the items
    order = np.argsort(what, kind="stable")
    starts = np.searchsorted(what[order], np.arange(0, items + _CHUNK, _CHUNK))
    for k, (start, end) in enumerate(pairwise(starts.tolist())):
        mine = order[start:end]
        first, last = k * _CHUNK, min((k + 1) * _CHUNK, items)
        if first >= last:
            break
        count = np.bincount((what[mine] - first) * systems + who[mine], minlength=(last - first) * systems)
        share = count.reshape(last - first, systems) / np.sqrt(rows[first:last])[:, None]
        between -= share.T @ share
        seen += (weight[first:last] / np.sqrt(rows[first:last])) @ share
    part = _parts(between, np.bincount(who, minlength=systems) > 0)
    inverse = np.linalg.pinv(between, rcond=1e-10, hermitian=True)
    effect = inverse @ right
    level = (total - np.bincount(what, effect[who], minlength=items)) / rows
    of_item = np.empty(items, dtype=np.int64)
    of_item[what] = part[who]
    size = np.bincount(of_item, weight)
    middle = np.bincount(of_item, weight * level) / size
    means = np.where(part >= 0, effect + middle[part], np.nan)
    if drawn is None:
        return Adjusted(means, part, np.empty((0, systems)))

    clusters = drawn.weights.shape[1]
    cluster = drawn.cluster[read]
    rest = y - effect[who] - level[what]
    of_effect = np.bincount(cluster * systems + who, rest, minlength=clusters * systems)
    of_effect = of_effect.reshape(clusters, systems) @ inverse
    home = np.empty(items, dtype=np.int64)
    home[what] = cluster
    drift = np.bincount(
        home * len(size) + of_item, weight * (level - middle[of_item]) / size[of_item], minlength=clusters * len(size)
    ).reshape(clusters, len(size))
    for p in range(len(size)):
        drift[:, p] -= of_effect @ np.where(part == p, seen / size[p], 0.0)
    influence = of_effect + drift[:, np.maximum(part, 0)]
    return Adjusted(means, part, np.where(part >= 0, influence, 0.0))


def _weights(system: Codes, systems: int, item: Codes) -> Floats:
    """The weight of each item: its rows over the number of systems that have any."""
    pairs = _distinct(item * systems + system)
    weights: Floats = np.bincount(item) / np.maximum(np.bincount(pairs // systems), 1)
    return weights


def _distinct(code: Codes) -> Codes:
    """The distinct codes, ascending: by sorting, which for codes is several times as fast as numpy's unique."""
    ordered = np.sort(code)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def _parts(between: Floats, there: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Codes:
    """The number of the part that each system belongs to, by the items that they share; -1 without any."""
    part = np.full(len(between), -1, dtype=np.int64)
    linked = between < 0
    parts = 0
    for first in np.flatnonzero(there):
        if part[first] >= 0:
            continue
        members = np.zeros(len(between), dtype=bool)
        members[first] = True
        while not np.array_equal(grown := members | linked[members].any(axis=0), members):
            members = grown
        part[members & there] = parts
        parts += 1
    return part
