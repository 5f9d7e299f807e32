"""Promise: what rounds to zero has no sign, except as the end of an interval: there it says on which side zero is."""

from __future__ import annotations

from typing import Any

import pytest

from scorer.cli.text_table import cell


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (1234, "1,234"),
        (True, "True"),
        (0.12345, "0.123"),
        (-0.0004, "0.000"),
        (-0.0006, "-0.001"),
        ((-0.0001, (-0.0002, 0.5)), "0.000 [-0.000, 0.500]"),
        ((None, None), "-"),
    ],
)
def test_a_cell(value: Any, shown: str) -> None:
    assert cell(value) == shown
