"""The result type of `agree`: its parts, its JSON and its frame. `scorer.analysis.agree` computes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from scorer.analysis.bootstrap import Interval
from scorer.analysis.scale_across_tasks import TaskScale
from scorer.analysis.unread import UnreadDiffers
from scorer.html_tables import rows_html


@dataclass(frozen=True, slots=True)
class Level:
    """Agreement at one level: statistics by name, None where undefined, and their 95 % intervals, None where unknown.

    `counts` are the units behind them: "items" used and "skipped" (fewer than two rows, or a side constant) and
    "ranked_items" (those of pairwise accuracy, which needs no variation) within items, "systems" over systems.
    `note` says in a sentence why statistics are undefined, "" where none is.
    """

    statistics: Mapping[str, float | None]
    intervals: Mapping[str, Interval | None]
    counts: Mapping[str, float]
    note: str = ""

    def json(self) -> dict[str, Any]:
        return {**self.statistics, **self.counts, "intervals": dict(self.intervals), "note": self.note or None}


@dataclass(frozen=True, slots=True)
class Levels:
    """Agreement of `n` rows that have both numbers; `unread` further ones have a human value and no score.

    `item` and `system` are None where no such column was named.
    """

    n: int
    unread: int
    dataset: Level
    item: Level | None
    system: Level | None

    def levels(self) -> Iterator[tuple[str, Level]]:
        """The levels that were asked for, by name."""
        for name, level in (("dataset", self.dataset), ("item", self.item), ("system", self.system)):
            if level is not None:
                yield name, level

    def json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "unread": self.unread,
            "dataset": self.dataset.json(),
            "item": self.item and self.item.json(),
            "system": self.system and self.system.json(),
        }


@dataclass(frozen=True, slots=True)
class ScoreAgreement:
    """One score column against people.

    `within` is the mean over tasks of each statistic over a task's rows, beside the pooled one of `whole.dataset`: the
    gap is what an incoherent scale costs. `labels` holds kappa and alpha where both sides use the same whole numbers,
    at most 20 of them; None elsewhere, and `unlike` says why where both look like labels. `unread` compares what people
    gave unread and read rows, over all rows and by task; it is empty where fewer than 5 are unread.
    """

    whole: Levels
    tasks: Mapping[str, tuple[Levels, TaskScale | None]]
    within: Mapping[str, float | None] | None
    labels: Mapping[str, float | None] | None
    unread: Sequence[UnreadDiffers] = ()
    unlike: str = ""

    def parts(self) -> Iterator[tuple[str | None, Levels]]:
        """The levels of all rows, under None, and of each task."""
        yield None, self.whole
        yield from ((task, levels) for task, (levels, _) in self.tasks.items())

    def json(self) -> dict[str, Any]:
        tasks = {
            task: {**levels.json(), **({} if scale is None else asdict(scale))}
            for task, (levels, scale) in self.tasks.items()
        }
        pooled = None if self.within is None else {**self.whole.dataset.json(), "within": dict(self.within)}
        labels = self.labels and dict(self.labels)
        whole = self.whole.json()
        whole["dataset"] |= {"unread_differs": [one.json() for one in self.unread]}
        return {**whole, "tasks": tasks, "pooled": pooled, "labels": labels}


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Agreement among people: each person against the mean of the others, averaged, and Krippendorff's alpha of all."""

    people: Sequence[str]
    statistics: Mapping[str, Mapping[str, float | None]]
    alpha: Mapping[str, float | None]

    def json(self) -> dict[str, Any]:
        return {"people": list(self.people), **self.statistics, "alpha": dict(self.alpha)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Does `better` agree better than `than`? Two-sided p of PERM-BOTH, on the `n` rows that have both scores."""

    better: str
    than: str
    level: str
    statistic: str
    n: int
    difference: float | None
    p: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """The answer of `agree`; of `rows` in the table `unlabelled` have no human value."""

    rows: int
    unlabelled: int
    scores: Mapping[str, ScoreAgreement]
    ceiling: Ceiling | None
    comparisons: Sequence[Comparison]

    def json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "unlabelled": self.unlabelled,
            "scores": {name: score.json() for name, score in self.scores.items()},
            "human": self.ceiling and self.ceiling.json(),
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }

    @property
    def frame(self) -> pl.DataFrame:
        """One row for each score, task (null: all rows), level and statistic: value, low and high, n, unread."""
        rows = [
            ({"score": name}, task, levels) for name, score in self.scores.items() for task, levels in score.parts()
        ]
        return level_rows(("score",), rows)

    def _repr_html_(self) -> str:
        counted = f"Agreement with human values: {self.rows:,} rows, {self.unlabelled:,} without a human value"
        return rows_html(counted, self.frame.to_dicts())


def level_rows(keys: Sequence[str], parts: Sequence[tuple[Mapping[str, str], str | None, Levels]]) -> pl.DataFrame:
    """One row for each part, level and statistic: the keys, task, level, statistic, value, low, high, n, unread."""
    rows = [
        (
            *(named[key] for key in keys),
            task,
            level,
            statistic,
            value,
            *(found.intervals.get(statistic) or (None, None)),
            levels.n,
            levels.unread,
        )
        for named, task, levels in parts
        for level, found in levels.levels()
        for statistic, value in found.statistics.items()
    ]
    texts = dict.fromkeys((*keys, "task", "level", "statistic"), pl.String())
    values = dict.fromkeys(("value", "low", "high"), pl.Float64())
    counts = dict.fromkeys(("n", "unread"), pl.Int64())
    return pl.DataFrame(rows, schema={**texts, **values, **counts}, orient="row")
