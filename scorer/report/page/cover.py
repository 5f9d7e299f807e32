"""Chooses the rows of a page: a greedy cover of its marks, so that as few rows as possible stand for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from scorer.analysis.correlation import Codes
from scorer.report.page.groups import Counted
from scorer.report.page.page_rows import PageRows

EACH = 3
"""Candidates of each group, drawn by chance."""
POOL = 50_000
"""So many rows, drawn by chance, hold candidates of all but the smallest groups."""


def cover(
    groups: Sequence[Counted],
    at: Callable[[Codes], PageRows],
    rows: int,
    first: Iterable[int],
    rest: Iterable[int],
    most: int,
    seed: int = 0,
) -> list[int]:
    """At most `most` of `rows` rows, by their place: all of `first`, one for each group of `groups`, then `rest`.

    `at` gives the rows at some places. Of the rows left, the next is the one whose groups without a row have the
    greatest weight in all. Where not all groups can have a row, those of the smallest weights get none. The order is
    that in which rows were chosen.
    """
    chosen = dict.fromkeys(first)
    chosen = dict.fromkeys(list(chosen)[:most])
    for row in _greedy(groups if rows else (), at, rows, list(chosen), most - len(chosen), seed):
        chosen[row] = None
    for row in rest:
        if len(chosen) >= most:
            break
        chosen[row] = None
    return list(chosen)


def _greedy(
    groups: Sequence[Counted], at: Callable[[Codes], PageRows], rows: int, chosen: Sequence[int], most: int, seed: int
) -> list[int]:
    if not groups or most <= 0:
        return []
    rng = np.random.default_rng(seed)
    pool = at(_pool(rows, rng))
    candidates = rng.permutation(np.unique(np.concatenate([_candidates(one, pool) for one in groups])))
    taken, there = at(candidates), at(np.array(chosen, dtype=np.int64))
    codes = [one.group.of(taken) for one in groups]
    wanted = [np.append(np.where(one.counts > 0, one.group.weight, 0.0), 0.0) for one in groups]  # -1: the last
    for one, open_ in zip(groups, wanted, strict=True):
        open_[one.group.of(there)] = 0.0
    found: list[int] = []
    while len(found) < most and len(candidates):
        gain = np.zeros(len(candidates))
        for code, open_ in zip(codes, wanted, strict=True):
            gain += open_[code]
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        found.append(int(candidates[best]))
        for code, open_ in zip(codes, wanted, strict=True):
            open_[code[best]] = 0.0
    return found


def _pool(rows: int, rng: np.random.Generator) -> Codes:
    """All rows in an order drawn by chance; of more than POOL about so many of them."""
    if rows <= POOL:
        return rng.permutation(rows)
    return rng.permutation(np.unique(rng.integers(0, rows, POOL)))


def _candidates(one: Counted, pool: PageRows) -> Codes:
    """Up to EACH rows of each group among those of `pool`, in its order; of a group that has none there its first."""
    codes = one.group.of(pool)
    sorted_ = np.argsort(codes, kind="stable")
    ranked = codes[sorted_]
    starts = np.searchsorted(ranked, ranked, side="left")
    few = sorted_[(np.arange(len(ranked)) - starts < EACH) & (ranked >= 0)]
    left = (one.first >= 0) & (np.bincount(codes + 1, minlength=one.group.size + 1)[1:] == 0)
    return np.concatenate([pool.places[few], one.first[left]])
