"""The newest score of each row that has a result, from the result files alone. Blocking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from scorer.files.files import Files
from scorer.output import segments as seg
from scorer.output.layout import Layout
from scorer.types import Shard

Scores = tuple[Shard, NDArray[np.int64], NDArray[np.float64]]
"""A shard, numbers of its rows, and their scores; NaN is a row that ended in an error."""


def stored_scores(files: Files, layout: Layout, shards: Sequence[Shard]) -> Iterator[Scores]:
    """The rows of each shard that have a result. A file that cannot be read is left out: its rows have none."""
    results = layout.result_files(files)
    for shard in shards:
        score, known = np.full(shard.rows, np.nan), np.zeros(shard.rows, dtype=bool)
        for path in results.paths(shard.stem):  # of unfinished shards in the order of their generations
            try:
                with seg.broken(path):
                    table = seg.read_columns(files, path, ["row", "score"])
                    rows = table.column("row").to_numpy()
                    score[rows] = table.column("score").to_numpy()
                    known[rows] = True
            except (seg.Broken, IndexError):
                continue
        found = np.flatnonzero(known)
        if len(found):
            yield shard, found, score[found]
