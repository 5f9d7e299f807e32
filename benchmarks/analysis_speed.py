"""Time of 1,000 bootstraps over 1,000,000 rows beside a loop over scipy, and of a table of 10,000 files.

    python benchmarks/analysis_speed.py [--rows 1000000] [--items 200000] [--loops 5] [--files 10000]

The loop is what people write: draw items, gather their rows by index, call scipy. It is timed over a few resamples and
multiplied. Sharing nothing between resamples is its handicap; that a few thousand bundles stand for 200,000 items is
ours (see scorer.analysis.bootstrap). Needs scipy.

The files are sealed shards of 20 rows with 20 rows of input each: what `scan_scores` takes until the mean of all scores
is there, alone and with the input joined. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import scipy
from scipy import stats

from scorer import scan_scores
from scorer.analysis.bootstrap import resample
from scorer.analysis.resampled_correlation import correlations
from scorer.files.local_files import LocalFiles
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest, save
from scorer.output.schema import (
    result_schema,
)
from scorer.types import (
    Shard,
)

REPLICATES = 1000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--items", type=int, default=200_000)
    arguments.add_argument("--loops", type=int, default=5)
    arguments.add_argument("--files", type=int, default=10_000)
    options = arguments.parse_args()
    rng = np.random.default_rng(1)
    item = np.arange(options.rows) % options.items
    human = rng.normal(size=options.rows)
    score = human + rng.normal(size=options.rows)
    result: dict[str, object] = {"rows": options.rows, "items": options.items, "replicates": REPLICATES}
    result |= {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
    for name, x, y in (("continuous", score, human), ("5 grades", *(_graded(v) for v in (score, human)))):
        start = time.perf_counter()
        drawn = resample(item, REPLICATES, 0)
        of_all = correlations(x, y, drawn)
        ours_s = time.perf_counter() - start
        loop_s = dict.fromkeys(("pearson", "spearman", "kendall"), 0.0)
        order = np.argsort(item, kind="stable").reshape(options.items, -1)
        for _ in range(options.loops):
            start = time.perf_counter()
            rows = order[rng.integers(0, options.items, options.items)].ravel()
            a, b = x[rows], y[rows]
            gather_s = time.perf_counter() - start
            for statistic, function in (
                ("pearson", stats.pearsonr),
                ("spearman", stats.spearmanr),
                ("kendall", stats.kendalltau),
            ):
                start = time.perf_counter()
                function(a, b)
                loop_s[statistic] += time.perf_counter() - start + gather_s / 3
        scipy_s = {key: seconds / options.loops * REPLICATES for key, seconds in loop_s.items()}
        intervals = {key: drawn.interval(values) for key, values in of_all.items()}
        all_s = sum(scipy_s.values())
        ratio = all_s / ours_s
        print(f"{name}: ours {ours_s:.2f} s for four statistics, scipy {all_s:.0f} s for three: {ratio:.0f}x")
        result[name] = {"ours_s": ours_s, "scipy_s": scipy_s, "ratio": ratio, "intervals": intervals}
    if options.files:
        result["scan_scores"] = _scanned(options.files)
    print(json.dumps(result))


def _scanned(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        out = Layout(f"{folder}/out")
        Path(folder, "in").mkdir()
        Path(out.scores).mkdir(parents=True)
        given = pa.table({"response": ["said"] * 20, "human": [3.0] * 20})
        schema = pa.schema([field.with_nullable(True) for field in result_schema()])
        shards = []
        for number in range(count):
            shard = Shard(f"{folder}/in/s{number:05d}.parquet", f"s{number:05d}", 0, "", 20, "")
            pq.write_table(given, shard.path)
            columns = {field.name: pa.nulls(20, field.type) for field in schema}
            columns |= {"shard": pa.array([shard.path] * 20), "row": pa.array(range(20), pa.int64())}
            columns |= {"score": pa.array([3.0] * 20), "generation": pa.array([0] * 20, pa.int32())}
            pq.write_table(pa.table(columns, schema), out.sealed(shard.stem))
            shards.append(shard)
        save(LocalFiles(), out, Manifest("f", {}, {}, "2026-01-01T00:00:00+00:00", tuple(shards)))
        taken_s = {}
        for name, joined in (("scores_s", False), ("with_input_s", True)):
            start = time.perf_counter()
            frame = scan_scores(out.out, join_input=joined)
            found = frame.select(pl.len(), pl.mean("human" if joined else "score")).collect()
            taken_s[name] = time.perf_counter() - start
            assert found.row(0) == (20 * count, 3.0)
        print(f"{count} files: {taken_s['scores_s']:.2f} s, with their input {taken_s['with_input_s']:.2f} s")
        return taken_s


def _graded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values + 3), 1, 5)


if __name__ == "__main__":
    main()
