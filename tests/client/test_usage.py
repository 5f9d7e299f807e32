"""Promise: what several requests took is the sum of each field, and unknown only where none of them knows it."""

from __future__ import annotations

from dataclasses import astuple, fields

from hypothesis import given
from hypothesis import strategies as st

from scorer.usage import Spent, Usage

COUNTS = st.integers(0, 10**12)
USAGES = st.builds(Usage, *[COUNTS] * (len(fields(Usage)) - 1))  # all but the tier
SPENT = st.builds(Spent, COUNTS, COUNTS.map(float), COUNTS.map(float), st.none() | USAGES, st.none() | COUNTS)


@given(one=USAGES, other=USAGES)
def test_usage_sum_adds_every_field(one: Usage, other: Usage) -> None:
    counts = zip(astuple(one)[:-1], astuple(other)[:-1], strict=True)
    assert astuple(one + other) == (*(a + b for a, b in counts), None)


@given(several=st.lists(SPENT, max_size=5))
def test_spent_sum_adds_known_values(several: list[Spent]) -> None:
    total = sum(several, Spent())
    usages = [one.usage for one in several if one.usage is not None]
    costs = [one.cost_pico for one in several if one.cost_pico is not None]
    assert total.attempts == sum(one.attempts for one in several)
    assert (total.waited_s, total.answered_s) == (
        sum(one.waited_s for one in several),
        sum(one.answered_s for one in several),
    )
    assert total.cost_pico == (sum(costs) if costs else None)
    assert total.usage == (sum(usages[1:], usages[0]) if usages else None)
