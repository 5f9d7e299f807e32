"""The cascade's promise: judges of known risk at the bar, and splits of stored judgements of LLMBar; by hand, a minute.

    python benchmarks/cascade.py [--calibrations 1000] [--llmbar FOLDER]

Of 1,000 calibrations at delta .05 at most 67 may keep rows whose true risk exceeds alpha (99 % of Binomial(1000, .05)).
FOLDER holds llmbar_judge_outputs.parquet and llmbar_pairs.parquet. Of all splits of a setting's pairs into a labelled
half and the rest at most 5 % may break the promise; a split that is refused counts as kept. It is broken where the kept
pairs of the rest agree with people by less than 1 - alpha (`rest`), which is what the population `these` promises, or
where all kept pairs do (`all`), what `future` promises. The confidence is whether both orders have the same winner.
Small tables with a fixed number of errors are split 2,000 times.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from math import comb
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import polars as pl

from scorer.analysis.cascade import Bools, Population, calibrate
from scorer.analysis.correlation import Floats

DELTA = 0.05

RISKS: dict[str, Callable[[Floats, float], Floats]] = {
    "at the bar": lambda c, alpha: np.full_like(c, alpha + 1e-6),
    "crossing the bar": lambda c, alpha: np.clip(2.4 * alpha * (1 - c), 0, 1),
    "just above at the top": lambda c, alpha: np.where(c > 0.7, alpha * 1.02, alpha * 0.5),
    "confident and wrong": lambda c, alpha: np.where(c > 0.9, 2 * alpha, alpha * 0.8),
    "few levels": lambda c, alpha: np.clip(alpha * 1.8 * (1 - np.round(3 * c) / 3), 0, 1),
}
"""The risk of a row by its confidence, uniform in [0, 1], and alpha."""

SMALL_RISKS: dict[str, Callable[[Floats, float], Floats]] = {
    "below the bar": lambda c, alpha: np.full_like(c, 0.8 * alpha),
    "rising past the bar": lambda c, alpha: 1.8 * alpha * (1 - c),
    "at the bar at the end": lambda c, alpha: 1.6 * alpha * (1 - c),
    "good, then near the bar": lambda c, alpha: np.where(c > 0.6, 0.7 * alpha, 0.95 * alpha),
    "confident and wrong": lambda c, alpha: np.where(c > 0.8, 1.1 * alpha, 0.7 * alpha),
}
"""Risks of small tables whose rest may easily be worse than the bar where its labels are better."""


def violations(risk: str, labels: int, alpha: float, calibrations: int) -> tuple[int, float]:
    """How many calibrations keep too much, by the true risk of what is kept; and the mean share that is kept."""
    rng = np.random.default_rng(labels)
    of = RISKS[risk]
    grid = np.linspace(0, 1, 20_001)
    levels = np.round(3 * grid) / 3 if risk == "few levels" else grid
    true = of(grid, alpha)
    too_much, share = 0, 0.0
    for _ in range(calibrations):
        c = rng.random(labels)
        right = rng.random(labels) >= of(c, alpha)
        shown = np.round(3 * c) / 3 if risk == "few levels" else c
        found = calibrate(shown, right, levels[::20], alpha=alpha, delta=DELTA)
        if found.threshold is not None:
            too_much += bool(true[levels >= found.threshold].mean() > alpha)
            share += found.share
    return too_much, share / calibrations


def settings_of(folder: Path) -> Iterator[tuple[str, Floats, Bools]]:
    """Each judge and strategy of LLMBar: whether both orders agree, and whether their winner is people's."""
    pairs = pl.read_parquet(folder / "llmbar_pairs.parquet").select("id", label=pl.col("label").cast(pl.String))
    outputs = pl.read_parquet(folder / "llmbar_judge_outputs.parquet").join(pairs, on="id")
    for (judge, strategy), rows in sorted(outputs.group_by("judge_model", "strategy"), key=lambda one: one[0]):
        both = rows.pivot(on="swapped", index=["id", "label"], values="winner", aggregate_function="first").sort("id")
        same = (both["false"] == both["true"]).fill_null(False)
        right = same & (both["false"] == both["label"]).fill_null(False)
        yield f"{judge} {strategy}", same.cast(pl.Float64).to_numpy(), right.to_numpy()


