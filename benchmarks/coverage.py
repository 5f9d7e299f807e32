"""Coverage of the 95 % intervals of the analysis over simulated tables; by hand, some minutes a design.

    python benchmarks/coverage.py [--tables 2000] [--design NAME ...]
    python benchmarks/coverage.py --boards 200

The second form counts boards of 20 equal systems whose ranks are false, and says whether one system half a deviation
ahead of 57 is alone on rank 1; a twentieth of boards may be false, and 25 of 200 is 4 standard errors above that.

The truth of a design is what the same command says of one table of very many items. Systems are the same in every
table. Prints one line for each design and statistic: the truth, the share of intervals that hold it, and their mean
width; at 2,000 tables a share is within .01 of its own (95 %).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl

from scorer.analysis.agree import agree
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.bradley_terry import bradley_terry
from scorer.analysis.compare import compare
from scorer.analysis.leaderboard import leaderboard
from scorer.analysis.prediction_powered import estimate
from scorer.analysis.win_rate import win_rate

REPLICATES = 1000

Statement = tuple[str, float | None, tuple[float, float] | None]
"""What a statistic is called, its value, its interval."""


def _ends(row: Mapping[str, Any]) -> tuple[float, float] | None:
    return None if row["low"] is None else (row["low"], row["high"])


class Design(Protocol):
    items: int
    many: int

    def table(self, items: int, rng: np.random.Generator) -> pl.LazyFrame: ...

    def statements(self, frame: pl.LazyFrame, replicates: int, seed: int) -> Iterator[Statement]: ...


def _frame(shape: tuple[int, ...], **columns: object) -> pl.LazyFrame:
    """Columns of one shape, laid out; the first index is the item."""
    item = np.indices(shape)[0]
    return pl.LazyFrame({"item": item.ravel(), **{k: np.broadcast_to(v, shape).ravel() for k, v in columns.items()}})


def _graded(values: np.ndarray, steps: int) -> np.ndarray:
    return np.clip(np.round(values + (steps + 1) / 2), 1, steps) if steps else values


@dataclass(frozen=True, slots=True)
class Agree:
    """`steps` > 0 rounds both sides to that many grades, 0 leaves them continuous; `skew` bends the score."""

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
        human, score = _graded(human, self.steps), _graded(score, self.steps)
        return _frame(shape, system=np.arange(self.systems), score=score, human=human)

    def statements(self, frame: pl.LazyFrame, replicates: int, seed: int) -> Iterator[Statement]:
        system = "system" if self.systems > 1 else None
        found = agree(frame, ["score"], ["human"], item="item", system=system, bootstrap=Bootstrap(replicates, seed))
        for row in found.frame.iter_rows(named=True):
            interval = _ends(row)
            yield f"{row['level']} {row['statistic']}", row["value"], interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A corpus of `items` x 2 systems, of which `labels` items have a human value; `binary`: people say yes or no."""

    items: int
    labels: int
    binary: bool = False
    clustered: bool = True
    many: int = 200_000

    def table(self, items: int, rng: np.random.Generator) -> pl.LazyFrame:
        shape = (items, 2)
        quality = 0.8 * rng.normal(size=(items, 1)) + rng.normal(size=shape) + np.array([0.0, 0.3])
        human = quality + 0.5 * rng.normal(size=shape)
        score = np.exp(0.5 * quality) + 0.3 * rng.normal(size=shape)  # skewed, and on a scale of its own
        if self.binary:
            human = (human > 0.8).astype(float)
        labelled = np.zeros(shape, dtype=bool)
        labels = items if items == self.many else self.labels
        if self.clustered:
            labelled[rng.permutation(items)[:labels]] = True
        else:
            labelled.ravel()[rng.permutation(items * 2)[: labels * 2]] = True
        return _frame(shape, system=np.array(["a", "b"]), score=score, human=np.where(labelled, human, np.nan))

    def statements(self, frame: pl.LazyFrame, replicates: int, seed: int) -> Iterator[Statement]:
        found = estimate(frame, "score", "human", system="system", item="item")
        for name, one in (("all", found.overall), *found.systems.items()):
            yield f"{name} mean", one.mean.value, one.mean.interval
            yield f"{name} labels only", one.labels_only.value, one.labels_only.interval
        for difference in found.differences:
            yield f"{difference.a} less {difference.b}", difference.difference, difference.interval


