"""The mean human value of all rows, from all judge scores and a few human labels, with valid intervals.

The judge's mean is precise and may be wrong; the labels' mean is right and wide. Prediction-powered inference takes
the first and corrects it by what the labels say about the judge's errors. It is valid however bad the judge is, as long
as the labelled rows are a random sample of the rows, simple or within strata. A file of labels that says how its rows
were drawn is taken at its word (`label_design`); where none does, nothing here can check it.

A row without a score belongs to the population as well. It enters through a second regressor, 1 for an unread row and 0
for a read one, so that the value that stands in for its score makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap
from scorer.analysis.columns import listed, not_judged, require, same_run, take
from scorer.analysis.label_design import DESIGN, design_column, label_design
from scorer.analysis.prediction_powered_fit import LabelledRows, fit_mean, label_mean, plain_mean
from scorer.analysis.prediction_powered_pairs import differences_of
from scorer.analysis.prediction_powered_result import Estimate, Estimates, Mean
from scorer.analysis.reading import collected
from scorer.errors import SpecError


def estimate(
    frame: pl.LazyFrame,
    score: str,
    human: str,
    *,
    system: str | None = None,
    item: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Estimates:
    """The mean human value of all rows that were judged, read or not.

    With `item` the rows of an item count as one observation in every interval, and two systems are compared over the
    items of which both have a row. A labelled row without a score counts as the others do. Rows that ended as BadRow
    had nothing to judge; they and rows that are pending are counted and take no part. The resamples of
    the items make the intervals of several differences hold together; without resamples each holds by itself.
    Raises SpecError for columns that cannot serve and where fewer than two rows have a label.
    Source: Angelopoulos, Bates, Fannjiang, Jordan and Zrnic (2023), "Prediction-powered inference", Science 382; the
    weights: Angelopoulos, Duchi and Zrnic (2023), "PPI++", arXiv 2311.01453, section 6, here by least squares over
    items, which is the same where each row is an item.
    """
    needed = [score, human, *(name for name in (system, item) if name)]
    schema = frame.collect_schema()
    require(schema, needed)
    states = [column for name in ("error", "finished_at") if (column := same_run(schema, score, name)) in schema]
    states += [column for name in DESIGN if (column := design_column(name)) in schema]
    frame = collected(frame.select(list(dict.fromkeys([*needed, *states])))).lazy()
    columns = take(frame, [score, human], [name for name in (system, item) if name])
    f, y = columns.floats(score), columns.floats(human)
    cluster = columns.codes(item)[0] if item else np.arange(len(f), dtype=np.int64)
    bad, pending = not_judged(frame, score)
    judged = ~bad & ~pending
    design = label_design(frame, ~np.isnan(y), judged)
    y = np.where(design.usable, y, np.nan)
    rows = LabelledRows(f, y, cluster, int(cluster.max(initial=-1)) + 1, design.weight, design.stratum)
    if (labels := int((~np.isnan(y) & judged).sum())) < 2:
        both = int((~np.isnan(y) & ~np.isnan(f) & judged).sum())
        apart = f" of the {judged.sum():,} that are judged" if not judged.all() else ""
        more = f" and {labels - both} more a {human} alone" if labels > both else ""
        raise SpecError(
            [f"{both} rows{apart} have both {score} and {human}{more}; an estimate needs two labels or more."]
        )

    def estimated(mine: NDArray[np.bool_]) -> Estimate:
        return _estimate(rows.where(mine & judged), int((mine & bad).sum()), int((mine & pending).sum()))

    overall = estimated(np.ones(len(f), dtype=bool))
    code, names = columns.codes(system) if system else (np.zeros(len(f), dtype=np.int64), [])
    systems = {name: estimated(code == s) for s, name in enumerate(names)}
    parts = {name: rows.where(judged & (code == s)) for s, name in enumerate(names)}
    differences, unlike = differences_of(parts, paired=item is not None, bootstrap=bootstrap)
    return Estimates(
        overall, systems, differences, [*_notes(overall, systems), *design.notes(int(judged.sum())), *unlike]
    )


def _estimate(rows: LabelledRows, bad: int, pending: int) -> Estimate:
    read, labelled = ~np.isnan(rows.f), ~np.isnan(rows.y)
    found = fit_mean(rows)
    human, judge = label_mean(rows), plain_mean(rows.f, rows, read)
    weight, unread_weight = (None, None) if found is None else found.weights
    worth = None
    if found is not None and found.error.variance > 0:
        worth = round(found.labels * found.people.variance / found.error.variance)
    return Estimate(
        rows=int(read.sum()),
        labels=int((labelled & read).sum()),
        unread=int((~read).sum()),
        mean=human if found is None else Mean(found.value, found.error.interval(found.value)),
        labels_only=human,
        judge_only=judge,
        weight=weight,
        labels_worth=worth,
        labels_unread=int((labelled & ~read).sum()),
        unread_weight=unread_weight,
        bad=bad,
        pending=pending,
    )


def _notes(overall: Estimate, systems: Mapping[str, Estimate]) -> list[str]:
    notes = []
    if overall.bad:
        notes.append(
            f"Rows that ended as BadRow: {overall.bad:,}. They could not be judged and are not in the population."
        )
    if overall.pending:
        notes.append(f"Rows that are not judged yet: {overall.pending:,}. This is the mean of the rows judged so far.")
    if overall.unread and not overall.labels_unread:
        notes.append(
            f"None of the rows without a verdict ({overall.unread:,}) has a label: their weight is 0, and their human "
            "values are not known. Label some of them."
        )
    elif dark := [name for name, one in systems.items() if one.unread and not one.labels_unread and one.labels > 1]:
        notes.append(
            f"{listed(dark)}: no row with no verdict has a label. Their weight is 0, and their human values are not "
            "known. Label some of them."
        )
    labelled = [name for name, one in systems.items() if one.labels + one.labels_unread]
    if len(systems) > 1 and len(labelled) == 1:
        notes.append(
            f"All {overall.labels + overall.labels_unread:,} labels are of {labelled[0]}: they do not represent the "
            f"other {len(systems) - 1} systems, and the mean of all rows is right only if the judge errs alike on "
            "them. Label rows of each."
        )
    elif without := [name for name in systems if name not in labelled]:
        notes.append(f"No label is of {listed(without)}: the labels are no random sample of all rows.")
    return notes
