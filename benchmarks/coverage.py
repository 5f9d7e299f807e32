"""How often the 95 % intervals of `agree` hold the truth, over simulated tables; by hand, some minutes a design.

    python benchmarks/coverage.py [--tables 2000] [--design NAME ...]

The truth of a design is the statistic of one table of very many items. Systems are the same in every table. Prints one
line for each design, level and statistic: the truth, the share of intervals that hold it, and their mean width.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import polars as pl

from scorer.analysis.agree import agree


@dataclass(frozen=True, slots=True)
class Design:
    """A table: `steps` > 0 rounds both sides to that many grades, 0 leaves them continuous; `skew` bends the score."""

    items: int
    systems: int
    steps: int
    skew: bool = False
    many: int = 100_000

    def table(self, items: int, rng: np.random.Generator) -> pl.LazyFrame:
        shape = (items, self.systems)
        strength = np.linspace(-1.0, 1.0, self.systems)
        bias = 0.6 * np.cos(2.0 * np.arange(self.systems))  # the judge's own taste, so that systems agree below 1
        quality = 0.7 * rng.normal(size=(items, 1)) + strength + rng.normal(size=shape)
        human = quality + 0.7 * rng.normal(size=shape)
        score = 0.8 * quality + 0.4 * rng.normal(size=(items, 1)) + 0.6 * rng.normal(size=shape) + bias
        if self.skew:
            score = np.exp(score / 2)
        if self.steps:
            human, score = (np.clip(np.round(v + (self.steps + 1) / 2), 1, self.steps) for v in (human, score))
        item, system = np.indices(shape)
        columns = {"item": item, "system": system, "score": score, "human": human}
        return pl.LazyFrame({name: values.ravel() for name, values in columns.items()})


DESIGNS = {
    "40 items x 6, 5 grades": Design(40, 6, 5),
    "150 items x 4, 5 grades": Design(150, 4, 5),
    "150 items x 4, continuous": Design(150, 4, 0),
    "400 items x 6, 5 grades (projected)": Design(400, 6, 5),
    "1500 single rows, continuous (projected)": Design(1500, 1, 0, many=500_000),
    "300 single rows, skewed": Design(300, 1, 0, skew=True, many=500_000),
}


def levels(frame: pl.LazyFrame, design: Design, replicates: int, seed: int) -> pl.DataFrame:
    system = "system" if design.systems > 1 else None
    found = agree(frame, ["score"], ["human"], item="item", system=system, replicates=replicates, seed=seed)
    return found.table().filter(pl.col("value").is_not_null())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tables", type=int, default=2000)
    arguments.add_argument("--design", nargs="*", default=list(DESIGNS), choices=DESIGNS)
    options = arguments.parse_args()
    for name in options.design:
        design = DESIGNS[name]
        rng = np.random.default_rng(7)
        large = levels(design.table(design.many, rng), design, 0, 0)
        truth = {(row["level"], row["statistic"]): row["value"] for row in large.iter_rows(named=True)}
        widths, held = defaultdict(list), defaultdict(list)
        for seed in range(options.tables):
            for row in levels(design.table(design.items, rng), design, 1000, seed).iter_rows(named=True):
                if row["low"] is not None and (key := (row["level"], row["statistic"])) in truth:
                    held[key].append(row["low"] <= truth[key] <= row["high"])
                    widths[key].append(row["high"] - row["low"])
        for key, hits in held.items():
            level, statistic = key
            print(
                f"{name:42}{level:9}{statistic:30}truth {truth[key]:6.3f}  held {np.mean(hits):6.3f}"
                f"  width {np.mean(widths[key]):.3f}  tables {len(hits)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
