"""The range of a score column: the judge's scale where the table is a run's output folder, else the observed range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.analysis.correlation import Floats
from scorer.analysis.open_table import Tables, out_folder, several_folders, single
from scorer.files.router import AnyFiles
from scorer.judges import JUDGES
from scorer.judges.options import option_defaults
from scorer.output.layout import Layout
from scorer.output.manifest import load
from scorer.plugins import found

Range = tuple[float, float]

_SHARES = {"pairwise": ("score", "preference", "preference_given", "preference_swapped"), "checklist": ("score",)}
"""Columns in [0, 1], by the kind of judge."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The lowest and the highest value that a row with no verdict can have; `is_scale`: they are the judge's scale."""

    low: float
    high: float
    is_scale: bool

    def note(self, score: str) -> str:
        """A sentence on where the bounds of rows with no verdict come from."""
        if self.is_scale:
            return f"Rows with no verdict are bounded by the judge's scale, {self.low:g} to {self.high:g} (run.json)."
        return (
            f"Rows with no verdict are bounded by the lowest and highest observed {score}, {self.low:g} to "
            f"{self.high:g}: the judge's scale is not known."
        )


def bounds(values: Floats, scale: Range | None = None) -> Bounds:
    """The scale, or the observed range where it is None or a value lies outside of it. NaN is no verdict."""
    known = values[np.isfinite(values)]
    return bounds_of(float(known.min(initial=np.inf)), float(known.max(initial=-np.inf)), scale)


def bounds_of(low: float, high: float, scale: Range | None = None) -> Bounds:
    """`bounds` of values whose lowest and highest are these."""
    if scale is not None and scale[0] <= low and high <= scale[1]:
        return Bounds(*scale, is_scale=True)
    return Bounds(low, high, is_scale=False)


def scale_of(table: Tables, score: str) -> Range | None:
    """The scale of a result column of a run in `table`, by its run.json; None where it is not known.

    Known are `score` and `score_<criterion>` of judges with a scale, and the preferences and shares of the built-in
    ones. The log-probabilities of `likelihood` have no bounds.
    """
    out: str | None
    if (folders := several_folders(table)) is not None:
        name = next((name for name in folders if score.startswith(f"{name}.")), None)
        if name is None:
            return None
        out, score = folders[name], score[len(name) + 1 :]
    else:
        out = out_folder(single(table))
    manifest = load(AnyFiles(), Layout(out)) if out is not None else None
    return None if manifest is None else scale_of_judge(manifest.spec.get("judge", {}), score)


def scale_of_judge(judge: Mapping[str, Any], score: str) -> Range | None:
    """The scale of a result column by the [judge] of a run file; None where it is not known."""
    kind = str(judge.get("kind", "rating"))
    if kind == "cascade":  # its options are those of what it asks for, and each model's score is on that scale
        kind = str(judge.get("of", "rating"))
        score = "score" if score in {f"score_{alias}" for alias in judge.get("models", ())} else score
    if score in _SHARES.get(kind, ()):
        return 0.0, 1.0
    if kind == "reward":
        is_share = score == "score" and (judge.get("value") == "probability" or judge.get("reference") is not None)
        return (0.0, 1.0) if is_share else None
    criteria = judge.get("criteria", ())
    tables = [
        one if isinstance(one, Mapping) else {"name": one} for one in criteria or () if not isinstance(criteria, str)
    ]
    named = {f"score_{one.get('name')}": one for one in tables}
    if judge.get("versus_reference") or kind == "versus_reference":
        kind, named = "versus_reference", {"score_reference": {}}
    kind = "rating" if kind == "panel" else kind  # a panel's options are those of its ratings
    if kind not in JUDGES or score not in ("score", *named):
        return None
    defaults = option_defaults(found(JUDGES[kind], "judge.kind"))
    if "scale" not in defaults:
        return None
    labels = judge.get("labels")
    own = named.get(score, {}).get("scale")
    ends = list(labels.values()) if isinstance(labels, Mapping) else own or judge.get("scale", defaults["scale"])
    try:
        low, high = float(min(ends)), float(max(ends))
    except (TypeError, ValueError):
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None
