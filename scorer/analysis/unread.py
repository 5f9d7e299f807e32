"""Whether rows with no verdict differ from the others: by human values where they are known, else by system and task.

Unread replies are not random: a judge that refuses to grade bad answers has a high mean over those it grades.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Interval, student
from scorer.analysis.columns import listed
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.reading import collected

FEWEST = 5
MOST_GROUPS = 100
NO_REPLY_TO_READ = ("BadRow", "Damaged")
"""Errors of rows without a judgement."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class UnreadDiffers:
    """One comparison. `p` is two-sided and adjusted for the others (Holm).

    With a human column `by` names it, and `here` and `there` are its means over unread and over read rows, of `group`
    (a task; None: of all). Else `by` is the column of systems or tasks, and they are the shares of rows that are unread
    in `group` and in all others. `interval` is that of here minus there, clustered by item where items are named.
    """

    by: str
    group: str | None
    unread: int
    here: float
    there: float
    interval: Interval | None
    p: float

    def json(self) -> dict[str, Any]:
        return asdict(self)


def by_people(
    human: str, y: Floats, unread: Mask, cluster: Codes, groups: Codes | None, names: Sequence[str]
) -> list[UnreadDiffers]:
    """Human values of unread and of read rows, over all rows and by group; empty below 5 rows of either."""
    parts: list[tuple[str | None, Mask]] = [(None, np.ones(len(y), dtype=bool))]
    if groups is not None and len(names) > 1:
        parts += [(name, groups == g) for g, name in enumerate(names)]
    found = []
    for name, part in parts:
        mine = part & np.isfinite(y)
        if min(int((mine & unread).sum()), int((mine & ~unread).sum())) < FEWEST:
            continue
        comparison = _compared(human, name, y[mine], unread[mine], cluster[mine], unread[mine])
        found += [comparison] if comparison is not None else []
    return holm(found)


def by_kept(scores: pl.LazyFrame, kept: Sequence[str]) -> list[UnreadDiffers]:
    """The same of a result table, by its kept columns of texts; each row counts as an item. Reads no other column."""
    schema = scores.collect_schema()
    judged = scores.filter(~pl.col("error").is_in(NO_REPLY_TO_READ).fill_null(False))
    found: list[UnreadDiffers] = []
    for by in kept:
        if schema[by] not in (pl.String, pl.Categorical, pl.Enum):
            continue
        counts = judged.group_by(pl.col(by).cast(pl.String)).agg(n=pl.len(), unread=pl.col("score").is_null().sum())
        table = collected(counts.head(MOST_GROUPS + 1)).drop_nulls(by).sort(by)
        if 1 < len(table) <= MOST_GROUPS and table["unread"].sum() >= FEWEST:
            found += _by_counts(by, table)
    return holm(found)


def _by_counts(by: str, table: pl.DataFrame) -> Iterator[UnreadDiffers]:
    total, lost = int(table["n"].sum()), int(table["unread"].sum())
    for name, n, unread in table.select(by, "n", "unread").iter_rows():
        rest = total - n
        here, there = unread / n, (lost - unread) / rest
        # Pooled, as under equal shares: a group without any unread row has no variance of its own.
        share = lost / total
        error = math.sqrt(share * (1 - share) * (1 / n + 1 / rest))
        if error > 0:
            z = NormalDist().inv_cdf(0.975)
            gap = here - there
            p = 2 * NormalDist().cdf(-abs(gap) / error)
            yield UnreadDiffers(by, name, unread, here, there, (gap - z * error, gap + z * error), p)


def _compared(
    by: str, group: str | None, values: Floats, here: Mask, cluster: Codes, unread: Mask
) -> UnreadDiffers | None:
    """The means of the values here and elsewhere, with the error of their difference by clusters; None without one."""
    if here.all() or not here.any():
        return None
    mean, other = float(values[here].mean()), float(values[~here].mean())
    rest = np.where(here, (values - mean) / here.sum(), -(values - other) / (~here).sum())
    of_cluster = np.bincount(cluster, rest)
    m = min(int(np.count_nonzero(np.bincount(cluster[side]))) for side in (here, ~here))
    if m < 2:
        return None
    error = math.sqrt(float(np.dot(of_cluster, of_cluster)) * m / (m - 1))
    return difference(by, group, int((here & unread).sum()), (mean, other), error, m)


def difference(
    by: str, group: str | None, count: int, means: tuple[float, float], error: float, m: int
) -> UnreadDiffers | None:
    """The comparison of means here and elsewhere by the error of their difference, of m items; None without one."""
    mean, other = means
    gap = mean - other
    if error <= 1e-12 * max(abs(mean), abs(other)):
        return UnreadDiffers(by, group, count, mean, other, (gap, gap), 0.0) if gap else None
    half = student(0.975, m - 1) * error
    return UnreadDiffers(by, group, count, mean, other, (gap - half, gap + half), _two_sided(gap / error, m - 1))


def _two_sided(t: float, freedom: int) -> float:
    """The p of Student's t. Source: Abramowitz and Stegun (1964), equation 26.7.8."""
    z = abs(t) * (1 - 1 / (4 * freedom)) / math.sqrt(1 + t * t / (2 * freedom))
    return 2 * NormalDist().cdf(-z)


def holm(found: Sequence[UnreadDiffers]) -> list[UnreadDiffers]:
    """The same with p adjusted for how many they are.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6(2).
    """
    adjusted = list(found)
    least = 0.0
    for rank, k in enumerate(sorted(range(len(found)), key=lambda k: found[k].p)):
        least = min(1.0, max(least, found[k].p * (len(found) - rank)))
        adjusted[k] = replace(found[k], p=least)
    return adjusted


def unread_notes(found: Sequence[UnreadDiffers], human: bool = False) -> Iterator[str]:
    """A sentence for what differs beyond chance (p below .05): for each comparison by people, else for each column."""
    sure = [one for one in found if one.p < 0.05]
    for one in sure:
        if human and one.interval is not None:
            where = "" if one.group is None else f" of {one.group}"
            yield (
                f"The {one.unread:,} rows{where} with no verdict differ from the others: {one.by} is {one.here:.3f} "
                f"for them and {one.there:.3f} elsewhere, a difference of {one.here - one.there:.3f} "
                f"[{one.interval[0]:.3f}, {one.interval[1]:.3f}], p {_p(one.p)}. Figures over rows with a verdict do "
                "not hold for all rows."
            )
    if human:
        return
    for by in dict.fromkeys(one.by for one in sure):
        more = sorted((one for one in sure if one.by == by and one.here > one.there), key=lambda one: one.p)
        fewer = [str(one.group) for one in sure if one.by == by and one.here < one.there]
        worst = "; ".join(
            f"{one.group} {one.here:.1%} against {one.there:.1%} elsewhere, p {_p(one.p)}" for one in more[:3]
        )
        rest = [
            f"more often in {worst}" + (f" and {len(more) - 3} more" if len(more) > 3 else "") if more else "",
            f"less often in {listed(fewer)}" if fewer else "",
        ]
        groups_text = ", ".join(filter(None, rest))
        yield f"The share of rows with no verdict differs by {by}: {groups_text}. Means may be biased."


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
