"""How often `[stop]` answers wrongly, over simulated boards; and what it costs on stored judgements.

    python benchmarks/stop_coverage.py [--runs 1000] [--design NAME ...]
    python benchmarks/stop_coverage.py --sequences [--runs 1000]
    python benchmarks/stop_coverage.py --replay TABLE.parquet [--runs 40]

The first form plays each design `--runs` times at confidence .95 and counts wrong answers, and intervals that are wrong
beside them. An exact rule has more than 67 of 1,000 with a probability of 1 %, and more than 73 with .1 %, which is the
bar where a dozen designs are looked at. Designs that end in "asymptotic" play `method = "asymptotic"`, which promises
nothing for few items. With `--sequences` it counts runs in which a confidence sequence of one mean ever leaves the mean
out, exact and asymptotic, from the first item to the last: all runs at once, a column each. The last form asks a table
(item, system, preference) in random orders.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from scorer.analysis.sequential import hedged, normal
from scorer.analysis.sequential.decision import Decision
from scorer.config.stop_question import parse_question

Floats = np.ndarray
ALPHA = 0.05


@dataclass(frozen=True)
class Design:
    """`population` draws items x systems in [0, 1]; `truth` are the means that *future* is about, None for the table's.

    `unread` draws which of them have no score. `asymptotic` is `stop.method`.
    """

    question: str
    population: Callable[[np.random.Generator], Floats]
    truth: Floats | None
    margin: float = 0.0
    width: float = 0.0
    allowed: float = 0.0
    unread: Callable[[np.random.Generator, Floats], Floats] | None = None
    asymptotic: bool = False


def beta(means: list[float], items: int, size: float = 3.0) -> Callable[[np.random.Generator], Floats]:
    m = np.array(means)
    return lambda rng: rng.beta(size * m, size * (1 - m), (items, len(m)))


def binary(means: list[float], items: int) -> Callable[[np.random.Generator], Floats]:
    return lambda rng: (rng.random((items, len(means))) < np.array(means)).astype(float)


def ten_points(systems: int, items: int) -> Callable[[np.random.Generator], Floats]:
    """Scores 0, .1 ... 1 with a common difficulty of the item: many ties, correlated systems."""

    def draw(rng: np.random.Generator) -> Floats:
        common = rng.normal(size=(items, 1))
        return np.clip(np.round(5 + 2 * (common + rng.normal(size=(items, systems)))), 0, 10) / 10

    return draw


def clustered(systems: int, items: int) -> Callable[[np.random.Generator], Floats]:
    """The mean of two or three binary rows an item, which share the item's own share."""

    def draw(rng: np.random.Generator) -> Floats:
        share = rng.beta(0.5, 0.5, (items, systems))
        rows = rng.integers(2, 4, (items, 1))
        return rng.binomial(rows, share) / rows

    return draw


