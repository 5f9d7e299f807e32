"""Checks the options of a scale in the run file: `scale`, `labels`, `pattern`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from scorer.judges.reading.labels import Labels, own_case
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.scales import Scale

_MOST_LABELS = 101


def chosen(
    scale: Any, labels: Any, read: str, problems: list[str], key: str = "judge.scale"
) -> tuple[dict[str, float], Scale]:
    """The labels with their values, where this reading has some, and the scale to read on.

    Adds one sentence to `problems` for each mistake in the run file's `labels` and scale, which stands there as `key`.
    """
    try:
        low, high = (float(end) for end in scale)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        problems.append(f"{key}: {scale!r} is not allowed; two numbers are, the lower one first, such as [1, 5].")
        return {}, Numbers(0, 1)
    table: dict[str, float] = {}
    if labels is None:
        if read in ("label", "expected"):
            steps = range(math.ceil(low), math.floor(high) + 1)
            if not 2 <= len(steps) <= _MOST_LABELS:
                problems.append(
                    f"judge.labels: missing, and the scale {low:g} to {high:g} has {len(steps)} whole numbers to serve "
                    f"as labels; 2 to {_MOST_LABELS} may. Give the labels."
                )
            table = {str(step): float(step) for step in steps[:_MOST_LABELS]}
    elif read in ("number", "pattern"):
        problems.append(f'judge.labels: read = "{read}" reads none. Set judge.read to label, json or expected.')
    elif isinstance(labels, Mapping):
        table = {str(label): value for label, value in labels.items()}
    elif not isinstance(labels, str) and len(labels) > 1:
        table = {str(label): low + place * (high - low) / (len(labels) - 1) for place, label in enumerate(labels)}
    off = {
        n: v for n, v in table.items() if not isinstance(v, int | float) or isinstance(v, bool) or not low <= v <= high
    }
    for label, value in off.items():
        problems.append(f"judge.labels: {label!r} = {value!r} is off the scale; from {low:g} to {high:g} is allowed.")
    # Two that differ in case alone, such as m and M, are two.
    different = {own_case(label) for label in table}
    if (
        labels is not None
        and read not in ("number", "pattern")
        and (len(different) < 2 or len(different) < len(labels) or "" in different)
    ):
        problems.append(f"judge.labels: {labels!r} is not allowed; two or more different labels are.")
    if off or not table:
        return table, Numbers(low, high)
    if all(_numeric(label, value) for label, value in table.items()):
        return table, Numbers(low, high, only=frozenset(map(float, table.values())))
    return table, Labels(table)


def compiled(pattern: Any, read: str, criteria: Any, problems: list[str]) -> re.Pattern[str] | None:
    """The run file's `pattern`, None where this reading has none. Adds one sentence to `problems` for each mistake."""
    if (read == "pattern") != (pattern is not None):
        problems.append("judge.pattern: belongs to read = \"pattern\", which needs one, such as '\\d+(?:\\.\\d+)?'.")
        return None
    if pattern is None:
        return None
    if criteria:
        problems.append("judge.criteria: one pattern cannot tell several criteria apart. Remove one of the two.")
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        problems.append(f"judge.pattern: {pattern!r} is no regular expression ({error}).")
        return None


def _numeric(label: str, value: float) -> bool:
    try:
        return float(label) == value
    except ValueError:
        return False
