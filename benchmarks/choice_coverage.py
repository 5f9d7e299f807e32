"""How often the statements of `scorer choose` are false over simulated tables; by hand, some minutes.

    python benchmarks/choice_coverage.py [--tables 1000] [--part limits scan favour acceptable]

`limits`: by how much the best system is ahead of each, all limits of a table together, the others exactly equal or all
equally far behind. `scan`: the choice at any share of any task. `favour`: by how much a judge favours one of three
systems, from 20 labels of each. `acceptable`: the share that people would accept, from few labels. At 1,000 tables a
method that is false in 5 % is false in more than 67 once in a hundred.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import polars as pl

from scorer.analysis.best import behind_best
from scorer.analysis.bootstrap import Bootstrap, resample
from scorer.analysis.by_people import share_reaching
from scorer.analysis.choose import Wanted, choose
from scorer.analysis.prediction_powered_fit import LabelledRows
from scorer.analysis.ranks import Standing


def scores(kind: str, items: int, lags: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Items x systems with these distances of their true means from the best."""
    shape = (items, len(lags))
    if kind == "normal":
        return rng.normal(size=(items, 1)) + rng.normal(size=shape) - lags
    if kind == "skewed":
        return rng.exponential(size=(items, 1)) + rng.exponential(size=shape) - lags
    if kind == "yes or no":
        return (rng.random(shape) < 0.9 - lags).astype(float)
    if kind == "rare":
        return (rng.random(shape) < 0.97 - lags).astype(float)
    return np.where(rng.random(shape) < lags, 1.0, rng.integers(2, 6, shape) - 0.0)  # "grades": some fall to 1


def limits(tables: int) -> Iterator[str]:
    rng = np.random.default_rng(3)
    for kind in ("normal", "skewed", "yes or no", "rare", "grades"):
        for systems, items, lag in (
            (2, 40, 0.2),
            (5, 40, 0.6),
            (5, 100, 0.1),
            (20, 100, 0.6),
            (20, 100, 0.0),
            (20, 400, 0.1),
        ):
            lags = np.full(systems, lag)
            lags[0] = 0.0
            truth = scores(kind, 2_000_000 // systems, lags, rng).mean(axis=0)
            truth = np.where(lags == lags.max(), truth[lags == lags.max()].mean(), truth)
            truth[0] = max(truth) if lag == 0 else truth[0]
            behind = truth.max() - truth
            false = 0
            for seed in range(tables):
                y = scores(kind, items, lags, rng)
                influence = (y - y.mean(axis=0)) / items
                span = float(np.ptp(y)) or 1.0
                board = Standing(
                    y.mean(axis=0), influence, np.full(systems, items), np.zeros(systems, dtype=np.int64), span
                )
                at_most = np.maximum(behind_best(board, resample(np.arange(items), 1000, seed)).at_most(), 0.0)
                false += bool((at_most < behind - 1e-12).any())
            yield (
                f"limits      {kind:10} {systems:3} systems {items:4} items, {lag:.1f} behind: {false} of {tables} "
                "tables false"
            )


def scan(tables: int) -> Iterator[str]:
    rng = np.random.default_rng(4)
    tasks, items = 3, 60
    truth = np.array([[0.3, 0.0, 0.1], [0.0, 0.3, 0.1], [0.15, 0.15, 0.1]])  # tasks x systems
    for margin in (0.1, 0.15):
        false = 0
        for seed in range(tables):
            shape = (tasks, items, 3)
            y = truth[:, None, :] + rng.normal(size=(tasks, items, 1)) + 0.7 * rng.normal(size=shape)
            task, item, system = np.indices(shape)
            frame = pl.LazyFrame(
                {
                    "score": y.ravel(),
                    "task": task.ravel(),
                    "item": (task * items + item).ravel(),
                    "system": system.ravel(),
                }
            ).with_columns(cost=pl.col("system"))
            found = choose(
                frame,
                "score",
                "system",
                Wanted(margin, ("cost",)),
                task="task",
                item="item",
                bootstrap=Bootstrap(300, seed),
            )
            wrong = False
            for step in found.by_weight:
                if step.system is None:
                    continue
                for share in np.linspace(step.low + 1e-3, step.high - 1e-3, 5):
                    weights = np.full(3, (1 - share) / 2)
                    weights[int(step.task)] = share
                    means = weights @ truth
                    wrong |= bool(means.max() - means[int(step.system)] >= margin)
            false += wrong
        yield f"scan        3 tasks x 60 items, 3 systems, margin {margin}: {false} of {tables} tables false"


def favour(tables: int) -> Iterator[str]:
    rng = np.random.default_rng(5)
    flattery = np.array([0.0, 0.3, 0.0])
    false = 0
    for seed in range(tables):
        quality = rng.normal(size=(160, 1)) + rng.normal(size=(160, 3))
        human = np.clip(np.round(3 + quality + 0.6 * rng.normal(size=quality.shape)), 1, 5)
        score = 3 + quality + 0.4 * rng.normal(size=quality.shape) + flattery
        labelled = np.zeros(quality.size, dtype=bool)
        labelled[rng.permutation(quality.size)[:60]] = True
        item, system = np.indices(quality.shape)
        frame = pl.LazyFrame(
            {
                "score": np.clip(score, -3, 9).ravel(), "item": item.ravel(), "system": system.ravel(),
                "human": np.where(labelled, human.ravel(), np.nan),
            }
        )  # fmt: skip
        found = choose(
            frame, "score", "system", Wanted(0.5, human="human"), item="item", bootstrap=Bootstrap(500, seed)
        )
        wrong = False
        for one in found.tipping:
            a, b = int(one.system), int(one.against)
            a, b = (b, a) if one.kind == "passed over" else (a, b)
            if one.labels is not None and one.labels.interval is not None:
                low, high = one.labels.interval
                wrong |= not low <= flattery[a] - flattery[b] <= high  # rounding shifts all systems alike
        false += wrong
    yield f"favour      3 systems, 60 labels of 480 rows: {false} of {tables} tables false"


def acceptable(tables: int) -> Iterator[str]:
    rng = np.random.default_rng(6)
    for share, agrees in ((0.9, 0.95), (0.5, 0.8), (0.97, 0.99), (0.2, 0.6)):
        for labels in (10, 20, 60):
            false, width = 0, 0.0
            for _ in range(tables):
                people = rng.random(700) < share
                judge = np.where(rng.random(700) < agrees, people, ~people)
                labelled = rng.permutation(700) < labels
                rows = LabelledRows(judge.astype(float), np.where(labelled, people, np.nan), np.arange(700), 700)
                found = share_reaching(rows, 1.0, same_scale=True)
                assert found is not None
                false += not found[1] <= share <= found[2]
                width += found[2] - found[1]
            yield (
                f"acceptable  share {share:.2f}, the judge right in {agrees:.2f}, {labels:2} labels: {false} of "
                f"{tables} false, width {width / tables:.3f}"
            )


PARTS = {"limits": limits, "scan": scan, "favour": favour, "acceptable": acceptable}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tables", type=int, default=1000)
    arguments.add_argument("--part", nargs="*", default=list(PARTS), choices=PARTS)
    options = arguments.parse_args()
    for part in options.part:
        for line in PARTS[part](options.tables):
            print(line, flush=True)


if __name__ == "__main__":
    main()