def worst_unread(rng: np.random.Generator, scores: Floats) -> Floats:
    """8 % of the first system's rows, its worst ones."""
    unread = np.zeros(scores.shape, dtype=bool)
    unread[np.argsort(scores[:, 0])[: len(scores) * 8 // 100], 0] = True
    return unread


def drift(systems: int, items: int) -> Callable[[np.random.Generator], Floats]:
    """The table is sorted: the first system is good early in the file, the others late; all have equal means."""

    def draw(rng: np.random.Generator) -> Floats:
        up = np.linspace(0.2, 0.8, items)[:, None]
        mean = np.concatenate([up[::-1], np.repeat(up, systems - 1, axis=1)], axis=1)
        return (rng.random((items, systems)) < mean).astype(float)

    return draw


def equal(systems: int, mean: float) -> Floats:
    return np.full(systems, mean)


LEAD = [0.55, *[0.5] * 9]
DESIGNS: dict[str, Design] = {
    "best, 2 equal, future": Design("best", beta([0.5] * 2, 400), equal(2, 0.5)),
    "best, 5 equal in ten points, future": Design("best", ten_points(5, 300), equal(5, 0.5)),
    "best, 60 equal in ten points, future": Design("best", ten_points(60, 300), equal(60, 0.5)),
    "best, 200 equal clustered, future": Design("best", clustered(200, 150), equal(200, 0.5)),
    "best, 5 rare binary, future": Design("best", binary([0.03] * 5, 600), equal(5, 0.03)),
    "best, 10 with a lead, future": Design("best", beta(LEAD, 600), np.array(LEAD)),
    "best, 10 equal, these": Design("best", binary([0.5] * 10, 300), None),
    "best, 5 rare binary, these": Design("best", binary([0.03] * 5, 600), None),
    "best, drift in file order, these": Design("best", drift(5, 400), None),
    "best, worst rows unread, future": Design(
        "best", beta([0.46, 0.5], 600), np.array([0.46, 0.5]), unread=worst_unread
    ),
    "best, worst rows unread, these": Design("best", beta([0.46, 0.5], 600), None, unread=worst_unread),
    "best within .05, 10 systems, future": Design(
        "best", beta([0.5, *[0.44] * 9], 1500), np.array([0.5, *[0.44] * 9]), margin=0.05
    ),
    "top 3 of 10, these": Design("top 3", beta([0.6, 0.55, *[0.5] * 8], 300), None),
    "top 3 of 10 within .05, future": Design(
        "top 3", beta([0.6, 0.55, 0.55, *[0.49] * 7], 1500), np.array([0.6, 0.55, 0.55, *[0.49] * 7]), margin=0.05
    ),
    "ranking of 5 within .05, future": Design(
        "ranking", beta([0.6, 0.5, 0.5, 0.45, 0.44], 2500), np.array([0.6, 0.5, 0.5, 0.45, 0.44]), margin=0.05
    ),
    "a > b, equal, future": Design("a > b", binary([0.5] * 2, 600), equal(2, 0.5)),
    "a >= b - .1, at the bar, future": Design("a >= b", binary([0.4, 0.5], 600), np.array([0.4, 0.5]), allowed=0.1),
    "a > b, these": Design("a > b", binary([0.5] * 2, 300), None),
    "mean, skewed, future": Design("mean", beta([0.05] * 3, 2000, size=1.0), equal(3, 0.05), width=0.04),
    "mean, rare binary, these": Design("mean", binary([0.03] * 3, 1500), None, width=0.03),
}
ASYMPTOTIC = (
    "best, 2 equal, future",
    "best, 5 equal in ten points, future",
    "best, 60 equal in ten points, future",
    "best, 5 rare binary, future",
    "best, 10 with a lead, future",
    "best, 10 equal, these",
    "best, 5 rare binary, these",
    "best within .05, 10 systems, future",
    "top 3 of 10 within .05, future",
    "ranking of 5 within .05, future",
    "a > b, equal, future",
    "a >= b - .1, at the bar, future",
)
DESIGNS["a > b, skewed and equal, future"] = Design("a > b", beta([0.05] * 2, 1000, size=1.0), equal(2, 0.05))
DESIGNS |= {
    f"{name}, asymptotic": replace(DESIGNS[name], asymptotic=True)
    for name in (*ASYMPTOTIC, "a > b, skewed and equal, future")
}


def play(design: Design, rng: np.random.Generator) -> tuple[Decision, Floats]:
    """One run over one drawn table, and the means that it is about."""
    scores = design.population(rng)
    order = rng.permutation(len(scores))
    unread = design.unread(rng, scores) if design.unread is not None else np.zeros(scores.shape, dtype=bool)
    k = scores.shape[1]
    decision = Decision(
        parse_question(design.question),
        k,
        alpha=ALPHA,
        items=_sizes(design.question, k, len(scores)) if design.truth is None else None,
        margin=design.margin,
        width=design.width,
        allowed=design.allowed,
        asymptotic=design.asymptotic,
    )
    for item in order:
        if not decision.needed().any():
            break
        decision.add(np.where(unread[item], 0.0, scores[item]), np.where(unread[item], 1.0, scores[item]))
    return decision, scores.mean(axis=0) if design.truth is None else design.truth


def _sizes(question: str, systems: int, items: int) -> np.ndarray:
    return np.full(systems if question == "mean" else (systems, systems), items)


def wrong(decision: Decision, truth: Floats, design: Design) -> bool:
    """Whether the answer, or an elimination on the way to one, is wrong."""
    found, slack = decision.answer(), 1e-9
    match decision.question.kind:
        case "best" | "top":
            top = decision.question.top
            best = np.sort(truth)[::-1][top - 1]
            if (truth[decision.left()] >= best - slack).sum() < top and not design.margin:
                return True
            return found is not None and bool((truth[found] < best - design.margin - slack).any())
        case "ranking":
            better = decision.rule.better  # type: ignore[union-attr]
            if (better & (truth[:, None] <= truth[None, :] + slack)).any():
                return True
            gaps = np.abs(truth[:, None] - truth[None, :])
            return found is not None and bool((~(better | better.T) & (gaps > design.margin + slack)).any())
        case "compare":
            gap = truth[0] - truth[1] + design.allowed
            true = gap > slack if decision.question.strict else gap >= -slack
            return decision.rule.yes not in (None, true)  # type: ignore[union-attr]
        case _:
            return False


def wrong_bounds(decision: Decision, truth: Floats) -> bool:
    def value(a: int, b: int | None) -> float:
        return float(truth[a] if b is None else truth[a] - truth[b])

    return any(not bound.low - 1e-6 <= value(bound.a, bound.b) <= bound.high + 1e-6 for bound in decision.bounds())


def coverage(design: Design, runs: int, seed: int = 0) -> dict[str, float]:
    """Wrong answers, runs with a wrong answer or interval, answered runs, and the calls a run."""
    false = either = answered = 0
    asked = 0.0
    for run in range(runs):
        decision, truth = play(design, np.random.default_rng([seed, run]))
        bad = wrong(decision, truth, design)
        false += bad
        either += bad or wrong_bounds(decision, truth)
        answered += decision.answer() is not None
        asked += decision.asked
    return {"runs": runs, "wrong": false, "either": either, "answered": answered, "calls": round(asked / runs)}


SEQUENCES: dict[str, tuple[Callable[[np.random.Generator, int, int], Floats], float]] = {
    "beta, mean .5": (lambda rng, items, runs: rng.beta(1.5, 1.5, (items, runs)), 0.5),
    "skewed beta, mean .05": (lambda rng, items, runs: rng.beta(0.05, 0.95, (items, runs)), 0.05),
    "rare binary, mean .03": (lambda rng, items, runs: (rng.random((items, runs)) < 0.03).astype(float), 0.03),
    "rare binary, mean .005": (lambda rng, items, runs: (rng.random((items, runs)) < 0.005).astype(float), 0.005),
    "difference of two binary, mean 0": (lambda rng, items, runs: rng.integers(0, 3, (items, runs)) / 2, 0.5),
    "difference of two rare binary, mean 0": (
        lambda rng, items, runs: (1.0 + (rng.random((items, runs)) < 0.02) - (rng.random((items, runs)) < 0.02)) / 2,
        0.5,
    ),
}


def sequences(runs: int, items: int = 1000, seed: int = 2) -> Iterator[tuple[str, str, str, int, float]]:
    """Runs in which a 95 % confidence sequence ever missed the mean, and its width after the last item."""
    level = ALPHA / 2
    for name, (draw, truth) in SEQUENCES.items():
        x = draw(np.random.default_rng(seed), items, runs)
        for population, means, sizes in (
            ("future", np.full(runs, truth), None),
            ("these", x.mean(axis=0), np.full(runs, items)),
        ):
            low, high = hedged.lower(x, level, sizes), hedged.upper(x, level, sizes)
            missed = (low > means + 1e-6) | (high < means - 1e-6)
            yield name, population, "exact", int(missed.sum()), float((high - low).mean())
            n = np.arange(1, items + 1)[:, None]
            mean = x.cumsum(axis=0) / n
            half = normal.half_width(n, (x**2).cumsum(axis=0) / n - mean**2, level)
            missed = (np.abs(mean - means) > half + 1e-9).any(axis=0)
            yield name, population, "asymptotic", int(missed.sum()), float(2 * half[-1].mean())


def replays(path: str, runs: int) -> Iterator[dict[str, object]]:
    """Each question of a stored table in random orders: answered, right, and the share of all calls."""
    table = pl.read_parquet(path).pivot(on="system", index="item", values="preference").drop("item").drop_nulls()
    scores = table.to_numpy().astype(float)
    items, k = scores.shape
    ranked = np.sort(scores.mean(axis=0))[::-1]
    asked = [("best", 0.0), ("best", 0.02), ("top 3", 0.0), ("top 3", 0.05), ("top 5", 0.05), ("ranking", 0.05)]
    for population in ("these", "future"):
        for question, margin in asked:
            answered = right = 0
            calls = taken = 0.0
            began = time.process_time()
            for run in range(runs):
                order = np.random.default_rng([1, run]).permutation(items)
                draw = Design(question, lambda _, o=order: scores[o], None, margin=margin)  # type: ignore[misc]
                sizes = np.full((k, k), items) if population == "these" else None
                decision = Decision(parse_question(question), k, alpha=ALPHA, items=sizes, margin=margin)
                for item in order:
                    if not decision.needed().any():
                        break
                    decision.add(scores[item], scores[item])
                calls += decision.asked / items / k
                if decision.answer() is not None:
                    answered, taken = answered + 1, taken + decision.taken
                    right += not wrong(decision, scores.mean(axis=0), draw)
            yield {
                "population": population,
                "question": question,
                "margin": margin,
                "calls": round(calls / runs, 4),
                "items": round(taken / answered) if answered else None,
                "answered": answered,
                "right": right,
                "runs": runs,
                "cpu_s": round((time.process_time() - began) / runs, 2),
                "best": round(float(ranked[0]), 3),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--design", nargs="*", default=list(DESIGNS))
    parser.add_argument("--sequences", action="store_true")
    parser.add_argument("--replay")
    given = parser.parse_args()
    if given.replay is not None:
        for row in replays(given.replay, given.runs):
            print(row, flush=True)
        return
    if given.sequences:
        for name, population, method, missed, width in sequences(given.runs):
            print(f"{name:40} {population:7} {method:11} {missed:5} of {given.runs}, width {width:.3f}", flush=True)
        return
    for name in given.design:
        began = time.process_time()
        found = coverage(DESIGNS[name], given.runs)
        print(f"{name:40} {found} {time.process_time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
