"""The distance between a judge's scores and human values: on their common scale, else between ranks."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from scorer.analysis.score_range import scale_of_judge
from scorer.errors import SpecError
from scorer.report.collecting import collect_all
from scorer.report.columns import number
from scorer.report.run_table import RunTable

_HUMAN, _SCORE, _RANK = "\0human", "\0score", "\0rank"


@dataclass(frozen=True, slots=True)
class Distance:
    """`value` is the score minus the human value of a row, null where it lacks one of them; `unit` says in what.

    The expressions read `columns` of a frame that `prepare` was called on.
    """

    value: pl.Expr
    unit: str
    columns: tuple[str, ...]
    _ranks: tuple[pl.DataFrame, pl.DataFrame] | None = None
    _keys: tuple[pl.Expr, pl.Expr] | None = None

    def prepare(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The frame with the columns that `value` reads beside those of the table."""
        if self._ranks is None or self._keys is None:
            return frame
        for key, ranks, name in zip(self._keys, self._ranks, (_SCORE, _HUMAN), strict=True):
            frame = frame.with_columns(key.alias(name)).join(
                ranks.lazy().rename({"value": name, "rank": f"{_RANK}{name}"}), on=name, how="left"
            )
        return frame


def distance(table: RunTable) -> Distance | None:
    """The distance to the human column of a table, for its first run; None where it has none.

    In points of the judge's scale where the lowest and the highest human value are the ends of it. Else in ranks, as
    shares of the rows that have both: 0.5 is half of all rows (average ranks of ties).
    """
    human = table.columns.human
    if human is None:
        return None
    score = table.columns.scores[0]
    mine, theirs = number(score, table.schema.get(score)), number(human, table.schema.get(human))
    parts = []
    for frame in table.parts([score, human]):
        both = frame.select(mine.alias(_SCORE), theirs.alias(_HUMAN)).drop_nulls()
        parts.append(collect_all([both.group_by(value=name).len() for name in (_SCORE, _HUMAN)]))
    scores, values = (pl.concat(part[n] for part in parts).group_by("value").sum().sort("value") for n in (0, 1))
    if not len(values):
        _check_numbers(table, human)
    run = next(iter(table.runs.values()))
    scale = scale_of_judge(next(iter(table.judges.values())).options, score.removeprefix(f"{run.name}."))
    if scale is not None and scale == (values["value"].min(), values["value"].max()):
        unit = f"{score} minus {human}, in points on the scale {scale[0]:g} to {scale[1]:g}"
        return Distance(mine - theirs, unit, (score, human))
    value = pl.col(f"{_RANK}{_SCORE}") - pl.col(f"{_RANK}{_HUMAN}")
    return Distance(
        value,
        f"rank of {score} minus rank of {human}, as a share of the rows with both",
        (score, human),
        (_ranked(scores), _ranked(values)),
        (mine, theirs),
    )


def _check_numbers(table: RunTable, human: str) -> None:
    """Raises SpecError where a column has values and no number among them."""
    value = number(human, table.schema.get(human))
    for frame in table.parts([human]):
        (found,) = collect_all([frame.select(given=pl.col(human).count(), numbers=value.count())])
        if found["given"][0] and not found["numbers"][0]:
            raise SpecError([f"Column {human} holds texts that are no numbers: name a column of human values."])


def _ranked(counts: pl.DataFrame) -> pl.DataFrame:
    """The average rank of each value, from 0 to 1, by how many rows have it; sorted by value."""
    return counts.select("value", rank=(pl.col("len").cum_sum() - pl.col("len") / 2) / pl.col("len").sum())
