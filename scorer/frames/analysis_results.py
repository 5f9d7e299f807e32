"""The results of an analysis by score column, with one frame over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Generic, Protocol, TypeVar

import polars as pl

from scorer.analysis.bias_measures import BiasMeasure
from scorer.analysis.win_rate import WinRates
from scorer.html_tables import rows_html


class _Result(Protocol):
    @property
    def frame(self) -> pl.DataFrame: ...

    def json(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=_Result)


class ByScore(dict[str, R], Generic[R]):
    """The result of each score column, by its name; `frame` has the rows of all, after a column `score`."""

    @property
    def frame(self) -> pl.DataFrame:
        """The frames of the results one below the other; the first column, `score`, names the score column."""
        frames = [one.frame.select(pl.lit(name).alias("score"), pl.all()) for name, one in self.items()]
        return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()

    @property
    def notes(self) -> list[str]:
        """What to know beside the frame, each sentence once."""
        return list(dict.fromkeys(note for one in self.values() for note in getattr(one, "notes", ())))

    def json(self) -> dict[str, Any]:
        """The value that the command prints with --json, under "scores"."""
        return {name: one.json() for name, one in self.items()}

    def __repr__(self) -> str:
        return "\n".join([repr(self.frame), *self.notes])

    def _repr_html_(self) -> str:
        return rows_html(f"By score: {', '.join(self)}", self.frame.to_dicts(), self.notes)


class Biases(dict[str, BiasMeasure]):
    """The biases of one score column by their names; `frame` has a row for each figure."""

    @property
    def frame(self) -> pl.DataFrame:
        """One row for each figure: bias, system (null: all), figure, value, low and high."""
        rows = [
            (bias, system, *figure)
            for bias, one in self.items()
            for system, values in _systems(one)
            for figure in _figures(values)
        ]
        texts = dict.fromkeys(("bias", "system", "figure"), pl.String())
        return pl.DataFrame(
            rows, schema={**texts, **dict.fromkeys(("value", "low", "high"), pl.Float64())}, orient="row"
        )

    def json(self) -> dict[str, Any]:
        """The value that `scorer bias --json` prints for one score."""
        return {name: one.json() for name, one in self.items()}

    def _repr_html_(self) -> str:
        return rows_html("Biases", self.frame.to_dicts())


def _systems(measure: BiasMeasure) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    if isinstance(measure, WinRates):
        yield from ((name, asdict(one)) for name, one in measure.systems.items())
    else:
        yield None, asdict(measure)


def _figures(values: Mapping[str, Any]) -> Iterator[tuple[str, float | None, float | None, float | None]]:
    """Each figure with its interval: `<figure>_interval`, or a lone `interval` after it."""
    names = list(values)
    for place, name in enumerate(names):
        if name.endswith("interval"):
            continue
        following = names[place + 1] if place + 1 < len(names) else ""
        interval = values.get(f"{name}_interval") or (values[following] if following == "interval" else None)
        yield name, values[name], *(interval or (None, None))
