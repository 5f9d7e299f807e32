"""The result type of `scorer curves`: its tables and its JSON. `scorer.analysis.learning_curves` computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from scorer.analysis.curve_distance import Saved
from scorer.html_tables import rows_html

_KEY = {"measure": pl.String(), "task": pl.String(), "mix": pl.String(), "step": pl.Float64()}
_VALUE = dict.fromkeys(("value", "low", "high"), pl.Float64())
LEVELS = pl.Schema({**_KEY, **_VALUE, "rows": pl.Int64(), "unread": pl.Int64()})
GAINS = pl.Schema(
    {**_KEY, "against": pl.Float64(), **_VALUE, "at_lowest": pl.Float64(), "at_highest": pl.Float64()}
    | {"better": pl.Boolean()}
)
CHANGES = pl.Schema(
    {"measure": pl.String(), "task": pl.String(), "mix": pl.String(), "step": pl.Float64(), **_VALUE}
    | {"lost": pl.Boolean()}
)


@dataclass(frozen=True, slots=True)
class LearningCurves:
    """Learning curves. `levels`: measure, task (null: all), mix, step, value with its own 95 % interval, rows, unread.

    Measures, in this order: well_formed (a share) and score_well_formed, with a column of formats, then score.
    `gains` are each step less the mix's first one, with intervals that hold together within a measure and task;
    `better` is True or False where the sign is sure whatever unread rows would have, else null.
    `flat` is by mix the first step from which no later step gains `margin` or more (the upper ends of the intervals of
    all pairs of steps hold together), None where none is known to be. `saved` are distances of curves in examples.
    `changes` are last step less first by task and mix, of the score and, with a column of formats, of the score of
    those in the right format; all intervals together. `lost` is True where it surely fell.
    """

    levels: pl.DataFrame
    gains: pl.DataFrame
    flat: Mapping[str, float | None]
    margin: float
    saved: Sequence[Saved]
    changes: pl.DataFrame
    notes: Sequence[str] = field(default=())

    @property
    def frame(self) -> pl.DataFrame:
        """`levels`."""
        return self.levels

    def _repr_html_(self) -> str:
        return rows_html("Learning curves", self.levels.to_dicts(), self.notes)

    def json(self) -> dict[str, Any]:
        return {
            "levels": self.levels.to_dicts(),
            "gains": self.gains.to_dicts(),
            "flat": dict(self.flat),
            "margin": self.margin,
            "saved": [asdict(one) for one in self.saved],
            "changes": self.changes.to_dicts(),
            "notes": list(self.notes),
        }
