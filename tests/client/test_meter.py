"""Promise: seconds in which a request was waited for or answered count once, however its attempts overlap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.client.meter import Ended, Meter
from scorer.usage import Spent, Usage

CAME = 10


def read(*ended: Ended, unsent: int = 0) -> Spent:
    meter = Meter(lambda: 100.0, since=CAME, sent_at=CAME, attempts=len(ended), unsent=unsent, ended=[*ended])
    return meter.read()


def test_one_attempt_is_waited_for_and_answered() -> None:
    assert read((12.0, 15.0, Usage(3, 4), 7)) == Spent(1, 2.0, 3.0, Usage(3, 4), 7)


def test_no_attempt_takes_nothing() -> None:
    assert read() == Spent()


@pytest.mark.parametrize("unsent", [0, 1])
def test_sums_of_several_attempts_leave_out_what_is_unknown(unsent: int) -> None:
    spent = read((12.0, 15.0, Usage(3, 4), 7), (20.0, 21.0, None, None), (21.0, 22.0, Usage(1, 1), 0), unsent=unsent)
    assert spent == Spent(3 - unsent, 2.0 + 5.0, 3.0 + 1.0 + 1.0, Usage(4, 5), 7)


def test_asking_begins_with_the_first_attempt() -> None:
    meter = Meter(lambda: 100.0, since=CAME, sent_at=CAME)
    assert meter.asking_s == 0.0
    meter.ended += [(30.0, 40.0, None, None), (20.0, 50.0, None, None)]
    assert meter.asking_s == 80.0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=4))
def test_overlapping_attempts_count_each_second_once(lengths: list[tuple[int, int]]) -> None:
    attempts = [(CAME + after, CAME + after + length) for after, length in lengths]
    last = max((end for _, end in attempts), default=CAME)
    out = sum(any(sent <= second < end for sent, end in attempts) for second in range(CAME, last))
    spent = read(*((float(sent), float(end), None, None) for sent, end in attempts))
    assert (spent.waited_s, spent.answered_s) == (last - CAME - out, out)
