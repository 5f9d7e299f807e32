"""What scorer.testing watches code with: I/O is found, time and chance are changed and given back."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from scorer.testing.pure import no_io, other_moment


def test_no_io_finds_a_file_that_is_read() -> None:
    with pytest.raises(AssertionError, match="it does I/O: open"), no_io():
        Path(__file__).read_text()


def test_no_io_is_over_at_the_end_of_its_block() -> None:
    with no_io():
        sum(range(3))
    assert Path(__file__).read_text()


def test_another_moment_has_other_time_and_chance_and_gives_both_back() -> None:
    random.seed(1)
    expected = random.Random(1).random()
    before = time.time()
    with other_moment(7):
        assert time.time() - before > 6 * 86_400
        assert random.random() != expected
    assert random.random() == expected
    assert time.time() - before < 86_400
