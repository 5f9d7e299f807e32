"""The contents of a report page as plain values: what each panel shows. Knows no polars, no files and no HTML.

`scorer.report.page` computes them from the results of a run, `scorer.report.html` writes them as a page. All panels
describe one population, `Page.population`. None where a value is unknown or does not apply; an empty panel is None in
`Page`, with a sentence in `Page.empty` that says what would fill it.
The rows to read are in row_list.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scorer.report.page.row_list import RowId, RowList, Rows


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic with its 95 % interval. `low` and `high` are None where there is no interval; `n` counts its rows."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence in the strip, and the id of the panel that it is about."""

    text: str
    panel: str


@dataclass(frozen=True, slots=True)
class Strip:
    """Panel 0: which run this is and how far it is. `cost_usd` is None where the model has no price."""

    runs: Sequence[str]
    judges: Sequence[str]
    finished_at: str | None
    rows_done: int
    rows: int
    state: str
    cost_usd: float | None
    maybe_billed_usd: float | None
    notices: Sequence[Notice]


@dataclass(frozen=True, slots=True)
class Answer:
    """Panel 1: a sentence on the systems and one on the judge.

    `tipping` says what would change the first; `assumes` are the assumptions of each. `command` is the one to type
    where no rows are labelled.
    """

    systems: str
    tipping: str | None
    judge: str
    assumes: Sequence[str]
    command: str | None = None


@dataclass(frozen=True, slots=True)
class System:
    """One row of panel 2. `rank` is the best and the worst place that the system may have, None while withheld.

    `tied` names the systems that cannot be told apart from this one. `acceptable` is the share of scores at or above
    the bar, where one is given. `mean_cost_usd` is that of a row. `others` are the means by the other judges, by the
    names of their runs, over the rows of the page that each of them scored.
    """

    name: str
    score: Interval
    rank: tuple[int, int] | None
    tied: Sequence[str]
    acceptable: Interval | None
    unscored: int
    mean_cost_usd: float | None
    rows: Rows
    others: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """The difference of two systems, `a` minus `b`, over the items of both; `rows` are where they differ most."""

    a: str
    b: str
    difference: Interval
    rows: Sequence[tuple[RowId, RowId]]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many rows have a score in each bin. `edges` has one value more than `counts` and `rows`; the last bin holds
    its upper edge. `system` and `task` are None for all of them."""

    edges: Sequence[float]
    counts: Sequence[int]
    rows: Sequence[Rows]
    system: str | None = None
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Systems:
    """Panel 2. `withheld` says why there are no ranks; `interval` names the kind of intervals and their source.

    `scale` is the judge's, or with `observed` from the lowest to the highest score. `hidden` counts the systems beyond
    the limit of the page. Without a system column `systems` is empty and the
    histograms stand alone.
    """

    score: str
    scale: tuple[float, float]
    systems: Sequence[System]
    pairs: Sequence[Pair]
    histograms: Sequence[Histogram]
    withheld: str | None
    interval: str
    notes: Sequence[str] = ()
    hidden: int = 0
    observed: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A system in a task: mean score and the rows behind it."""

    system: str
    task: str
    score: Interval
    rows: Rows


@dataclass(frozen=True, slots=True)
class Where:
    """Panel 3: system by task. Pairs that have no rows have no cell."""

    systems: Sequence[str]
    tasks: Sequence[str]
    cells: Sequence[Cell]
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Confusion:
    """Judge (columns) against people (rows), each by its values or bins; `cells[h][j]` are the rows of both."""

    human: str
    people: Sequence[str]
    judge: Sequence[str]
    cells: Sequence[Sequence[Rows]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The mean human value of the rows whose score is in a bin, by bins of rising score."""

    score: float
    human: Interval
    rows: Rows


@dataclass(frozen=True, slots=True)
class Statistic:
    """A named figure of panel 4 with the sentence that says what it means (`position bias`, `ceiling` ...)."""

    name: str
    value: Interval
    meaning: str
    rows: Rows | None = None
    of: str = "row"
    none: float | None = None


@dataclass(frozen=True, slots=True)
class Scatter:
    """Length against score, in bins of length: mean score of each."""

    length: Sequence[float]
    score: Sequence[Interval]


@dataclass(frozen=True, slots=True)
class Judge:
    """Panel 4: how far the judge can be trusted.

    `between` is the agreement of two judges on the same rows, where the page is of several runs: `people` are then the
    values of the judge that `human` names.
    """

    agreement: Sequence[Statistic]
    ceiling: Statistic | None
    confusion: Confusion | None
    calibration: Sequence[Calibration]
    bias: Sequence[Statistic]
    length: Scatter | None
    notes: Sequence[str] = ()
    between: Sequence[Confusion] = ()


@dataclass(frozen=True, slots=True)
class Curve:
    """Scores of one training mix by step."""

    mix: str
    steps: Sequence[float]
    scores: Sequence[Interval]
    rows: Sequence[Rows]


@dataclass(frozen=True, slots=True)
class Training:
    """Panel 6: curves by step. `margin` is the band around the last step that counts as no difference."""

    step: str
    curves: Sequence[Curve]
    margin: float | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Rows that failed with one error, and the message of an example."""

    name: str
    rows: Rows
    example: str


@dataclass(frozen=True, slots=True)
class Series:
    """A figure over the time of the run: `at` are seconds since its first row."""

    name: str
    unit: str
    at: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Suspect:
    """Rows of a run in `folder` that were finished from `since` to `until` (UTC), while its judge had drifted."""

    run: str
    folder: str
    since: str
    until: str
    rows: Rows


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Panel 7: errors, unread rows by system, tokens and money, and what limited the run over time."""

    errors: Sequence[ErrorCount]
    unread: Sequence[tuple[str, Interval]]
    totals: Mapping[str, str]
    series: Sequence[Series]
    suspects: Sequence[Suspect] = ()


@dataclass(frozen=True, slots=True)
class How:
    """Panel 8: what reproduces the page. `run_file` has no keys; `assumes` says what each kind of number assumes."""

    run_file: str
    prompt: str
    versions: Mapping[str, str]
    assumes: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Page:
    """One report. `population` says in a sentence which rows all panels count, and `left_out` what they do not."""

    title: str
    written_at: str
    population: str
    left_out: Sequence[str]
    strip: Strip
    answer: Answer
    systems: Systems | None
    where: Where | None
    judge: Judge | None
    rows: RowList | None
    training: Training | None
    run: RunFacts
    how: How
    empty: Mapping[str, str] = field(default_factory=dict)
    shards: Sequence[str] = ()
    """Paths of the shards that the cards name, by number."""
    folders: Sequence[str] = ()
    """The output folders as they were given, for commands: `scorer show FOLDER ...`."""
    texts: bool = True
    """Whether texts of rows are inside; False with `--rows 0`."""
