"""Agreement of one column of scores with another column: at each level, by task, and as labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scorer.analysis.agree_levels import PairedRows, levels_of
from scorer.analysis.agree_result import ScoreAgreement
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.columns import compact
from scorer.analysis.correlation import STATISTICS, Floats
from scorer.analysis.kappa_alpha import alpha, kappa
from scorer.analysis.scale_across_tasks import mean_defined, task_scales
from scorer.analysis.unread import by_people

MOST_LABELS = 20


def score_agreement(rows: PairedRows, tasks: Sequence[str], human: str, bootstrap: Bootstrap) -> ScoreAgreement:
    whole = levels_of(rows, bootstrap)
    clusters = np.arange(len(rows.y)) if rows.item is None else compact(rows.item)[0]
    differs = by_people(human, rows.y, np.isnan(rows.x), clusters, rows.task, tasks)
    labels, unlike = _kappa_and_alpha(rows)
    if rows.task is None:
        return ScoreAgreement(whole, {}, None, labels, differs, unlike)
    read = ~np.isnan(rows.x)
    group, present = compact(rows.task[read])
    scale = dict(zip(present.tolist(), task_scales(rows.x[read], rows.y[read], group), strict=True))
    by_task = {tasks[t]: (levels_of(rows.where(rows.task == t), bootstrap), scale.get(t)) for t in range(len(tasks))}
    within = {
        name: mean_defined(
            np.array([levels.dataset.statistics[name] for levels, _ in by_task.values()], dtype=np.float64)
        )
        for name in STATISTICS
    }
    return ScoreAgreement(whole, by_task, within, labels, differs, unlike)


def _kappa_and_alpha(rows: PairedRows) -> tuple[dict[str, float | None] | None, str]:
    """Kappa and alpha where both sides use the same labels; else None, and why where both look like labels."""
    read = ~np.isnan(rows.x)
    x, y = rows.x[read], rows.y[read]
    used = np.unique(np.concatenate([x, y]))
    if not 1 < len(used) <= MOST_LABELS or (used != np.round(used)).any():
        return None, ""
    if not _same_labels(x, y):
        sides = [" to ".join(f"{end:g}" for end in dict.fromkeys((v.min(), v.max()))) for v in (x, y)]
        return None, f"Scores are {sides[0]} and human values {sides[1]}: kappa and alpha need the same labels."
    both = np.stack([x, y], axis=1)
    return {
        "kappa": kappa(x, y),
        "kappa_linear": kappa(x, y, power=1),
        "kappa_quadratic": kappa(x, y, power=2),
        "alpha_nominal": alpha(both, "nominal"),
        "alpha_ordinal": alpha(both, "ordinal"),
        "alpha_interval": alpha(both, "interval"),
    }, ""


def _same_labels(x: Floats, y: Floats) -> bool:
    """Whether two columns of whole numbers can be of one scale.

    One side's labels must lie within the other's, and where people's lie within the judge's, these
    may not reach twice as far (0 to 1 within 1 to 10 or 0 to 10 is another scale; 2 to 5 within 1 to 5 need not be).
    """
    if y.min() <= x.min() and x.max() <= y.max():
        return True
    inside = x.min() <= y.min() and y.max() <= x.max()
    return inside and float(np.ptp(x)) < 2 * float(np.ptp(y))