class Broken(NamedTuple):
    """Shares of splits: agreement of what is kept below 1 - alpha, in the rest and in all rows; and refused ones."""

    rest: float
    all: float
    refused: float

    def __str__(self) -> str:
        return f"{self.rest:.3f} {self.all:.3f} {self.refused:.3f}"


def splits(
    confidence: Floats, right: Bools, alpha: float, *, labels: int, population: Population, repeats: int
) -> Broken:
    """Shares of so many random splits."""
    rng = np.random.default_rng(0)
    below = {"rest": 0, "all": 0}
    refused = 0
    for _ in range(repeats):
        order = rng.permutation(len(right))
        first, rest = order[:labels], order[labels:]
        found = calibrate(
            confidence[first], right[first], confidence[rest], alpha=alpha, delta=DELTA, population=population
        )
        if found.threshold is None:
            refused += 1
            continue
        for name, rows in (("rest", rest), ("all", order)):
            kept = rows[confidence[rows] >= found.threshold]
            below[name] += int((~right[kept]).sum()) > alpha * len(kept) + 1e-9
    return Broken(below["rest"] / repeats, below["all"] / repeats, refused / repeats)


def all_splits(confidence: Floats, right: Bools, alpha: float, *, labels: int, population: Population) -> Broken:
    """Shares of all splits, exactly.

    For confidences of 1 and 0, of which those of 0 are wrong: a split is then three numbers of labels, whose
    probability is multivariate hypergeometric. Splits of less than 1e-7 together are left out.
    """
    sure, of = confidence >= 1, len(right)
    good, bad = int((sure & right).sum()), int((sure & ~right).sum())
    unsure = of - good - bad
    rest_below = all_below = refused = 0.0
    for c in range(max(0, labels - good - bad), min(unsure, labels) + 1):
        for b in range(max(0, labels - c - good), min(bad, labels - c) + 1):
            a = labels - b - c
            share = comb(good, a) * comb(bad, b) * comb(unsure, c) / comb(of, labels)
            if share < 1e-7:
                continue
            found = calibrate(
                np.repeat([1.0, 1.0, 0.0], [a, b, c]),
                np.repeat([True, False, False], [a, b, c]),
                np.repeat([1.0, 0.0], [good + bad - a - b, unsure - c]),
                alpha=alpha,
                delta=DELTA,
                population=population,
            )
            if found.threshold is None:
                refused += share
                continue
            loose = found.threshold < 1
            rest_wrong, rest_kept = bad - b + loose * (unsure - c), good + bad - a - b + loose * (unsure - c)
            rest_below += share * (rest_wrong > alpha * rest_kept + 1e-9)
            all_below += share * (bad + loose * unsure > alpha * (good + bad + loose * unsure) + 1e-9)
    return Broken(rest_below, all_below, refused)


def small_table(risk: str, rows: int, alpha: float) -> tuple[Floats, Bools]:
    """A table whose number of errors among its most confident rows is fixed for each number of them, by the risk."""
    confidence = 1 - (np.arange(rows) + 0.5) / rows
    due = np.floor(np.cumsum(SMALL_RISKS[risk](confidence, alpha)) + 0.5)
    return confidence, np.diff(due, prepend=0) == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calibrations", type=int, default=1000)
    parser.add_argument("--llmbar", type=Path)
    asked = parser.parse_args()
    for risk in RISKS:
        for labels in (60, 250):
            for alpha in (0.1, 0.2):
                too_much, share = violations(risk, labels, alpha, asked.calibrations)
                print(
                    f"{risk:24} {labels:4} labels, alpha {alpha}: {too_much:3} of {asked.calibrations}, "
                    f"keeps {share:.3f}"
                )
    print("splits: rest below, all below, refused; for the population future, then these")
    for rows, labels in ((420, 210), (300, 100), (150, 60)):
        for risk in SMALL_RISKS:
            table = small_table(risk, rows, 0.2)
            shares = ", ".join(
                str(splits(*table, 0.2, labels=labels, population=population, repeats=2000))
                for population in get_args(Population)
            )
            print(f"{rows} rows, {labels} labels, {risk:24} {shares}")
    if asked.llmbar is not None:
        for name, confidence, right in settings_of(asked.llmbar):
            for alpha in (0.1, 0.2):
                shares = ", ".join(
                    str(all_splits(confidence, right, alpha, labels=len(right) // 2, population=population))
                    for population in get_args(Population)
                )
                print(f"{name:32} alpha {alpha}: {shares}")


if __name__ == "__main__":
    main()
