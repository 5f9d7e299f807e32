"""Rows to read as a frame: the command `scorer show` as a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import polars as pl

from scorer.report.columns import GivenColumns
from scorer.report.show import Asked
from scorer.report.show import show as show_rows
from scorer.report.show_values import show_frame


class RowColumns(TypedDict, total=False):
    """The columns by what they are, where their names do not tell."""

    score: str
    human: str
    item: str
    system: str
    task: str
    response: str
    reference: str


def show(
    out: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
    *,
    worst: int = 0,
    best: int = 0,
    random: int = 0,
    failed: int = 0,
    unread: int = 0,
    too_high: int = 0,
    too_low: int = 0,
    flips: int = 0,
    spread: int = 0,
    judges: int = 0,
    rows: Sequence[str] = (),
    where: str | None = None,
    n: int = 5,
    seed: int = 0,
    **columns: Unpack[RowColumns],
) -> pl.DataFrame:
    """Rows to read, one for each pick and row, with whole texts: prompt, generation, verdicts, reason, human value.

    `out` is an output folder or its run file, or several over the same input. Each number asks for so many rows of a
    kind: the `worst` and the `best` scores, `random` rows (drawn with `seed`), `failed` rows, those `unread` for want
    of a verdict, scores farthest above (`too_high`) or below (`too_low`) the human values, verdicts that flip with the
    order (`flips`), the widest `spread` of samples or of a panel, and rows on which the `judges` of several folders
    differ most. True asks for `n` rows. `rows` names rows by their id or as "<shard number>:<row>". `where` is a SQL
    condition that all picks keep to; alone it shows the first `n` rows. Without any of these: the worst, the best and
    three random rows. `columns` are score, human, item, system, task, response and reference, where names do not tell.

    `pick` is the kind and `by` the value that the row was picked by; `weight` of a random row is one over its inclusion
    probability. `verdicts` has a struct for each reading. Raises SpecError for what the run does not have.
    """
    numbers = {
        "worst": worst, "best": best, "random": random, "failed": failed, "unread": unread, "too_high": too_high,
        "too_low": too_low, "flips": flips, "spread": spread, "judges": judges,
    }  # fmt: skip
    picks = {kind: n if number is True else number for kind, number in numbers.items() if number}
    asked = Asked(picks, tuple(rows), where, n, seed, GivenColumns(**columns))
    return show_frame(show_rows(out, asked, verbatim=True))
