"""How the labelled rows were drawn: which labels are a random sample, and how many rows each of them stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.columns import listed
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.reading import TEXTS, collected
from scorer.errors import SpecError

RANDOM = "random"
"""How a row was picked, in the column `picked` of a file of labels, where it may serve as a sample."""

PICKED, WEIGHT, STRATUM, STRATUM_ROWS = "picked", "weight", "stratum", "stratum_rows"
DESIGN = (PICKED, WEIGHT, STRATUM, STRATUM_ROWS)
"""The columns of a file of labels that say how each row was drawn."""


def design_column(name: str) -> str:
    """The name of a design column beside the columns of a table, which may have one of that name."""
    return f"\0label\0{name}"


@dataclass(frozen=True, slots=True)
class LabelDesign:
    """Which rows' labels count, and how they were drawn.

    `refused` has the labelled rows that were not drawn at random, by how they were picked, `open` is the number of
    rows that were drawn and have no label. `weight` is the number of rows that a label stands for, `stratum` the code
    of its stratum, -1 where a row is none of the sample; both None for a simple random sample.
    """

    usable: NDArray[np.bool_]
    refused: Mapping[str, int]
    open: int = 0
    weight: Floats | None = None
    stratum: Codes | None = None
    drawn_of: int | None = None

    def notes(self, judged: int) -> list[str]:
        """Sentences on labels that do not count, and on a population that has grown since the rows were drawn."""
        notes = []
        if self.refused:
            ways = ", ".join(f"{count:,} {way}" for way, count in self.refused.items())
            notes.append(
                f"{sum(self.refused.values()):,} labels are left out: their rows were not drawn at random ({ways}). "
                "Rows that were picked say nothing about all rows."
            )
        if self.open:
            notes.append(
                f"{self.open:,} rows of the random sample have no label. The estimate is right only if they are not "
                "harder or worse than the labelled ones: label them, or stop at a row of the file and label all before."
            )
        if self.drawn_of is not None and self.drawn_of != judged:
            notes.append(
                f"The rows to label were drawn from {self.drawn_of:,} rows, and {judged:,} are judged now: run scorer "
                "label again; rows that are labelled keep their labels."
            )
        return notes


def label_design(frame: pl.LazyFrame, labelled: NDArray[np.bool_], judged: NDArray[np.bool_]) -> LabelDesign:
    """The design of the labels of a table that `opened` has joined; a simple random sample where no column says.

    Raises SpecError where no labelled row was drawn at random, or a weight is missing or not positive.
    """
    names = {name: design_column(name) for name in DESIGN if design_column(name) in frame.collect_schema()}
    everywhere = np.ones(len(labelled), dtype=bool)
    if PICKED not in names:
        return LabelDesign(everywhere, {})
    given = collected(frame.select(pl.col(column).alias(name) for name, column in names.items()))
    picked = given[PICKED].cast(pl.String).str.strip_chars()
    random = (picked == RANDOM).fill_null(False).to_numpy()
    ways = Counter(way or "not said" for way in picked.filter(pl.Series(labelled & ~random)).to_list())
    refused = dict(sorted(ways.items(), key=lambda one: -one[1]))
    if labelled.any() and not (labelled & random).any():
        raise SpecError(
            [
                f"No label is of a row that was drawn at random: {listed([f'{n:,} {way}' for way, n in ways.items()])}."
                " Rows that were picked are no sample of all rows. Label the random list of the report page, or the "
                "rows of scorer label TABLE -o FILE.csv."
            ]
        )
    sample, counted = labelled & random & judged, random & judged
    weight, stratum, drawn_of = _weights(given, sample, counted)
    return LabelDesign(
        usable=~labelled | random,
        refused=refused,
        open=int((counted & ~labelled).sum()),
        weight=weight,
        stratum=stratum,
        drawn_of=drawn_of,
    )


def _weights(
    given: pl.DataFrame, sample: NDArray[np.bool_], counted: NDArray[np.bool_]
) -> tuple[Floats | None, Codes | None, int | None]:
    """The weight and the stratum of each row of the sample, and the rows of all strata; None where all weigh alike."""
    if STRATUM in given.columns and STRATUM_ROWS in given.columns:
        stratum, size = _number(given[STRATUM]), _number(given[STRATUM_ROWS])
        _check(np.isfinite(stratum) & (size > 0), counted, f"{STRATUM} and {STRATUM_ROWS}")
        old, code = np.unique(np.where(counted, stratum, -1.0), return_inverse=True)
        first = np.zeros(len(old))
        first[code[counted]] = size[counted]
        labels = np.bincount(code[sample], minlength=len(old))
        group = _merged(labels, old >= 0)
        rows = np.bincount(group[old >= 0], first[old >= 0], minlength=int(group.max(initial=0)) + 1)
        each = np.bincount(group[old >= 0], labels[old >= 0], minlength=len(rows))
        mine = group[code]
        weight = np.where(sample, rows[mine] / np.maximum(each[mine], 1), np.nan)
        return weight, np.where(sample, mine, -1).astype(np.int64), round(float(rows.sum()))
    if WEIGHT not in given.columns:
        return None, None, None
    weight = _number(given[WEIGHT])
    _check(weight > 0, sample, WEIGHT)
    if len(np.unique(weight[sample])) <= 1:
        return None, None, None
    return np.where(sample, weight, np.nan), np.where(sample, 0, -1).astype(np.int64), None


def _merged(labels: Codes, present: NDArray[np.bool_]) -> Codes:
    """Each stratum's group: neighbours are put together until a group has two labels, so that it has a variance."""
    group = np.zeros(len(labels), dtype=np.int64)
    at, held = 0, 0
    last = -1
    for n in np.flatnonzero(present):
        group[n] = at
        held += int(labels[n])
        if held >= 2:
            last, at, held = at, at + 1, 0
    if last >= 0:  # what is left over has fewer than two labels
        group[present & (group > last)] = last
    return group


def _number(column: pl.Series) -> Floats:
    if column.dtype in TEXTS:
        column = column.cast(pl.String).str.strip_chars()
    return column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy().astype(np.float64)


def _check(good: NDArray[np.bool_], of: NDArray[np.bool_], what: str) -> None:
    if (bad := int((of & ~good).sum())) > 0:
        raise SpecError(
            [
                f"{bad:,} rows that were drawn at random have no number above 0 in {what} of the labels file. These "
                "columns say how the rows were drawn: keep them as scorer label wrote them."
            ]
        )
