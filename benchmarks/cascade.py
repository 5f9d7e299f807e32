"""The cascade's promise: judges of known risk at the bar, and splits of stored judgements of LLMBar; by hand, a minute.

    python benchmarks/cascade.py [--calibrations 1000] [--llmbar FOLDER]

Of 1,000 calibrations at delta .05 at most 67 may keep rows whose true risk exceeds alpha (99 % of Binomial(1000, .05)).
FOLDER holds llmbar_judge_outputs.parquet and llmbar_pairs.parquet: of each setting's 400 splits of the pairs into
halves, at most 5 % may agree with people on the rows that are kept in the second half by less than 1 - alpha; a split
that is refused counts as kept. The confidence is whether both orders of a pair have the same winner.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from scorer.analysis.cascade import calibrate
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


def settings_of(folder: Path) -> Iterator[tuple[str, Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    """Each judge and strategy of LLMBar: whether both orders agree, and whether their winner is people's."""
    pairs = pl.read_parquet(folder / "llmbar_pairs.parquet").select("id", label=pl.col("label").cast(pl.String))
    outputs = pl.read_parquet(folder / "llmbar_judge_outputs.parquet").join(pairs, on="id")
    for (judge, strategy), rows in sorted(outputs.group_by("judge_model", "strategy"), key=lambda one: one[0]):
        both = rows.pivot(on="swapped", index=["id", "label"], values="winner", aggregate_function="first").sort("id")
        same = (both["false"] == both["true"]).fill_null(False)
        right = same & (both["false"] == both["label"]).fill_null(False)
        yield f"{judge} {strategy}", same.cast(pl.Float64).to_numpy(), right.to_numpy()


def splits(confidence: Floats, right: np.ndarray[tuple[int], np.dtype[np.bool_]], alpha: float) -> tuple[int, int]:
    """Of 400 splits: how many agree by less than 1 - alpha on what is kept, and how many are refused."""
    rng = np.random.default_rng(0)
    below = refused = 0
    for _ in range(400):
        order = rng.permutation(len(right))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        found = calibrate(confidence[first], right[first], confidence[second], alpha=alpha, delta=DELTA)
        if found.threshold is None:
            refused += 1
            continue
        kept = confidence[second] >= found.threshold
        below += bool(right[second][kept].mean() < 1 - alpha)
    return below, refused


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
    if asked.llmbar is not None:
        for name, confidence, right in settings_of(asked.llmbar):
            told = [splits(confidence, right, alpha) for alpha in (0.1, 0.2)]
            print(f"{name:32} " + ", ".join(f"{below / 400:.3f} below, {out / 400:.3f} refused" for below, out in told))


if __name__ == "__main__":
    main()
