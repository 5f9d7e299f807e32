"""Collects lazy frames in one streaming pass, and turns what polars raises into a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from scorer.analysis.columns import first_line
from scorer.errors import SpecError


def collect_all(frames: Sequence[pl.LazyFrame]) -> list[pl.DataFrame]:
    """The rows of each frame; what they share is read once, a part at a time.

    Raises SpecError where a file turns out to be damaged, or a condition does not fit its columns.
    """
    try:
        return pl.collect_all(list(frames), engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SpecError([f"The rows cannot be read to their end: {first_line(error)}."]) from error
