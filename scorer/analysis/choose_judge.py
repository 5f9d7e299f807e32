"""Which judge to choose: the cheapest that is not worse than the best in agreement with people, on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.agree_levels import PairedRows
from scorer.analysis.alternative_annotator import EPSILON, AlternativeAnnotator, alternative_annotator
from scorer.analysis.best import behind_best_of_draws, items_needed
from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap
from scorer.analysis.choice_rule import by_margin, chosen
from scorer.analysis.choose_result import ByMargin
from scorer.analysis.columns import LARGEST, Columns, compact, listed, same_run, take
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.human_ceiling import ceiling_of
from scorer.analysis.label_design import LabelDesign, label_design
from scorer.analysis.paired import Mask
from scorer.analysis.reading import collected
from scorer.analysis.sampled_agreement import ITEM_KENDALL, PEARSON, LabelledItems
from scorer.errors import SpecError
from scorer.html_tables import rows_html

STATISTICS = {PEARSON: "Pearson's r over all rows", ITEM_KENDALL: "Kendall's tau-b within items"}


@dataclass(frozen=True, slots=True)
class JudgeChoice:
    """The judge to choose, by its agreement with people over the `rows` that every judge and somebody scored.

    `chosen` is the first by cost (else in the order given, from cheap to dear) whose agreement is surely less than
    `margin` below the best judge's; None where these rows do not tell. `items` is how many items that rests on: within
    items only those whose rows people and every judge tell apart. `judges`, in that order: judge, chosen,
    agreement, low, high, behind, behind_at_most (all of these hold together in 95 % of tables), cost, unread (labelled
    rows without its verdict). `ceiling` is the agreement of people with one another, None of one person. `replaces` has
    the alternative annotator test by judge, where three people or more labelled. `needed` is by judge how many items
    would show it within the margin, if things are as they seem.
    """

    chosen: str | None
    margin: float
    statistic: str
    rows: int
    items: int
    judges: pl.DataFrame
    by_margin: Sequence[ByMargin]
    ceiling: float | None
    replaces: Mapping[str, AlternativeAnnotator] = field(default_factory=dict)
    needed: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = field(default=())

    @property
    def frame(self) -> pl.DataFrame:
        """`judges`."""
        return self.judges

    def json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("chosen", "margin", "statistic", "rows", "items", "ceiling")},
            "judges": self.judges.to_dicts(),
            "by_margin": [asdict(one) for one in self.by_margin],
            "replaces": {name: asdict(one) for name, one in self.replaces.items()},
            "needed": dict(self.needed),
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        title = "No choice" if self.chosen is None else f"Choice: {self.chosen}"
        return rows_html(f"{title} (margin {self.margin:g})", self.judges.to_dicts(), self.notes)


def choose_judge(
    frame: pl.LazyFrame,
    judges: Sequence[str],
    human: Sequence[str],
    *,
    item: str | None = None,
    task: str | None = None,
    cost: str | None = None,
    margin: float = 0.0,
    epsilon: float = EPSILON,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> JudgeChoice:
    """The cheapest of the score columns `judges` by agreement with the mean of the columns `human`.

    Agreement is Kendall's tau-b within items where `item` is given and some item has two rows or more, else Pearson's r
    over all rows; with `task` the mean over tasks. `cost` is a column of each judge's run (`<run>.cost_microusd`, which
    is taken without one, where each judge has its own): its mean over all rows. Raises SpecError for columns and
    numbers that cannot serve, and fewer than two judges.
    """
    names = list(dict.fromkeys(judges))
    schema = frame.collect_schema()
    problems = [] if len(names) > 1 else ["Give two judges or more: their score columns, as --judges a.score,b.score."]
    if not human:
        problems.append("A judge is chosen by its agreement with people: give --human, the column of their values.")
    if not (math.isfinite(margin) and margin >= 0):
        problems.append(f"The margin is {margin:g}; it must be 0 or more, in points of a correlation.")
    if not (math.isfinite(epsilon) and 0 <= epsilon < 1):
        problems.append(f"--epsilon is {epsilon:g}; it must be from 0 to below 1.")
    if not bootstrap.resamples:
        problems.append("A choice rests on limits from resamples: --bootstrap must be above 0.")
    if problems:
        raise SpecError(problems)
    groups = [name for name in (item, task) if name]
    columns = take(frame, [*names, *human], groups, largest=LARGEST**2)
    costs = _costs(frame, schema, names, cost)
    people = np.stack([columns.floats(name) for name in dict.fromkeys(human)], axis=1)
    labelled: Mask = np.isfinite(people).sum(axis=1) > 0
    design = label_design(frame, labelled, np.ones(len(labelled), dtype=bool))
    labelled &= design.usable
    people = np.where(labelled[:, None], people, np.nan)
    scores = np.stack([columns.floats(name) for name in names], axis=1)
    used: Mask = labelled & (np.isfinite(scores).sum(axis=1) == len(names))
    if used.sum() < 2:
        raise SpecError(
            [f"{used.sum()} rows have a human value and a score of every judge; a choice needs two or more."]
        )
    y = np.nanmean(people[used], axis=1)
    codes = {name: compact(columns.codes(name)[0][used])[0] for name in groups}
    rows = LabelledItems(y, codes.get(item or ""), codes.get(task or ""), bootstrap)
    found = [rows.statistics(scores[used, k : k + 1]) for k in range(len(names))]
    statistic = ITEM_KENDALL if ITEM_KENDALL in rows.names and _defined(found, ITEM_KENDALL) else PEARSON
    values = np.array([one[statistic].value for one in found])
    if np.isnan(values).all():
        raise SpecError(
            [f"No judge tells the {used.sum():,} labelled rows apart, or people do not: nothing to compare."]
        )
    items = min(one[statistic].items for one in found)
    behind = behind_best_of_draws(values, [one[statistic].draws for one in found], items)
    at_most = behind.at_most()
    order = _order(costs, len(names))
    needed = items_needed(behind, np.full(len(names), items), margin)
    choice = chosen(at_most, order, margin)
    intervals = [
        rows.drawn.interval(one[statistic].draws, items=one[statistic].items) if rows.drawn is not None else None
        for one in found
    ]
    table = pl.DataFrame(
        {
            "judge": names,
            "chosen": [k == choice for k in range(len(names))],
            "agreement": values,
            "low": pl.Series([one and one[0] for one in intervals], dtype=pl.Float64),
            "high": pl.Series([one and one[1] for one in intervals], dtype=pl.Float64),
            "behind": np.nanmax(values) - values,
            "behind_at_most": np.where(np.isfinite(at_most), np.maximum(at_most, 0.0), np.nan),
            "cost": pl.Series([None] * len(names) if costs is None else costs.tolist(), dtype=pl.Float64),
            "unread": (labelled[:, None] & ~np.isfinite(scores)).sum(axis=0),
        }
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    return JudgeChoice(
        chosen=None if choice is None else names[choice],
        margin=margin,
        statistic=STATISTICS[statistic],
        rows=int(used.sum()),
        items=items,
        judges=table[order.tolist()],
        by_margin=[ByMargin(names[step.system], step.above, step.to) for step in by_margin(at_most, order)],
        ceiling=_ceiling(people[used], list(dict.fromkeys(human)), codes, item, task, statistic),
        replaces=_replaces(scores, people, names, list(dict.fromkeys(human)), columns, item, epsilon),
        needed={} if choice is not None else {names[k]: needed[k] for k in order.tolist() if k in needed},
        notes=[*_notes(names, labelled, used, scores, people, costs), *_about_labels(design)],
    )


def _defined(found: Sequence[Mapping[str, Any]], statistic: str) -> bool:
    return all(math.isfinite(one[statistic].value) for one in found)


def _costs(frame: pl.LazyFrame, schema: pl.Schema, names: Sequence[str], cost: str | None) -> Floats | None:
    """The mean cost of a row by judge; None where no column tells the judges apart."""
    columns = [same_run(schema, name, cost or "cost_microusd") for name in names]
    there = [column for column in columns if column in schema]
    if cost is not None and len(there) < len(names):
        missing = listed([name for name, column in zip(names, columns, strict=True) if column not in schema])
        raise SpecError([f"No column {cost} stands beside {missing}: a judge's cost is a column of its own run."])
    if len(set(there)) < len(names):
        return None
    row = collected(frame.select(pl.col(column).cast(pl.Float64).mean() for column in columns)).row(0)
    return np.array([math.nan if value is None else value for value in row])


def _order(costs: Floats | None, count: int) -> Codes:
    return np.arange(count) if costs is None else np.argsort(np.where(np.isnan(costs), np.inf, costs), kind="stable")


def _ceiling(
    people: Floats, names: Sequence[str], codes: Mapping[str, Codes], item: str | None, task: str | None, statistic: str
) -> float | None:
    if len(names) < 2:
        return None
    mean = np.nanmean(people, axis=1)
    rows = PairedRows(mean, mean, codes.get(item or ""), None, codes.get(task or ""))
    level = ("item", "kendall") if statistic == ITEM_KENDALL else ("dataset", "pearson")
    return ceiling_of(people, names, rows).statistics.get(level[0], {}).get(level[1])


def _replaces(
    scores: Floats,
    people: Floats,
    names: Sequence[str],
    humans: Sequence[str],
    columns: Columns,
    item: str | None,
    epsilon: float,
) -> dict[str, AlternativeAnnotator]:
    if len(humans) < 3:
        return {}
    cluster = columns.codes(item)[0] if item else np.arange(len(people), dtype=np.int64)
    tests = {
        name: alternative_annotator(scores[:, k], people, humans, cluster, epsilon)
        for k, name in enumerate(names)
        if _on_scale(scores[:, k], people)
    }
    return {name: one for name, one in tests.items() if one is not None}


def _about_labels(design: LabelDesign) -> Iterator[str]:
    if design.refused:
        yield (
            f"{sum(design.refused.values()):,} labels are left out: their rows were not drawn at random "
            f"({', '.join(design.refused)})."
        )
    if design.weight is not None:
        yield "The labels were drawn within strata: agreement is over the labelled rows, each counting alike."


def _on_scale(score: Floats, people: Floats) -> bool:
    """Whether a judge's scores may be on people's scale: none is far outside of what people gave."""
    low, high = float(np.nanmin(people)), float(np.nanmax(people))
    near = (high - low) / 4
    known = score[np.isfinite(score)]
    return bool(len(known)) and bool((known >= low - near).all() and (known <= high + near).all())


def _notes(
    names: Sequence[str], labelled: Mask, used: Mask, scores: Floats, people: Floats, costs: Floats | None
) -> Iterator[str]:
    if costs is None:
        yield "No column says what each judge costs: they are preferred in the order given, the first first."
    elif unknown := [name for name, cost in zip(names, costs.tolist(), strict=True) if math.isnan(cost)]:
        yield f"What {listed(unknown)} costs is not known: such judges are preferred last."
    if left := int(labelled.sum() - used.sum()):
        yield (
            f"{left:,} of {labelled.sum():,} labelled rows lack a verdict of some judge and are left out for all. A "
            "judge that gives no verdict on hard rows looks better than it is."
        )
    off = [name for k, name in enumerate(names) if not _on_scale(scores[:, k], people)]
    if people.shape[1] > 2 and off:
        yield (
            f"{listed(off)} are on another scale than people: the alternative annotator test needs one scale (scorer "
            "scale --calibrate)."
        )
