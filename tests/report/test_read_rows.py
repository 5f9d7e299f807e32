"""The rows of a page in memory: in narrow types, and with the values of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.finished_runs import finished_run

from scorer.output.scan import scan_scores
from scorer.report.page.options import ReportOptions
from scorer.report.page.population import Population, open_population
from scorer.report.page.read_rows import read_rows
from scorer.report.page.time_series import POINTS, time_series
from scorer.report.run_table import open_runs

START_US = 1_700_000_000_000_000


def population(root: Path, rows: int = 3000, shards: int = 3) -> tuple[str, Population]:
    draw = np.random.default_rng(5)
    at = np.sort(draw.integers(0, 3_600_000_000, rows)) + START_US
    given = pl.DataFrame(
        {
            "item": [f"question {n // 6}" for n in range(rows)],
            "model": [None if n == 7 else f"model {n % 6}" for n in range(rows)],
            "task": [("summary", "code")[n % 2] for n in range(rows)],
            "human": draw.integers(1, 6, rows).astype(float),
            "response": ["word " * (n % 9 + 1) for n in range(rows)],
        }
    )
    results = {
        "score": pl.Series(draw.integers(1, 6, rows).astype(float)),
        "finished_at": pl.Series(at).cast(pl.Datetime("us", "UTC")),
        "prompt_tokens": pl.Series(draw.integers(50, 500, rows)),
        "waited_s": pl.Series(draw.random(rows)),
    }
    out = finished_run(root, given, results, shards=shards)
    options = ReportOptions()
    return out, open_population(open_runs(out, options.columns()), options)


def test_a_row_takes_few_bytes(tmp_path: Path) -> None:
    of = population(tmp_path)[1]
    assert of.rows == 2999
    assert of.frame.nbytes / of.rows < 12


def test_series_are_sums_of_the_rows_that_the_page_counts(tmp_path: Path) -> None:
    out, of = population(tmp_path)
    table = scan_scores(out, join_input=True).filter(pl.col("model").is_not_null()).collect()
    at = table["finished_at"].dt.epoch("us").to_numpy() / 1e6
    width = (at.max() - at.min()) / POINTS
    step = np.minimum(((at - at.min()) / width).astype(int), POINTS - 1)
    tokens = np.bincount(step, table["prompt_tokens"] + table["completion_tokens"], minlength=POINTS)
    waited = np.bincount(step, table["waited_s"], minlength=POINTS) / np.bincount(step, minlength=POINTS)
    found = {one.name: one for one in time_series(of)}
    np.testing.assert_allclose(found["Tokens a minute"].values, tokens / width * 60, rtol=1e-5)
    np.testing.assert_allclose(found["Time a row waited for limits"].values, waited, rtol=1e-5)
    np.testing.assert_allclose(sum(found["Rows a second"].values) * width, of.rows, rtol=1e-5)


def test_parts_of_different_types_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard of small whole numbers and one of large and of broken ones."""
    rows = 40
    value = [float(n) for n in range(rows // 2)] + [0.1] * (rows // 2)
    cost = [n % 100 for n in range(rows // 2)] + [10**7] * (rows // 2)
    table = pl.DataFrame({"response": ["said"] * rows})
    results = {"score": pl.Series(value), "cost_microusd": pl.Series(cost)}
    monkeypatch.setattr("scorer.output.scan_parts.PART_ROWS", rows // 2)
    shards = open_runs(finished_run(tmp_path, table, results, shards=2))
    found = read_rows(shards, ["score", "cost_microusd"], [], None, None)
    assert found.column("score").to_list() == value
    assert found.column("cost_microusd").to_list() == cost
