"""Several references of a row: which values are a list of them, and the best score over the list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scorer.metrics.protocol import Metric

Reference = str | Sequence[str] | None
"""One text, a list of texts, or null."""


def listed(value: Any) -> list[str] | None:
    """The texts of a list of references, nulls left out; None where the value is no list of texts."""
    if not isinstance(value, list | tuple) or any(not isinstance(one, str | None) for one in value):
        return None
    return [one for one in value if one is not None]


def best_scores(
    name: str, metric: Metric, responses: Sequence[str | None], references: Sequence[Reference]
) -> list[float | None]:
    """One score for each row: of several references the highest, None where none of them gives a score.

    The metric sees one pair of texts for each reference of a row; an empty list is a null reference. A metric with
    `takes_lists` sees the lists themselves. Raises ValueError where the metric gives another number of scores.
    """
    if getattr(metric, "takes_lists", False) or all(one is None or isinstance(one, str) for one in references):
        return _counted(name, metric(responses, references), len(responses))  # type: ignore[arg-type]
    rows: list[int] = []
    texts: list[str | None] = []
    for row, reference in enumerate(references):
        each: Sequence[str | None] = [reference] if reference is None or isinstance(reference, str) else reference
        each = each or [None]
        rows += [row] * len(each)
        texts += each
    best: list[float | None] = [None] * len(responses)
    scores = _counted(name, metric([responses[row] for row in rows], texts), len(rows))
    for row, score in zip(rows, scores, strict=True):
        before = best[row]
        if score is not None and math.isfinite(score) and (before is None or score > before):
            best[row] = score
    return best


def _counted(name: str, scores: list[float | None], rows: int) -> list[float | None]:
    if len(scores) != rows:
        raise ValueError(f"{name} gave {len(scores)} scores for {rows} rows")
    return scores
