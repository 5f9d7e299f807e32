"""Strata of the rows of a table by system, task and score, and how many of each are to be labelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.correlation import Codes, Floats

LEAST = 5
"""The fewest labels of a stratum: thinner strata are merged before any label is seen."""
BINS = 4
"""The most ranges of scores within a system and task."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Rows that are drawn from together: the names of their systems and tasks, and the range of their scores.

    `low` and `high` are None where all rows have no verdict. `rows` are their places in the table.
    """

    systems: Sequence[str]
    tasks: Sequence[str]
    low: float | None
    high: float | None
    rows: Codes


def strata(
    scores: Floats, system: tuple[Codes, Sequence[str]] | None, task: tuple[Codes, Sequence[str]] | None, n: int
) -> list[Stratum]:
    """The strata for `n` labels: of systems, within these of tasks, within these of scores; NaN is no verdict.

    Each is expected to get 5 labels or more when labels are shared out by rows: systems that would get fewer are
    merged, in the order of their names, then tasks within them, and scores are cut into at most 4 ranges of as many
    rows. Rows with no verdict are by themselves where there are enough of them and of the others, else with the lowest
    scores.
    """
    rows = np.arange(len(scores), dtype=np.int64)
    fewest = LEAST * len(scores) / max(n, 1)
    found = []
    for systems, of_systems in _merged(rows, system, fewest):
        for tasks, mine in _merged(of_systems, task, fewest):
            found += [Stratum(systems, tasks, *_ends(scores[part]), part) for part in _ranges(scores, mine, fewest)]
    return found


def _merged(rows: Codes, by: tuple[Codes, Sequence[str]] | None, fewest: float) -> Iterator[tuple[list[str], Codes]]:
    """The rows by name, names of few rows together with the next ones."""
    if by is None:
        yield [], rows
        return
    code, names = by
    groups: list[list[int]] = []
    size = np.bincount(code[rows], minlength=len(names))
    held: list[int] = []
    for name in np.flatnonzero(size).tolist():
        held.append(name)
        if size[held].sum() >= fewest:
            groups.append(held)
            held = []
    if held:
        groups = [*groups[:-1], [*groups[-1], *held]] if groups else [held]
    for group in groups:
        yield [names[name] for name in group], rows[np.isin(code[rows], group)]


def _ranges(scores: Floats, rows: Codes, fewest: float) -> Iterator[Codes]:
    """The rows in ranges of scores that have about as many rows each; equal scores are in one."""
    unread = ~np.isfinite(scores[rows])
    if min(unread.sum(), (~unread).sum()) >= fewest:
        yield rows[unread]
        rows = rows[~unread]
    bins = int(min(BINS, max(1, len(rows) // fewest)))
    values = np.where(np.isfinite(scores[rows]), scores[rows], -np.inf)
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf")) if bins > 1 else values[:0]
    place = np.searchsorted(edges, values, side="left")
    held: list[Codes] = []
    parts = [part for k in range(len(edges) + 1) if len(part := rows[place == k])]
    for k, part in enumerate(parts):
        held.append(part)
        rest = sum(map(len, parts[k + 1 :]))
        if sum(map(len, held)) >= fewest * 0.999 and (rest == 0 or rest >= fewest * 0.999):
            yield np.sort(np.concatenate(held))
            held = []
    if held:
        yield np.sort(np.concatenate(held))


def _ends(scores: Floats) -> tuple[float | None, float | None]:
    known = scores[np.isfinite(scores)]
    return (float(known.min()), float(known.max())) if len(known) else (None, None)


def allocate(sizes: NDArray[np.int64], spreads: Floats, n: int) -> NDArray[np.int64]:
    """How many rows of each stratum are labelled: in proportion to its rows and to the spread of its errors.

    At least 5 of each, or all of its rows; `n` in all, or more where that takes more, and never more than there are.
    Source: Neyman (1934), "On the two different aspects of the representative method", JRSS 97(4).
    """
    least = np.minimum(LEAST, sizes)
    share = sizes * np.maximum(spreads, 1e-12)
    low, high = 0.0, float(n) / max(float(share.min(initial=1.0)), 1e-300) + 1.0
    target = min(max(n, int(least.sum())), int(sizes.sum()))
    while low < (middle := (low + high) / 2) < high:  # until no number lies between them
        if np.minimum(np.maximum(share * middle, least), sizes).sum() < target:
            low = middle
        else:
            high = middle
    exact: Floats = np.clip(share * high, least, sizes)
    found: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - found), kind="stable")
    for k in order[: max(0, target - int(found.sum()))]:
        found[k] += int(found[k] < sizes[k])
    return found