@dataclass(frozen=True, slots=True)
class Unread:
    """A corpus of graded rows of which `labels` have a human value; a share is unread, all of them bad answers.

    The truth is that of many rows, so an interval also has to allow for which rows the corpus has.
    """

    items: int
    labels: int
    unread: float = 0.05
    many: int = 1_000_000

    def table(self, items: int, rng: np.random.Generator) -> pl.LazyFrame:
        human = _graded(0.4 + 1.2 * rng.normal(size=items), 5)
        score = _graded(human - 3 + 0.7 * rng.normal(size=items), 5)
        score[rng.choice(np.flatnonzero(human <= 2), int(self.unread * items), replace=False)] = np.nan
        labelled = rng.permutation(items) < (items if items == self.many else self.labels)
        return _frame((items,), score=score, human=np.where(labelled, human, np.nan))

    def statements(self, frame: pl.LazyFrame, replicates: int, seed: int) -> Iterator[Statement]:
        found = estimate(frame, "score", "human").overall
        yield "mean", found.mean.value, found.mean.interval


@dataclass(frozen=True, slots=True)
class Board:
    """Systems by task; `lost` is the share of rows without a score."""

    items: int
    lost: float = 0.05
    many: int = 100_000

    def table(self, items: int, rng: np.random.Generator) -> pl.LazyFrame:
        shape = (items, 3)
        task = np.arange(items)[:, None] % 2
        score = np.linspace(-0.5, 0.5, 3) * (1 + task) + rng.normal(size=(items, 1)) + rng.normal(size=shape)
        score = np.where(rng.random(shape) < self.lost, np.nan, _graded(score, 5))
        return _frame(shape, task=task, system=np.array(["a", "b", "c"]), score=score)

    def statements(self, frame: pl.LazyFrame, replicates: int, seed: int) -> Iterator[Statement]:
        found = leaderboard(frame, "score", "system", task="task", item="item", bootstrap=Bootstrap(replicates, seed))
        assert found.tasks is not None
        for row in found.systems.iter_rows(named=True):
            yield f"{row['system']} mean of tasks", row["mean"], _ends(row)
        for row in found.tasks.iter_rows(named=True):
            yield f"{row['system']} task {row['task']}", row["mean"], _ends(row)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Verdicts of every pair of four systems on each item, a tie in a fifth of them."""

    items: int
    many: int = 100_000

    def table(self, items: int, rng: np.random.Generator) -> pl.LazyFrame:
        a, b = np.triu_indices(4, 1)
        strength = np.array([-0.8, -0.2, 0.2, 0.8])
        wins = rng.random((items, len(a))) < 1 / (1 + np.exp(strength[b] - strength[a]))
        preference = np.where(rng.random(wins.shape) < 0.2, 0.5, wins)
        names = np.array(["a", "b", "c", "d"])
        return _frame(wins.shape, left=names[a], right=names[b], preference=preference)

    def statements(self, frame: pl.LazyFrame, replicates: int, seed: int) -> Iterator[Statement]:
        found = bradley_terry(frame, "left", "right", "preference", item="item", bootstrap=Bootstrap(replicates, seed))
        for row in found.iter_rows(named=True):
            yield f"strength {row['system']}", row["strength"], _ends(row)


@dataclass(frozen=True, slots=True)
class Compare:
    """Three variants of a training, the format learned first; `paired` over items."""

    items: int
    many: int = 100_000

    def table(self, items: int, rng: np.random.Generator) -> pl.LazyFrame:
        shape = (items, 3)
        formed = rng.random(shape) < np.array([0.6, 0.85, 0.95])
        score = _graded(np.array([-0.5, 0.0, 0.5]) + rng.normal(size=(items, 1)) + rng.normal(size=shape), 5)
        return _frame(shape, step=np.array([10, 100, 1000]), formed=formed, score=np.where(formed, score, 1.0))

    def statements(self, frame: pl.LazyFrame, replicates: int, seed: int) -> Iterator[Statement]:
        found = compare(
            frame, "score", "step", item="item", well_formed="formed", bootstrap=Bootstrap(replicates, seed)
        )  # fmt: skip
        for row in (*found.levels.to_dicts(), *found.differences.to_dicts()):
            against = f" less {row['against']}" if "against" in row else ""
            yield f"{row['variant']}{against} {row['measure']}", row["value"], _ends(row)


@dataclass(frozen=True, slots=True)
class WinRate:
    """Verdicts against a baseline by a judge that likes length."""

    items: int
    many: int = 200_000

    def table(self, items: int, rng: np.random.Generator) -> pl.LazyFrame:
        base = rng.integers(20, 60, items)
        size = np.maximum(base + rng.normal(15, 20, items).astype(int), 1)
        p = 1 / (1 + np.exp(-0.3 - 1.2 * np.tanh((size - base) / 20)))
        texts = np.array(["x" * length for length in range(200)])
        return pl.LazyFrame(
            {"preference": (rng.random(items) < p).astype(float), "text": texts[size], "base": texts[base]}
        )

    def statements(self, frame: pl.LazyFrame, replicates: int, seed: int) -> Iterator[Statement]:
        found = win_rate(frame, "preference", "text", "base", bootstrap=Bootstrap(replicates, seed))
        yield "raw", found.raw, found.raw_interval
        yield "at equal length", found.equal_length, found.equal_length_interval


DESIGNS: dict[str, Design] = {
    "agree, 40 items x 6, 5 grades": Agree(40, 6, 5),
    "agree, 150 items x 4, 5 grades": Agree(150, 4, 5),
    "agree, 150 items x 4, continuous": Agree(150, 4, 0),
    "agree, 400 items x 6, 5 grades (projected)": Agree(400, 6, 5),
    "agree, 1500 single rows, continuous (projected)": Agree(1500, 1, 0, many=500_000),
    "agree, 300 single rows, skewed": Agree(300, 1, 0, skew=True, many=500_000),
    "estimate, 500 items, 100 labelled": Estimate(500, 100),
    "estimate, 500 items, 25 labelled": Estimate(500, 25),
    "estimate, 500 items, 100 labelled, yes or no": Estimate(500, 100, binary=True),
    "estimate, 500 items, rows labelled one by one": Estimate(500, 60, clustered=False),
    "estimate, 2000 rows, 200 labelled, 5 % unread": Unread(2000, 200),
    "estimate, 2000 rows, 60 labelled, 5 % unread": Unread(2000, 60),
    "leaderboard, 200 items": Board(200),
    "leaderboard, 24 items": Board(24),
    "leaderboard, pairs of 100 items": Pairs(100),
    "compare, 200 items": Compare(200),
    "compare, 40 items": Compare(40),
    "bias, win rate of 400": WinRate(400),
}


def false_boards(boards: int) -> None:
    """Prints how many boards of equal systems have a false rank, and where a system that is ahead stands."""
    rng = np.random.default_rng(7)
    for items in (40, 100):
        for kind in ("normal", "5 grades", "yes or no", "5 % lost"):
            false = 0
            for seed in range(boards):
                score = rng.normal(size=(items, 1)) + rng.normal(size=(items, 20))
                if kind == "5 grades":
                    score = _graded(score, 5)
                elif kind == "yes or no":
                    score = (score > 0.8).astype(float)
                elif kind == "5 % lost":
                    score = np.where(rng.random(score.shape) < 0.05, np.nan, score)
                frame = _frame(score.shape, system=np.arange(20), score=score)
                table = leaderboard(
                    frame, "score", "system", item="item", bootstrap=Bootstrap(REPLICATES, seed)
                ).systems
                false += table.select("rank", "rank_last").unique().rows() != [(1, 20)]
            print(f"20 equal systems, {items} items, {kind:10}: {false} of {boards} boards false", flush=True)
    alone = 0
    for seed in range(boards // 10):
        score = rng.normal(size=(400, 1)) + rng.normal(size=(400, 58))
        score[:, 0] += 0.5
        frame = _frame(score.shape, system=np.arange(58), score=score)
        table = leaderboard(frame, "score", "system", item="item", bootstrap=Bootstrap(REPLICATES, seed)).systems
        alone += table.filter(rank_last=1)["system"].to_list() == ["0"] and table["rank"].to_list().count(1) == 1
    print(f"one of 58 systems half a deviation ahead, 400 items: alone on rank 1 in {alone} of {boards // 10}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tables", type=int, default=2000)
    arguments.add_argument("--design", nargs="*", default=list(DESIGNS), choices=DESIGNS)
    arguments.add_argument("--boards", type=int, default=0)
    options = arguments.parse_args()
    if options.boards:
        false_boards(options.boards)
        return
    for name in options.design:
        design = DESIGNS[name]
        rng = np.random.default_rng(7)
        truth = {what: value for what, value, _ in design.statements(design.table(design.many, rng), 0, 0)}
        widths, held, given = defaultdict(list), defaultdict(list), defaultdict(int)
        for seed in range(options.tables):
            for what, value, interval in design.statements(design.table(design.items, rng), REPLICATES, seed):
                given[what] += value is not None
                true = truth[what]
                if interval is not None and true is not None:
                    held[what].append(interval[0] <= true <= interval[1])
                    widths[what].append(interval[1] - interval[0])
        for what, hits in held.items():
            print(
                f"{name:48}{what:40}truth {truth[what]:6.3f}  held {np.mean(hits):6.3f}"
                f"  width {np.mean(widths[what]):.3f}  intervals {len(hits)} of {given[what]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
