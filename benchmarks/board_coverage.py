"""How often leaderboard, choose, gate and samples say something false over tables drawn from matrices of judgements.

    python benchmarks/board_coverage.py [--tables 300] [--part boards samples] [--only KIND ...]

A matrix of 3,000 items stands for all that will ever be asked, so what is true is known: its own means. A table is a
random sample of its items. Kinds: yes or no; rare failures; grades from 1 to 10; heavy ties (nine of ten are 5);
several rows an item; systems that are exactly equal in pairs. 2 to 200 systems, of which each costs less than all that
are better, so that a choice is tempted to err. Counted are tables with

- a lead called sure of a system that is not ahead (`leaderboard`; at most 5 % of tables),
- a choice that is behind the best by the margin or more, which is the gap of some system exactly (`choose`; 5 %),
- "not worse" and "worse" at a margin that is the true difference exactly (`gate`; 2.5 % each),
- an upper bound below the true gain of twice as many samples (`samples`; 5 % for each n).

False beyond 7.1 % of 300 tables (5 %) or 4.7 % (2.5 %) has a chance of one in a hundred where the method is exact.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.choose import Wanted, choose
from scorer.analysis.correlation import Floats
from scorer.analysis.gate import gate
from scorer.analysis.leaderboard import leaderboard
from scorer.analysis.sample_worth import sample_worth
from scorer.analysis.sampled_agreement import PEARSON
from scorer.analysis.sampled_scores import SampledScores

ITEMS = 3000
SIZES = ((2, 60), (5, 60), (20, 100), (60, 100), (200, 60))
"""Systems, and items of a table."""
KINDS = ("yes or no", "rare", "1 to 10", "ties", "rows an item", "equal pairs")


def matrix(kind: str, systems: int, rng: np.random.Generator) -> Floats:
    """Items x systems x rows of judgements, whose systems are of rising quality."""
    quality = np.linspace(-0.5, 0.5, systems)
    if kind == "equal pairs":
        quality = np.repeat(np.linspace(-0.5, 0.5, (systems + 1) // 2), 2)[:systems]
    latent = quality + rng.normal(size=(ITEMS, 1)) + rng.normal(size=(ITEMS, systems))
    if kind == "yes or no":
        return (latent > 0).astype(float)[:, :, None]
    if kind == "rare":
        return (latent > -3).astype(float)[:, :, None]
    if kind == "ties":
        return np.where(latent < -1.9, np.clip(np.round(4 + latent + 1.9), 1, 4), 5.0)[:, :, None]
    if kind == "rows an item":
        more = latent[:, :, None] + 0.5 * rng.normal(size=(ITEMS, systems, 3))
        return np.clip(np.round(3 + more), 1, 5)
    return np.clip(np.round(5.5 + 1.6 * latent), 1, 10)[:, :, None]


def table(of: Floats, items: int, rng: np.random.Generator) -> pl.DataFrame:
    drawn = of[rng.integers(ITEMS, size=items)]
    item, system, _ = np.indices(drawn.shape)
    names = np.array([f"s{s:03}" for s in range(of.shape[1])])
    frame = pl.DataFrame({"item": item.ravel(), "system": names[system.ravel()], "score": drawn.ravel()})
    return frame.with_columns(cost=pl.col("system").rank("dense").cast(pl.Float64))


def boards(kinds: list[str], tables: int) -> Iterator[str]:
    yield f"{'kind':14} {'systems':>7} {'items':>5} {'tables':>6}  leads  choose  not worse  worse"
    for kind in kinds:
        for systems, items in SIZES:
            rng = np.random.default_rng(systems)
            of = matrix(kind, systems, rng)
            means = of.mean(axis=(0, 2))
            behind = means.max() - means
            margin = float(np.sort(behind)[max(systems // 3, 1)])
            names = [f"s{s:03}" for s in range(systems)]
            truth = dict(zip(names, means.tolist(), strict=True))
            of_size = max(20, tables // 10) if systems > 50 else tables
            false = dict.fromkeys(("leads", "choose", "not worse", "worse"), 0)
            for seed in range(of_size):
                bootstrap = Bootstrap(300, seed)
                frame = table(of, items, rng)
                lazy = frame.lazy()
                leads = leaderboard(lazy, "score", "system", item="item", bootstrap=bootstrap).leads
                assert leads is not None
                false["leads"] += any(
                    truth[a] <= truth[b] for a, b in leads.filter("sure").select("system", "against").iter_rows()
                )
                wanted = Wanted(margin, ("cost",))
                choice = choose(lazy, "score", "system", wanted, item="item", bootstrap=bootstrap).chosen
                false["choose"] += choice is not None and behind[names.index(choice)] >= margin
                gap = truth[names[-1]] - truth[names[0]]
                verdict = gate(
                    lazy, "score", "system", names[0], names[-1], margin=max(gap, 0), item="item", bootstrap=bootstrap
                ).verdict
                if verdict != "undecided":
                    false[verdict] += 1
            shares = [f"{false[name] / of_size:.3f}" for name in false]
            columns = f"{shares[0]:5}  {shares[1]:6}  {shares[2]:9}  {shares[3]}"
            yield f"{kind:14} {systems:7} {items:5} {of_size:6}  {columns}"


def samples(kinds: list[str], tables: int) -> Iterator[str]:
    """Eight noisy samples of each of 2,000 rows; a table has 60 of them, labelled."""
    yield "upper bound of the gain from n to 2n samples below the true gain, n = 1, 2, 4"
    for noise, of_kind in ((1.0, "1 to 10"), (0.5, "yes or no"), (2.0, "ties")):
        if of_kind not in kinds:
            continue
        rng = np.random.default_rng(1)
        quality = rng.normal(size=2000)
        human = np.clip(np.round(3 + quality + 0.5 * rng.normal(size=2000)), 1, 5)
        said = quality[:, None] + noise * rng.normal(size=(2000, 8))
        if of_kind == "yes or no":
            said = (said > 0).astype(float)
        elif of_kind == "ties":
            said = np.where(said < -1, 4.0, 5.0)
        whole = sample_worth({"": SampledScores((said,))}, human, bootstrap=Bootstrap(0))
        true = {row["n"]: row["value"] for row in whole.curves.filter(pl.col("statistic") == PEARSON).to_dicts()}
        false = dict.fromkeys((1, 2, 4), 0)
        for seed in range(tables):
            rows = rng.integers(2000, size=60)
            found = sample_worth({"": SampledScores((said[rows],))}, human[rows], bootstrap=Bootstrap(300, seed))
            for row in found.curves.filter(pl.col("statistic") == PEARSON).to_dicts():
                n = row["n"]
                if n in false and row["gain_at_most"] is not None:
                    false[n] += row["gain_at_most"] < true[2 * n] - true[n]
        yield f"{of_kind:14} {', '.join(f'{count / tables:.3f}' for count in false.values())} of {tables} tables"


PARTS = {"boards": boards, "samples": samples}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tables", type=int, default=300)
    arguments.add_argument("--part", nargs="*", default=list(PARTS), choices=PARTS)
    arguments.add_argument("--only", nargs="*", default=list(KINDS), choices=KINDS, metavar="KIND")
    asked = arguments.parse_args()
    for part in asked.part:
        for line in PARTS[part](asked.only, asked.tables):
            print(line, flush=True)


if __name__ == "__main__":
    main()
