"""Collects lazy frames in one streaming pass, and turns what polars raises into a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from scorer.analysis.reading import first_line
from scorer.errors import SpecError


class FilesChanged(SpecError):
    """A result file is gone: a run that is under way has merged it into another. Opening the run again finds that."""


def collect_all(frames: Sequence[pl.LazyFrame]) -> list[pl.DataFrame]:
    """The rows of each frame; what they share is read once, a part at a time.

    Raises FilesChanged where a file is gone, another SpecError where one is damaged, or a condition does not fit.
    """
    try:
        return pl.collect_all(list(frames), engine="streaming")
    except FileNotFoundError as error:
        raise FilesChanged([f"The rows cannot be read to their end: {first_line(error)}."]) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SpecError([f"The rows cannot be read to their end: {first_line(error)}."]) from error
