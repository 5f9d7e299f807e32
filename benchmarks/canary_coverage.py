"""How often canaries raise a false alarm, and after how many of them a drift is found; by hand, a minute.

    .venv/bin/python benchmarks/canary_coverage.py [--runs 1000]

The first table has runs whose loss is at the edge of the band all the time: an exact rule has more than 18 alarms of
1,000 with a probability of 1 %. The second has drifts in the middle of a run: canaries until the alarm, the median and
the 95 % quantile, over binary losses. `missed` are runs that ended before the alarm.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from scorer.analysis.sequential.drift import LEVEL, delays, stakes_of

Floats = np.ndarray
Draw = Callable[[np.random.Generator, int, int, float], Floats]


def binary(rng: np.random.Generator, runs: int, n: int, band: float) -> Floats:
    return (rng.random((runs, n)) < band).astype(float)


def beta(rng: np.random.Generator, runs: int, n: int, band: float) -> Floats:
    return rng.beta(0.5, 0.5 * (1 - band) / band, (runs, n))


def grid(rng: np.random.Generator, runs: int, n: int, band: float) -> Floats:
    """Distances on a scale of 1 to 5."""
    return rng.binomial(4, band, (runs, n)) / 4


def in_turns(rng: np.random.Generator, runs: int, n: int, band: float) -> Floats:
    """Hard and easy stretches of 50: the mean is the band's edge over the run, and not at each time."""
    return (rng.random((runs, n)) < np.where(np.arange(n) // 50 % 2, 1.5 * band, 0.5 * band)).astype(float)


def constant(rng: np.random.Generator, runs: int, n: int, band: float) -> Floats:
    return np.full((runs, n), band)


def alarms(losses: Floats, band: float) -> int:
    runs, n = losses.shape
    stakes, sums, alarmed = (
        np.array(stakes_of(band)),
        np.zeros((runs, len(stakes_of(band)))),
        np.zeros(runs, dtype=bool),
    )
    for number in range(1, n + 1):
        sums = (sums + 1.0) * (1.0 + stakes * (losses[:, number - 1 : number] - band))
        alarmed |= sums.mean(axis=1) / n + (n - number) / n >= 1.0 / LEVEL
    return int(alarmed.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    print(f"false alarms of {runs:,} quiet runs at the band's edge")
    draws: dict[str, Draw] = {"binary": binary, "beta": beta, "grid": grid, "constant": constant}
    for band in (0.05, 0.15, 0.3):
        for n in (100, 1000, 5000):
            rng = np.random.default_rng(int(1000 * band) + n)
            alarms_by_design = ", ".join(
                f"{name} {alarms(draw(rng, runs, n, band), band)}" for name, draw in draws.items()
            )
            print(f"  band {band:4} n {n:5}: {alarms_by_design}", flush=True)
    in_stretches = alarms(in_turns(np.random.default_rng(5), runs, 1000, 0.15), 0.15)
    print(f"  stretches of 50 above and below the band, which is outside the promise: {in_stretches}")
    print("canaries from a drift to the alarm: median, 95 %, missed")
    for band, before, after in ((0.15, 0.10, 0.35), (0.15, 0.10, 0.25), (0.15, 0.15, 0.35), (0.05, 0.02, 0.15)):
        for n in (200, 1000, 5000):
            found = delays(band, n, before, after, runs=runs)
            print(
                f"  band {band:4} n {n:5} loss {before} to {after}: {np.median(found):6.0f} "
                f"{np.quantile(found, 0.95, method='higher'):6.0f}  {int(np.isinf(found).sum())} of {len(found)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
