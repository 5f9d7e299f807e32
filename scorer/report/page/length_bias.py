"""Whether the judge scores long responses higher: the correlation of score and length, and mean scores by length."""

from __future__ import annotations

import numpy as np
import polars as pl

from scorer.analysis.bias import by_length
from scorer.analysis.correlation import Codes, Floats
from scorer.errors import SpecError
from scorer.report.page.column_summary import quantiles
from scorer.report.page.data import Interval, Scatter, Statistic
from scorer.report.page.means import grouped_means, interval
from scorer.report.page.page_rows import PageRows
from scorer.report.page.population import Population
from scorer.report.page.text_lengths import LENGTH

STEPS = 10


def length_bias(of: Population) -> tuple[list[Statistic], Scatter | None]:
    """Spearman's correlations of score and length, and the mean score in parts of about equally many rows."""
    if LENGTH not in of.frame.schema:
        return [], None
    found = []
    try:
        every = by_length(of.lazy, of.score, LENGTH, item=of.columns.item, bootstrap=of.bootstrap)
        if every.judge is not None:
            meaning = (
                "Spearman's correlation of the score with the characters of the response. It is a bias only where "
                "people do not prefer longer responses too."
            )
            value = interval(every.judge, every.judge_interval, every.n)
            found.append(Statistic("Score and length", value, meaning, none=0.0))
        if of.people and every.judge is not None:
            labelled = of.lazy.filter(pl.col(of.human).is_not_null())
            by_people = by_length(labelled, of.score, LENGTH, human=of.human, item=of.columns.item)
            if by_people.partial is not None:
                meaning = "The same among rows of equal human value: the judge's own preference for length."
                fixed = Interval(by_people.partial, None, None, by_people.n)
                found.append(Statistic("Score and length, human value fixed", fixed, meaning, none=0.0))
    except SpecError:  # too few rows have both numbers
        return found, None
    return found, _scatter(of)


def _scatter(of: Population) -> Scatter | None:
    def lengths(part: PageRows) -> Floats:
        return np.where(np.isfinite(part.scores), part.floats(LENGTH), np.nan)

    known = (values[np.isfinite(values)] for values in map(lengths, of.parts()))
    edges = np.unique(quantiles(known, np.linspace(0, 1, STEPS + 1)))
    if len(edges) < 3:
        return None

    def codes(part: PageRows) -> Codes:
        length = lengths(part)
        return np.where(np.isfinite(length), np.searchsorted(edges[1:-1], length, side="right"), -1)

    size = len(edges) - 1
    means = grouped_means(of, lambda part: part.scores, codes, size)
    middles = grouped_means(of, lengths, codes, size)
    kept = [(one.value, mean) for one, mean in zip(middles, means, strict=True) if one.value is not None]
    return Scatter([length for length, _ in kept], [mean for _, mean in kept])
