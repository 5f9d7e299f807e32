"""Promise: an index of a pandas frame that has a name is not lost."""

from __future__ import annotations

import polars as pl
import pytest

from scorer.frames.as_frame import as_frame


def test_named_levels_of_a_pandas_index_are_columns() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": ["a", "b"], "n": [1, 2], "text": ["x", "y"]})
    assert as_frame(frame.set_index("id")).equals(pl.from_pandas(frame))
    assert as_frame(frame.set_index(["id", "n"])).equals(pl.from_pandas(frame))
    assert as_frame(frame.set_index("id", drop=False)).equals(pl.from_pandas(frame)), "its column is there"
    unnamed = frame.set_index(["id", "n"]).rename_axis([None, "n"])
    assert as_frame(unnamed).columns == ["n", "text"]
