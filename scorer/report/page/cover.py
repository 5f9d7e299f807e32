"""Chooses the rows of a page: a greedy cover of its marks, so that as few rows as possible stand for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from scorer.analysis.correlation import Codes
from scorer.report.page.groups import Group

EACH = 3
"""Candidates of each group, drawn by chance."""
POOL = 50_000
"""So many rows, drawn by chance, hold candidates of all but the smallest groups."""


def cover(groups: Sequence[Group], first: Iterable[int], rest: Iterable[int], most: int, seed: int = 0) -> list[int]:
    """At most `most` rows, by their place: all of `first`, then one for each group of `groups`, then `rest`.

    Of the rows left, the next is the one whose groups without a row have the greatest weight in all. Where not all
    groups can have a row, those of the smallest weights get none. The order is that in which rows were chosen.
    """
    chosen = dict.fromkeys(first)
    chosen = dict.fromkeys(list(chosen)[:most])
    for row in _greedy([group for group in groups if len(group.codes)], list(chosen), most - len(chosen), seed):
        chosen[row] = None
    for row in rest:
        if len(chosen) >= most:
            break
        chosen[row] = None
    return list(chosen)


def _greedy(groups: Sequence[Group], chosen: Sequence[int], most: int, seed: int) -> list[int]:
    if not groups or most <= 0:
        return []
    rng = np.random.default_rng(seed)
    pool = _pool(len(groups[0].codes), rng)
    candidates = rng.permutation(np.unique(np.concatenate([_candidates(group, pool) for group in groups])))
    codes = [group.codes[candidates] for group in groups]
    wanted = [np.append(np.where(group.counts > 0, group.weight, 0.0), 0.0) for group in groups]  # -1: the last
    for group, open_ in zip(groups, wanted, strict=True):
        open_[group.codes[list(chosen)]] = 0.0
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


def _candidates(group: Group, pool: Codes) -> Codes:
    """Up to EACH rows of each group among those of `pool`, in its order; of a group that has none there its first."""
    codes = group.codes[pool]
    sorted_ = np.argsort(codes, kind="stable")
    ranked = codes[sorted_]
    starts = np.searchsorted(ranked, ranked, side="left")
    few = sorted_[(np.arange(len(ranked)) - starts < EACH) & (ranked >= 0)]
    found = pool[few]
    if len(pool) < len(group.codes):
        seen = np.zeros(group.size + 1, dtype=bool)
        seen[codes] = True
        left = np.flatnonzero((group.codes >= 0) & ~seen[group.codes])
        _, at = np.unique(group.codes[left], return_index=True)
        found = np.concatenate([found, left[at]])
    return found
