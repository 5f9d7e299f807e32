"""The spread of the samples of a row: each stored reply is read by itself, and the readings are compared."""

from __future__ import annotations

from statistics import pstdev
from typing import Any

import polars as pl

from scorer.report.run_table import RunTable

POOL = 2000
"""Rows whose replies are read; where more of them differ, these are drawn by chance."""


def sampled_runs(table: RunTable) -> list[str]:
    """The runs that ask several samples of one model and read each by itself."""
    return [name for name, judge in table.judges.items() if judge.samples > 1 and judge.reads_replies]


def spread_of(table: RunTable, rows: pl.DataFrame, raws: dict[str, str]) -> list[float]:
    """The standard deviation of the readings of each row; of several runs the largest. 0 where fewer than two read.

    `raws` are the columns of `rows` with the stored replies, by the name of the run.
    """
    return [max(_spread(table, run, row[column]) for run, column in raws.items()) for row in rows.iter_rows(named=True)]


def _spread(table: RunTable, run: str, raw: list[Any] | None) -> float:
    values = table.judges[run].readings(raw or ())
    return pstdev(values) if len(values) > 1 else 0.0
