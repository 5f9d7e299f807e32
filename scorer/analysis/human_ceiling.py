"""Agreement among people, the ceiling of a judge's: each person against the mean of the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scorer.analysis.agree_levels import PairedRows, levels_of
from scorer.analysis.agree_result import Ceiling
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.correlation import STATISTICS, Floats
from scorer.analysis.kappa_alpha import alpha
from scorer.analysis.scale_across_tasks import mean_defined


def ceiling_of(by_person: Floats, people: Sequence[str], rows: PairedRows) -> Ceiling:
    found: dict[str, dict[str, list[float]]] = {}
    for p in range(len(people)):
        rest = np.delete(by_person, p, axis=1)
        given = (~np.isnan(rest)).sum(axis=1)
        both = (given > 0) & ~np.isnan(by_person[:, p])
        mean = np.nansum(rest, axis=1) / np.maximum(given, 1)
        levels = levels_of(
            PairedRows(by_person[:, p], mean, rows.item, rows.system, rows.task).where(both), Bootstrap(0)
        )
        for name, level in levels.levels():
            for statistic in STATISTICS:
                value = level.statistics[statistic]
                found.setdefault(name, {}).setdefault(statistic, []).append(float("nan") if value is None else value)
    return Ceiling(
        people=people,
        statistics={n: {s: mean_defined(np.array(v)) for s, v in level.items()} for n, level in found.items()},
        alpha={"ordinal": alpha(by_person, "ordinal"), "interval": alpha(by_person, "interval")},
    )
