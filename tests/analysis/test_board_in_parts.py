"""A leaderboard is the same in whatever parts its rows and items are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from scorer.analysis import packed, row_parts
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.leaderboard import Leaderboard, SystemColumns, leaderboard

ROW = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["summary", "code"]),
    st.integers(0, 6),
    st.one_of(st.none(), st.integers(1, 5)),
    st.floats(0, 9),
)


def board(rows: list[Any], *, nested: bool, tasks: bool) -> Leaderboard:
    frame = pl.DataFrame(rows, schema=["model", "task", "item", "score", "cost"], orient="row").with_columns(
        pl.col("score").cast(pl.Float64)
    )
    if nested:  # each item is of one task
        frame = frame.with_columns(item=pl.format("{} {}", "task", "item"))
    beside = SystemColumns(averages=["cost"])
    task = "task" if tasks else None
    return leaderboard(
        frame.lazy(), "score", "model", task=task, item="item", beside=beside, acceptable=3, bootstrap=Bootstrap(20)
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=2, max_size=60), st.booleans(), st.booleans(), st.integers(1, 20), st.integers(1, 30))
def test_parts_change_nothing(rows: list[Any], nested: bool, tasks: bool, part: int, cells: int) -> None:
    if all(row[3] is None for row in rows):
        rows[0] = (*rows[0][:3], 3, rows[0][4])
    whole = board(rows, nested=nested, tasks=tasks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PART_ROWS", part)
        patch.setattr(row_parts, "COUNTED_CELLS", cells)
        patch.setattr(row_parts, "BLOCK_ITEMS", 2)
        found = board(rows, nested=nested, tasks=tasks)
    assert found.notes == whole.notes
    rounded = pl.selectors.float().round(9) + 0.0
    assert_frame_equal(found.systems.with_columns(rounded), whole.systems.with_columns(rounded), abs_tol=1e-8)
    assert (found.tasks is None) == (whole.tasks is None)
    if found.tasks is not None and whole.tasks is not None:
        assert_frame_equal(found.tasks.with_columns(rounded), whole.tasks.with_columns(rounded), abs_tol=1e-8)


@pytest.mark.parametrize("crossed", [False, True])
def test_counts_of_items_are_those_of_the_rows(crossed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    rows = 200
    item = draw.integers(0, 12, rows)
    task = draw.integers(0, 3, rows) if crossed else item % 3
    group, values = draw.integers(0, 4, rows), draw.integers(1, 6, rows).astype(float)
    values[::7] = np.nan
    parts = [
        row_parts.RowPart(values[at : at + 30], group[at : at + 30], task[at : at + 30], item[at : at + 30])
        for at in range(0, rows, 30)
    ]
    monkeypatch.setattr(row_parts, "COUNTED_CELLS", 20)
    monkeypatch.setattr(row_parts, "BLOCK_ITEMS", 3)
    every, read, total = np.zeros((3, 12, 4)), np.zeros((3, 12, 4)), np.zeros((3, 12))
    for block in row_parts.ItemBlocks(lambda: parts, 4, 3, 12)():
        every[block.task, block.item] += block.every
        read[block.task, block.item] += block.read
        total[block.task, block.item] += block.total
    known = np.isfinite(values)
    expected = np.zeros((2, 3, 12, 4))
    np.add.at(expected[0], (task, item, group), 1)
    np.add.at(expected[1], (task[known], item[known], group[known]), 1)
    sums = np.zeros((3, 12))
    np.add.at(sums, (task[known], item[known]), values[known])
    np.testing.assert_array_equal(every, expected[0])
    np.testing.assert_array_equal(read, expected[1])
    np.testing.assert_array_equal(total, sums)
