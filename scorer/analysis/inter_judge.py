"""Agreement between judges: each pair of score columns, and Krippendorff's alpha of all of them. No human values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.agree_levels import PairedRows
from scorer.analysis.agree_result import ScoreAgreement, level_rows
from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap
from scorer.analysis.columns import LARGEST, take
from scorer.analysis.kappa_alpha import alpha
from scorer.analysis.score_agreement import score_agreement
from scorer.errors import SpecError
from scorer.html_tables import rows_html


@dataclass(frozen=True, slots=True)
class JudgePair:
    """Two judges over the rows that both scored; `only_first` and `only_second` rows have a score of one alone."""

    first: str
    second: str
    agreement: ScoreAgreement
    only_first: int
    only_second: int

    def json(self) -> dict[str, Any]:
        found = self.agreement.json()
        return {
            "first": self.first,
            "second": self.second,
            "only_first": self.only_first,
            "only_second": self.only_second,
            **{key: value for key, value in found.items() if key != "unread"},
        }


@dataclass(frozen=True, slots=True)
class InterJudge:
    """The agreement of every pair of judges; `alpha` is Krippendorff's of all, over rows with two scores or more."""

    rows: int
    pairs: Sequence[JudgePair]
    alpha: Mapping[str, float | None]

    def json(self) -> dict[str, Any]:
        return {"rows": self.rows, "pairs": [pair.json() for pair in self.pairs], "alpha": dict(self.alpha)}

    @property
    def frame(self) -> pl.DataFrame:
        """One row for each pair, task (null: all rows), level and statistic: value, low and high, n, unread."""
        parts = [
            ({"first": pair.first, "second": pair.second}, task, levels)
            for pair in self.pairs
            for task, levels in pair.agreement.parts()
        ]
        return level_rows(("first", "second"), parts)

    def _repr_html_(self) -> str:
        return rows_html(f"Agreement between judges: {self.rows:,} rows", self.frame.to_dicts())


def inter_judge(
    frame: pl.LazyFrame,
    scores: Sequence[str],
    *,
    item: str | None = None,
    system: str | None = None,
    task: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> InterJudge:
    """The agreement of each two of the score columns, at the levels of `agree`, over the rows that both scored.

    Raises SpecError for columns that cannot serve, for fewer than two, and for two without two rows in common.
    """
    names = list(dict.fromkeys(scores))
    if len(names) < 2:
        raise SpecError(
            [f"Agreement between judges needs two score columns or more; there is {', '.join(names)} alone."]
        )
    columns = take(frame, names, [name for name in (item, system, task) if name], largest=LARGEST**2)
    values = {name: columns.floats(name) for name in names}
    codes = {name: columns.codes(name) for name in (item, system, task) if name}
    groups = [codes[name][0] if name else None for name in (item, system, task)]
    tasks = codes[task][1] if task else []
    pairs, problems = [], []
    for first, second in combinations(names, 2):
        has_first, has_second = ~np.isnan(values[first]), ~np.isnan(values[second])
        both = has_first & has_second
        if both.sum() < 2:
            problems.append(f"Rows with both {first} and {second}: {both.sum()}; agreement needs two or more.")
            continue
        rows = PairedRows(values[first], values[second], *groups).where(both)
        pairs.append(
            JudgePair(
                first,
                second,
                score_agreement(rows, tasks, second, bootstrap),
                only_first=int((has_first & ~both).sum()),
                only_second=int((has_second & ~both).sum()),
            )
        )
    if problems:
        raise SpecError(problems)
    matrix = np.stack([values[name] for name in names], axis=1)
    return InterJudge(
        rows=len(matrix),
        pairs=pairs,
        alpha={"ordinal": alpha(matrix, "ordinal"), "interval": alpha(matrix, "interval")},
    )
