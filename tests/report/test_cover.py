"""The choice of the page's rows: never more than asked for, and a row for every mark where there is room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.correlation import Codes
from scorer.report.page import cover as covering
from scorer.report.page.cover import cover
from scorer.report.page.groups import Counted, Group, RowsOf, count_groups
from scorer.report.page.page_rows import PageRows


def at(places: Codes) -> PageRows:
    """Rows that know their places alone."""
    return PageRows(lambda name: pl.Series(), np.asarray(places, dtype=np.int64), "score", None)


def group(codes: Sequence[int] | Codes, size: int, weight: float = 1.0) -> Group:
    """A division whose codes are given by place."""
    given = np.asarray(codes, dtype=np.int64)
    return Group(lambda part: given[part.places], size, lambda code: f"g = {code}", weight)


def counts(groups: Sequence[Group], rows: int, step: int = 10**9) -> list[Counted]:
    """The groups counted, some rows at a time."""
    parts = [at(np.arange(first, min(first + step, rows))) for first in range(0, rows, step)]
    return list(count_groups({str(n): one for n, one in enumerate(groups)}, parts).values())


@st.composite
def divided(draw: st.DrawFn) -> tuple[int, list[Counted], list[Codes]]:
    """Rows and up to four divisions of them into groups; some rows are in none."""
    rows = draw(st.integers(1, 60))
    groups, every = [], []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, 12))
        codes = draw(st.lists(st.integers(-1, size - 1), min_size=rows, max_size=rows))
        weight = draw(st.sampled_from([0.5, 1.0, 8.0]))
        groups.append(group(codes, size, weight))
        every.append(np.array(codes, dtype=np.int64))
    return rows, counts(groups, rows, draw(st.integers(1, 30))), every


@given(divided(), st.integers(0, 40), st.data())
@settings(max_examples=150, deadline=None)
def test_cover_keeps_to_its_budget_and_every_mark_has_a_row_or_a_count(
    made: tuple[int, list[Counted], list[Codes]], most: int, data: st.DataObject
) -> None:
    rows, groups, every = made
    first = data.draw(st.lists(st.integers(0, rows - 1), max_size=10))
    rest = data.draw(st.lists(st.integers(0, rows - 1), max_size=10))
    chosen = cover(groups, at, rows, first, rest, most)
    assert len(chosen) <= most
    assert len(set(chosen)) == len(chosen)
    assert chosen[: len(set(first))] == list(dict.fromkeys(first))[:most]
    ids = [str(row) for row in chosen]
    rows_of = RowsOf(dict(enumerate(groups)), at(np.array(chosen, dtype=np.int64)), ids, "")  # type: ignore[arg-type]
    there = 0
    for name, one in enumerate(groups):
        for code in range(one.group.size):
            mark = rows_of(name, code)  # type: ignore[arg-type]
            mine = np.flatnonzero(every[name] == code).tolist()
            assert one.first[code] == (mine[0] if mine else -1)
            assert mark.count == len(mine)
            assert set(map(int, mark.ids)) <= set(mine)
            assert mark.where == f"g = {code}"
            there += bool(mark.count and not mark.ids)
    # A mark is without a row only where the budget is used up.
    assert not there or len(chosen) == most


def test_cover_takes_one_row_for_many_marks_before_a_row_for_each() -> None:
    codes = [[-1, 0, -1, 0], [0, -1, -1, 0], [-1, -1, 0, 0]]
    groups = counts([group(one, 1) for one in codes], 4)
    assert cover(groups, at, 4, [], [], 4) == [3]
    assert cover(groups, at, 4, [0], [], 4) == [0, 3]
    assert cover(groups, at, 4, [], [], 0) == []


def test_cover_takes_the_heavier_group_first() -> None:
    groups = counts([group([0, -1], 1), group([-1, 0], 1, 8.0)], 2)
    assert cover(groups, at, 2, [], [], 1) == [1]


def test_cover_finds_the_rare_group_among_more_rows_than_it_draws() -> None:
    rows = covering.POOL * 2
    codes = np.zeros(rows, dtype=np.int64)
    codes[rows - 7] = 1
    assert rows - 7 in cover(counts([group(codes, 2)], rows), at, rows, [], [], 2)
