"""How many rows a question will take, by simulated runs from the rows that are judged already: for `scorer plan`.

Gaps between systems in a few items are too large: the one that leads was lucky. So the means are shrunk towards their
common mean (empirical Bayes with a normal prior, as James and Stein 1961), and each simulated run draws its own means
from what is then still possible. Its items are drawn from the judged ones, moved to these means.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scorer.analysis.sequential.bets import Floats
from scorer.build.plan import RunPlan
from scorer.build.stop_checks import score_bounds
from scorer.config.stop_question import parse_question
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.job.selecting import Asked
from scorer.job.stopping.early_stop import EarlyStop
from scorer.job.stopping.population import population
from scorer.job.stopping.waves import waves_until
from scorer.output.layout import Layout
from scorer.output.manifest import changed_keys, load
from scorer.output.stored_scores import stored_scores
from scorer.types import Mask, Shard

FEWEST = 10
"""Rounds that a simulation needs; each has one item of each task."""
STEPS = 40_000
"""Items of all simulated runs together, at most; there are 20 to 200 runs."""


@dataclass(frozen=True, slots=True)
class StopEstimate:
    """Rows until the answer in simulated runs: their 10 %, 50 % and 90 % quantiles, and the share that end undecided.

    They are None where fewer than `FEWEST` rounds are judged. `rounds` were judged, of `rounds_in_all`; `rows` are
    those that the question is about. `waves` of provider batches ask `rows_asked` rows in the middle run; None online.
    """

    rows: int
    rounds: int
    rounds_in_all: int
    rows_10: int | None = None
    rows_50: int | None = None
    rows_90: int | None = None
    undecided: float | None = None
    waves: int | None = None
    rows_asked: int | None = None

    def sentence(self) -> str:
        """What to tell of it."""
        if self.rows_50 is None:
            return (
                f"[stop]: at most {self.rows:,} rows. How many it will take is estimated once {FEWEST} items of each "
                f"system are judged: `scorer run --sample N` judges the first ones, and they count."
            )
        batches = (
            ""
            if self.waves is None
            else f" In provider batches {self.rows_asked:,} rows are asked until then, in {self.waves} waves, each of "
            "which waits for its batches."
        )
        return (
            f"[stop]: about {self.rows_50:,} of {self.rows:,} rows until the answer (80 % of simulated runs: "
            f"{self.rows_10:,} to {self.rows_90:,}), from {self.rounds:,} items judged so far; {self.undecided:.0%} "
            f"end undecided.{batches}"
        )


def stop_estimate(plan: RunPlan, files: Files, shards: list[Shard], asked: Asked) -> StopEstimate:
    """The estimate of a run with [stop]. Reads the columns that it names, and stored scores. Raises SpecError."""
    assert plan.spec.stop is not None
    bounds = score_bounds(plan.spec)
    assert bounds is not None, "checked with the run file"
    question = parse_question(plan.spec.stop.question)

    def belongs(shard: Shard) -> Mask:
        mask = asked.of(shard)
        return np.ones(shard.rows, dtype=bool) if mask is None else mask

    found = population(files, shards, belongs, plan.spec.stop, question)
    stop = EarlyStop(plan.spec.stop, question, found, bounds)
    layout = Layout(plan.spec.output.path)
    manifest = load(files, layout)
    if manifest is not None and not changed_keys(manifest, plan.covers):
        stop.load(stored_scores(files, layout, shards))
    rows = int(stop.cells.rows.sum())
    judged = _judged(stop)
    if len(judged) < FEWEST:
        return StopEstimate(rows, len(judged), stop.rounds.count)
    simulated = _simulated(stop, judged, rows)
    if not plan.spec.batched or simulated.rows_50 is None:
        return simulated
    rows_asked, waves = waves_until(plan.spec, simulated.rows_50, rows)
    return replace(simulated, waves=waves, rows_asked=rows_asked)


def _judged(stop: EarlyStop) -> Floats:
    """The rounds that are judged for every system: rounds x series, an unread row as the middle of its bounds."""
    left = np.zeros(stop.rounds.count, dtype=np.int64)
    np.add.at(left, stop.rounds.round_of, stop.cells.left.sum(axis=1))
    whole = [(low + high) / 2 for low, high in (stop.cells.round(int(n)) for n in np.flatnonzero(left == 0))]
    series = [one for one in whole if not np.isnan(one).any()]
    return np.array(series) if series else np.empty((0, 0))


def _simulated(stop: EarlyStop, judged: Floats, rows: int) -> StopEstimate:
    rng = np.random.default_rng(stop.stop.seed)
    count, per_round = stop.rounds.count, rows / stop.rounds.count / judged.shape[1]
    means, spread = _shrunk(judged, alone=stop.question.kind == "mean")
    residuals = judged - judged.mean(axis=0)
    taken, open_ = [], 0
    for _ in range(int(np.clip(STEPS // count, 20, 200))):
        truth = means + rng.normal(0.0, spread, len(means))
        decision = stop.new_decision()
        for place in rng.integers(0, len(judged), count):
            if not decision.needed().any():
                break
            item = np.clip(truth + residuals[place], 0.0, 1.0)
            decision.add(item, item)
        open_ += decision.answer() is None
        taken.append(decision.asked * per_round)
    low, middle, high = (round(float(one)) for one in np.quantile(taken, [0.1, 0.5, 0.9]))
    return StopEstimate(rows, len(judged), count, low, middle, high, open_ / len(taken))


def _shrunk(judged: Floats, *, alone: bool) -> tuple[Floats, float]:
    """The means of the systems, shrunk, and the standard deviation of what each can still be.

    Of differences: what all systems have in common is taken out before their error is computed.
    """
    means = judged.mean(axis=0)
    own = judged - judged.mean(axis=1, keepdims=True)
    error = float(own.var(axis=0, ddof=1).mean() / len(judged))
    if alone or len(means) < 2:
        return means, float(np.sqrt(judged.var(axis=0, ddof=1).mean() / len(judged)))
    between = max(0.0, float(means.var(ddof=1)) - error)
    factor = between / (between + error) if between + error > 0 else 0.0
    return means.mean() + factor * (means - means.mean()), float(np.sqrt(factor * error))
