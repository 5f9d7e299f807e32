"""Computes each bias that the given columns allow: length, win rate at equal length, position, self-preference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from scorer.analysis.bias import Length, Position, SelfPreference, length, position, position_of_orders, self_preference
from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap
from scorer.analysis.columns import same_run
from scorer.analysis.win_rate import WinRate, WinRates, win_rate, win_rates
from scorer.errors import SpecError

BiasMeasure = Length | Position | SelfPreference | WinRate | WinRates

_GIVEN, _SWAPPED, _BOTH = "preference_given", "preference_swapped", ("score", "preference")
"""A pairwise run's preferences in either order, and the columns that combine both."""

_TOGETHER = (
    "--swapped and --pair belong together: which rows show which pair in the other order. Without --pair, --swapped is "
    "a column of preferences, such as a pairwise run's preference_swapped."
)

NO_BIAS = "No bias is named: give --text, or --swapped and --pair, or --own with --system and --human."


@dataclass(frozen=True, slots=True)
class BiasColumns:
    """The columns that say which biases are measured; the options of `scorer bias` have the same names.

    `text` measures length bias, with `baseline` (and `difficulty`) also the win rate at equal length. `swapped`
    measures position bias, with `pair` where each order is a row. `own`, names of systems in the column `system`,
    measures self-preference against `human`. Rows of an `item` count as one in every interval.
    """

    text: str | None = None
    baseline: str | None = None
    difficulty: str | None = None
    swapped: str | None = None
    pair: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    system: str | None = None
    human: str | None = None
    item: str | None = None

    def problems(self) -> list[str]:
        """A sentence for each column that needs another one, and where no bias is named."""
        found = []
        if self.baseline is not None and self.text is None:
            found.append("--baseline needs --text: the column of the text that was compared with it.")
        if self.difficulty is not None and self.baseline is None:
            found.append("--difficulty needs --text and --baseline: it belongs to the win rate at equal length.")
        if self.pair and self.swapped is None:
            found.append(_TOGETHER)
        if self.own and (self.system is None or self.human is None):
            found.append("--own needs --system and --human: who answered, and what people thought of it.")
        if self.text is None and self.swapped is None and not self.own and not found:
            found.append(NO_BIAS)
        return found


def measure_bias(
    frame: pl.LazyFrame, score: str, columns: BiasColumns, *, bootstrap: Bootstrap = BOOTSTRAP
) -> Mapping[str, BiasMeasure]:
    """Each bias of a score column that `columns` allow, by its name in the JSON of `scorer bias`.

    Raises SpecError with `columns.problems()`, and for columns that cannot serve.
    """
    if problems := columns.problems():
        raise SpecError(problems)
    return {
        **_by_length(frame, score, columns, bootstrap),
        **_by_position(frame, score, columns, bootstrap),
        **_by_family(frame, score, columns, bootstrap),
    }


def _by_length(
    frame: pl.LazyFrame, score: str, columns: BiasColumns, bootstrap: Bootstrap
) -> dict[str, Length | WinRate | WinRates]:
    text, baseline, item, hard = columns.text, columns.baseline, columns.item, columns.difficulty
    if text is None:
        return {}
    found: dict[str, Length | WinRate | WinRates] = {
        "length": length(frame, score, text, human=columns.human, item=item, bootstrap=bootstrap)
    }
    if baseline is None:
        return found
    found["win_rate"] = win_rate(frame, score, text, baseline, difficulty=hard, item=item, bootstrap=bootstrap)
    if columns.system is not None:
        found["win_rates"] = win_rates(
            frame, score, text, baseline, columns.system, difficulty=hard, item=item, bootstrap=bootstrap
        )
    return found


def _by_position(frame: pl.LazyFrame, score: str, columns: BiasColumns, bootstrap: Bootstrap) -> dict[str, Position]:
    """Position bias: each order is a row, or a row holds both, as a pairwise run's rows do."""
    swapped = columns.swapped
    if swapped is None:
        return {}
    if columns.pair:
        return {"position": position(frame, score, swapped, columns.pair, bootstrap=bootstrap)}
    schema = frame.collect_schema()
    if swapped in schema and not schema[swapped].is_float():
        raise SpecError([_TOGETHER])
    both = [same_run(schema, swapped, name) for name in _BOTH]
    given = same_run(schema, swapped, _GIVEN)
    if swapped != same_run(schema, swapped, _SWAPPED) or score not in both or given not in schema:
        given = score
    return {"position": position_of_orders(frame, given, swapped, item=columns.item, bootstrap=bootstrap)}


def _by_family(
    frame: pl.LazyFrame, score: str, columns: BiasColumns, bootstrap: Bootstrap
) -> dict[str, SelfPreference]:
    if not columns.own or columns.system is None or columns.human is None:
        return {}
    found = self_preference(
        frame, score, columns.human, columns.system, columns.own, item=columns.item, bootstrap=bootstrap
    )
    return {"self_preference": found}
