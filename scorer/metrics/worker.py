"""A child process that scores batches with its metrics: python -m scorer.metrics.worker OPTIONS NAME...

OPTIONS is a JSON object with the options of each metric that has some.

It reads pickled batches from stdin and writes an answer for each to stdout; the first answer, before any batch, says
that it is ready. It ends at the end of stdin, so that it never outlives its parent, even after kill -9.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import sys
from collections.abc import Mapping, Sequence

import orjson

from scorer.errors import SpecError
from scorer.metrics import Options, load
from scorer.metrics.protocol import Metric
from scorer.metrics.references import Reference, best_scores

SLICE = 32
"""Rows that all metrics see before any sees the next: those that share an encoder find each text still in its cache."""

NICE = 10
"""The judge's loop, and other processes, go first."""

Columns = dict[str, list[float | None]]


Batch = tuple[Sequence[str | None], Sequence[Reference], bool]
"""Responses, references, and whether a row on which a metric fails is None, so that the others are had."""

Failures = dict[str, tuple[int, str]]
"""Of each metric that failed: on how many rows, and what it said last."""

Ready = tuple[frozenset[str], tuple[str, ...]]
"""The first answer: the metrics that need a reference, and the problems, where the metrics cannot be loaded."""


def score(
    metrics: Mapping[str, Metric],
    responses: Sequence[str | None],
    references: Sequence[Reference],
    failures: Failures | None = None,
) -> Columns:
    """A column for each metric. A score that is no finite number is None.

    With `failures` so is that of a row on which a metric fails, which is entered there. Without them raises what the
    metric raises, and ValueError where it does not answer row by row.
    """
    columns: Columns = {name: [] for name in metrics}
    for start in range(0, len(responses), SLICE):
        part = slice(start, start + SLICE)
        for name, metric in metrics.items():
            columns[name] += _scores(name, metric, responses[part], references[part], failures)
    return columns


def _scores(
    name: str,
    metric: Metric,
    responses: Sequence[str | None],
    references: Sequence[Reference],
    failures: Failures | None,
) -> list[float | None]:
    try:
        return [_finite(value) for value in best_scores(name, metric, responses, references)]
    except Exception as error:
        if failures is None:
            raise
        if len(responses) > 1:
            each = zip(responses, references, strict=True)
            return [_scores(name, metric, [one], [other], failures)[0] for one, other in each]
        failures[name] = (failures.get(name, (0, ""))[0] + 1, f"{type(error).__name__}: {error}")
        return [None]


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def serve(names: Sequence[str], options: Options) -> None:
    """Answers until stdin ends.

    What a metric raises over a batch that is not to be had in part ends the process, with its traceback on stderr.
    """
    # Ctrl-C in a terminal reaches the whole group, and it is the run that decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    # Only our answers may reach the parent's pipe; whatever a metric's package prints goes where its errors go.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def answer(value: Ready | tuple[Columns, Failures]) -> None:
        pickle.dump(value, answers)
        answers.flush()

    try:
        metrics = {name: load(name, options.get(name)) for name in names}
    except SpecError as error:
        answer((frozenset(), error.problems))
        return
    answer((frozenset(name for name, metric in metrics.items() if metric.needs_reference), ()))
    while True:
        try:
            responses, references, in_part = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        failures: Failures = {}
        answer((score(metrics, responses, references, failures if in_part else None), failures))


if __name__ == "__main__":
    serve(sys.argv[2:], orjson.loads(sys.argv[1]))
