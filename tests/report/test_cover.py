"""The choice of the page's rows: never more than asked for, and a row for every mark where there is room."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.report.page import cover as covering
from scorer.report.page.cover import cover
from scorer.report.page.groups import Group, RowsOf


@st.composite
def divided(draw: st.DrawFn) -> tuple[int, list[Group]]:
    """Rows and up to four divisions of them into groups; some rows are in none."""
    rows = draw(st.integers(1, 60))
    groups = []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, 12))
        codes = draw(st.lists(st.integers(-1, size - 1), min_size=rows, max_size=rows))
        weight = draw(st.sampled_from([0.5, 1.0, 8.0]))
        groups.append(Group(np.array(codes, dtype=np.int64), size, lambda code: f"g = {code}", weight))
    return rows, groups


@given(divided(), st.integers(0, 40), st.data())
@settings(max_examples=150, deadline=None)
def test_cover_keeps_to_its_budget_and_every_mark_has_a_row_or_a_count(
    made: tuple[int, list[Group]], most: int, data: st.DataObject
) -> None:
    rows, groups = made
    first = data.draw(st.lists(st.integers(0, rows - 1), max_size=10))
    rest = data.draw(st.lists(st.integers(0, rows - 1), max_size=10))
    chosen = cover(groups, first, rest, most)
    assert len(chosen) <= most
    assert len(set(chosen)) == len(chosen)
    assert chosen[: len(set(first))] == list(dict.fromkeys(first))[:most]
    ids = [str(row) for row in chosen]
    rows_of = RowsOf(dict(enumerate(groups)), np.array(chosen, dtype=np.int64), ids, "")  # type: ignore[arg-type]
    there = 0
    for name, group in enumerate(groups):
        for code in range(group.size):
            mark = rows_of(name, code)  # type: ignore[arg-type]
            mine = np.flatnonzero(group.codes == code).tolist()
            assert mark.count == len(mine)
            assert set(map(int, mark.ids)) <= set(mine)
            assert mark.where == f"g = {code}"
            there += bool(mark.count and not mark.ids)
    # A mark is without a row only where the budget is used up.
    assert not there or len(chosen) == most


def test_cover_takes_one_row_for_many_marks_before_a_row_for_each() -> None:
    codes = [[-1, 0, -1, 0], [0, -1, -1, 0], [-1, -1, 0, 0]]
    groups = [Group(np.array(one), 1, lambda code: None) for one in codes]
    assert cover(groups, [], [], 4) == [3]
    assert cover(groups, [0], [], 4) == [0, 3]
    assert cover(groups, [], [], 0) == []


def test_cover_takes_the_heavier_group_first() -> None:
    groups = [Group(np.array([0, -1]), 1, lambda code: None), Group(np.array([-1, 0]), 1, lambda code: None, 8.0)]
    assert cover(groups, [], [], 1) == [1]


def test_cover_finds_the_rare_group_among_more_rows_than_it_draws() -> None:
    rows = covering.POOL * 2
    codes = np.zeros(rows, dtype=np.int64)
    codes[rows - 7] = 1
    assert rows - 7 in cover([Group(codes, 2, lambda code: None)], [], [], 2)
