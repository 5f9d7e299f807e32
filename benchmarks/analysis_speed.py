"""What 1,000 bootstraps over 1,000,000 rows cost here, beside a loop over scipy; by hand, about a minute.

    python benchmarks/analysis_speed.py [--rows 1000000] [--items 200000] [--loops 5]

The loop is what people write: draw items, gather their rows by index, call scipy. It is timed over a few resamples and
multiplied. Sharing nothing between resamples is its handicap; that a few thousand bundles stand for 200,000 items is
ours (see scorer.analysis.bootstrap). Needs scipy. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import time

import numpy as np
import scipy
from scipy import stats

from scorer.analysis.bootstrap import correlations, resample

REPLICATES = 1000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--items", type=int, default=200_000)
    arguments.add_argument("--loops", type=int, default=5)
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
    print(json.dumps(result))


def _graded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values + 3), 1, 5)


if __name__ == "__main__":
    main()
