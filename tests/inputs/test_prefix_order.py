"""Promise: ordering by prefixes loses no row, brings equal beginnings together, and a group's first row well before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from scorer.inputs.prefix_order import WINDOW_ROWS, grouped, in_prefix_order, spread
from scorer.types import Row

LETTERS = st.sampled_from("abc")


def row(number: int, *values: object) -> Row:
    return Row("s", number, dict(zip("xyz", values, strict=False)), size=1)


def numbers(rows: list[Row]) -> list[int]:
    return [one.number for one in rows]


def test_rows_that_do_not_repeat_stay_in_their_order() -> None:
    rows = [row(n, str(n), "same") for n in range(10)]
    assert numbers(spread(grouped(rows, ("x", "y")), 4)) == list(range(10))


def test_rows_are_grouped_by_the_longest_beginning_that_repeats() -> None:
    rows = [row(0, "a", "p"), row(1, "b", "p"), row(2, "a", "q"), row(3, "c", "p"), row(4, "a", "p"), row(5, "b", "r")]
    assert [numbers(group) for group in grouped(rows, ("x", "y"))] == [[2], [0, 4], [1, 5], [3]]


def test_values_of_any_kind_are_compared() -> None:
    rows = [row(0, [{"role": "user"}]), row(1, None), row(2, [{"role": "user"}]), row(3, None), row(4, 4.5)]
    assert [numbers(group) for group in grouped(rows, ("x",))] == [[0, 2], [1, 3], [4]]


def test_first_row_of_a_group_comes_as_many_rows_early_as_are_in_flight() -> None:
    rows = [row(n, str(n // 5)) for n in range(500)]
    order = numbers(spread(grouped(rows, ("x",)), 16))
    place = {number: at for at, number in enumerate(order)}
    leads = [place[n + 1] - place[n] for n in range(25, 450, 5)]
    assert min(leads) >= 16
    assert max(leads) <= 16 + 5 + 5 * 2, "and not much earlier"


@given(st.lists(st.tuples(LETTERS, LETTERS, LETTERS), max_size=60), st.integers(0, 20))
def test_order_is_a_permutation_in_which_each_group_is_led_by_its_first_row(
    values: list[tuple[str, str, str]], lag: int
) -> None:
    rows = [row(n, *some) for n, some in enumerate(values)]
    groups = grouped(rows, ("x", "y"))
    found = numbers(spread(groups, lag))
    assert sorted(found) == list(range(len(rows)))
    for group in groups:
        assert numbers(group) == sorted(numbers(group))
        assert [found.index(one.number) for one in group] == sorted(found.index(one.number) for one in group)


def test_window_is_bounded_and_a_stall_gives_out_what_is_held() -> None:
    async def batches() -> AsyncIterator[list[Row]]:
        for n in range(0, 10_000, 100):
            yield [row(m, str(m % 7)) for m in range(n, n + 100)]
        yield []
        yield [row(10_000, "0")]

    async def go() -> list[list[Row]]:
        return [batch async for batch in in_prefix_order(batches(), ("x",), 8)]

    found = asyncio.run(go())
    assert [len(batch) for batch in found] == [4100, 4100, 1800, 1]
    assert len(found[0]) <= WINDOW_ROWS + 256
    assert sorted(number for batch in found for number in numbers(batch)) == list(range(10_001))
