"""Agreement of scores with human values: over all rows, within items, over systems, by task; intervals and ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import polars as pl

from scorer.analysis.agree_levels import PairedRows
from scorer.analysis.agree_result import Agreement, Comparison
from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap
from scorer.analysis.columns import LARGEST, compact, take
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.human_ceiling import ceiling_of
from scorer.analysis.permutation import Statistic, perm_both
from scorer.analysis.score_agreement import score_agreement
from scorer.errors import SpecError


def agree(
    frame: pl.LazyFrame,
    scores: Sequence[str],
    human: Sequence[str],
    *,
    item: str | None = None,
    system: str | None = None,
    task: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
    permutations: int = 0,
) -> Agreement:
    """The agreement of each score column with people.

    Several human columns: their mean is what a row is compared with, and agreement among them is the ceiling. Without
    `item` each row is an item of its own for the intervals (the cluster bootstrap over items). With `task` an item's
    rows are compared within the task only. With `permutations` each two scores are compared by PERM-BOTH, within items
    (kendall) where items are named, else over all rows (pearson). Raises SpecError for columns that cannot serve, and
    where people gave fewer than two values or all the same.
    """
    problems = [
        f"Give at least one {what} column." for what, names in (("score", scores), ("human", human)) if not names
    ]
    problems += [
        f"{k} = {v}; it must be 0 or more."
        for k, v in (("bootstrap", bootstrap.resamples), ("permutations", permutations))
        if v < 0
    ]
    if problems:
        raise SpecError(problems)
    groups = [name for name in (item, system, task) if name]
    read_of = list(dict.fromkeys(scores))
    columns = take(frame, [*scores, *human], groups, largest=LARGEST**2)  # whatever is squared is scaled first
    people, codes = list(dict.fromkeys(human)), [item, system, task]
    found = [_labelled(*part, len(people)) for part in columns.parts([*people, *read_of], codes)]
    numbers, places = (np.concatenate([part[n] for part in found], axis=1) for n in (0, 1))
    by_person, read = numbers[: len(people)].T, dict(zip(read_of, numbers[len(people) :], strict=True))
    given = (~np.isnan(by_person)).sum(axis=1)
    y = np.nansum(by_person, axis=1) / given
    _check_people(y, human)
    rows = PairedRows(y, y, *(code if name else None for name, code in zip(codes, places, strict=True)))
    tasks = columns.texts(task) if task else []
    return Agreement(
        rows=columns.rows.height,
        unlabelled=columns.rows.height - len(y),
        scores={
            name: score_agreement(
                PairedRows(x, y, rows.item, rows.system, rows.task),
                tasks,
                " and ".join(people),
                bootstrap,
            )
            for name, x in read.items()
        },
        ceiling=ceiling_of(by_person, people, rows) if by_person.shape[1] > 1 else None,
        comparisons=list(_compare(read, rows, permutations, bootstrap.seed)) if permutations else [],
    )


def _labelled(numbers: Sequence[Floats], codes: Sequence[Codes], people: int) -> tuple[Floats, Codes]:
    """The columns, of which the first are the people's, in the rows to which a person gave a value."""
    there = ~np.isnan(np.stack(numbers[:people])).all(axis=0)
    return np.stack([column[there] for column in numbers]), np.stack([code[there] for code in codes])


def _check_people(y: Floats, human: Sequence[str]) -> None:
    name = " and ".join(human)
    if len(y) < 2:
        raise SpecError([f"Rows with a value in {name}: {len(y)}; agreement needs two or more."])
    if y.min() == y.max():
        raise SpecError([f"{name} is {y[0]:g} in all {len(y)} rows; agreement needs people to tell rows apart."])


def _compare(read: Mapping[str, Floats], rows: PairedRows, permutations: int, seed: int) -> Iterator[Comparison]:
    for a, b in combinations(read, 2):
        both = ~np.isnan(read[a]) & ~np.isnan(read[b]) & ~np.isnan(rows.y)
        kept = rows.where(both)
        group = None
        if kept.item is not None and both.any():
            group, _ = compact(kept.item if kept.task is None else kept.item + (int(kept.item.max()) + 1) * kept.task)
        statistic: Statistic = "pearson" if group is None else "kendall"
        level = "dataset" if group is None else "item"
        verdict = perm_both(
            read[a][both], read[b][both], kept.y, item=group, statistic=statistic, permutations=permutations, seed=seed
        )
        better, than = (a, b) if (verdict.difference or 0.0) >= 0 else (b, a)
        difference = None if verdict.difference is None else abs(verdict.difference)
        yield Comparison(better, than, level, statistic, int(both.sum()), difference, verdict.p)
