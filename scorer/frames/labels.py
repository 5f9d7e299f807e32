"""`scorer.label`: the rows that a person labels next, as a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scorer.analysis.join_labels import join_labels, keys_of, open_labels
from scorer.analysis.label_plan import LabelPlan
from scorer.analysis.open_table import open_table, score_columns
from scorer.errors import SpecError
from scorer.report.label_file import HUMAN, draw_labels


def label(
    table: Any,
    output: str | Path | None = None,
    score: str = "score",
    *,
    n: int | None = None,
    within: float | None = None,
    system: str | None = None,
    task: str | None = None,
    show: Sequence[str] = (),
    on: Sequence[str] = (),
    labels: str | Path | None = None,
    human: str = HUMAN,
    simple: bool = False,
    seed: int = 0,
) -> LabelPlan:
    """Draws rows for a person to label, at random within strata, and writes them as CSV without the judge's score.

    `table` is a path, or several output folders over the same input; `score` is the column of scores. `n` rows are
    drawn (60 by default), or as many as give the mean of all rows +- `within` (95 %). Strata are by `system`, `task`
    and score; with `simple` there are none. `output` is the CSV file, None for the plan alone; it is never written
    over. `show` are the columns that the person sees, by default those of the judge's prompt, and `on` those that name
    a row, by default shard and row. `labels` is a file with the labels so far, in its column `human`: they are taken
    over, and measure the precision. Another `seed` draws other rows.

    The plan has `rows` (places in the table, in a random order), `strata` with the number `drawn` of each, `precision`
    (half of the 95 % interval by the number of labels) and `needed`. Fill in the column human_label of the file, and
    give it to `scorer.estimate(table, human="human_label", labels=output)`.

    Raises SpecError for columns that are missing or cannot serve and where `output` is there.
    """
    frame = open_table(table)
    scores = score_columns(frame, table, [score])
    if len(scores) != 1:
        raise SpecError([f"score names {', '.join(scores)}: rows are drawn by one score. Give NAME.score."])
    if labels is not None:
        keys = list(on) or keys_of(labels, frame)
        frame = join_labels(frame, open_labels(labels, frame, keys), keys, [human])
    return draw_labels(
        frame,
        table,
        scores[0],
        None if output is None else str(output),
        show=show,
        on=on,
        human=None if labels is None else human,
        system=system,
        task=task,
        n=n,
        within=within,
        simple=simple,
        seed=seed,
    )
