"""Format bias: the same answer as JSON, markdown, bullets and capitals, and the change of its score.

The words stay, the layout changes. A judge that scores the content alone gives every form the same score.
Knows no judge: it makes the forms and compares their scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap, Interval, mean
from scorer.analysis.columns import compact, take
from scorer.analysis.correlation import Floats
from scorer.errors import SpecError

AS_IS = "as_is"
ANSWER, FORM = "bias_answer", "bias_format"
"""The columns that number the answers, and name the form of each row."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")


def as_json(text: str) -> str:
    """An object of one key: as_json('Yes.') is '{"response": "Yes."}'. Reading it gives the text back."""
    return json.dumps({"response": text}, ensure_ascii=False)


def as_markdown(text: str) -> str:
    """A heading, and the first sentence in bold: as_markdown("Yes. No.") is "## Response", a blank line, "**Yes.** No."

    Without the heading and the first two pairs of asterisks it is the text again, but for white space at its start.
    """
    text = text.lstrip()
    end = _SENTENCE_END.search(text)
    first = text[: end.start()] if end else text
    return f"## Response\n\n**{first}**{text[len(first) :]}"


def as_bullets(text: str) -> str:
    """Every sentence, and every line, a point of a list: as_bullets("Yes. No.") is "- Yes." and "- No." on two lines.

    The words and their order stay; which white space stood between sentences is lost.
    """
    return "\n".join(f"- {sentence}" for sentence in _SENTENCE_END.split(text.strip()))


def as_upper_case(text: str) -> str:
    """Capitals throughout, by Unicode's rules: a sharp s becomes SS. Which letters were small is lost."""
    return text.upper()


FORMATS: Mapping[str, Callable[[str], str]] = {
    AS_IS: str,
    "json": as_json,
    "markdown": as_markdown,
    "bullets": as_bullets,
    "upper_case": as_upper_case,
}


@dataclass(frozen=True, slots=True)
class Drift:
    """A form against the answer as it is, paired over the `n` answers that have a value in both.

    `lost` further answers have a value as they are and none in this form: the judge could not, or would not, read it.
    `mean` is that of the form, `drift` the mean of (form less as it is), `in_sd` the same in standard deviations of the
    values as they are; `moved` is the share of answers whose value changed at all. None where nothing is defined.
    """

    n: int
    lost: int
    mean: float | None
    drift: float | None
    interval: Interval | None
    in_sd: float | None
    moved: float | None


@dataclass(frozen=True, slots=True)
class FormatBias:
    """The drift of one column of scores by form.

    `again` is the noise level: the unchanged answers scored once more, against the values that the run
    stored; None for columns that the run did not have.
    """

    answers: int
    formats: Mapping[str, Drift]
    again: Drift | None

    def json(self) -> dict[str, Any]:
        return asdict(self)


def reformatted(answers: pl.DataFrame, text: str) -> pl.DataFrame:
    """A row for each answer and form: `text` in that form, `bias_format` its name, every other column as it was.

    `answers` has a row for each, numbered by `bias_answer`. The forms of an answer follow one another.
    """
    forms = [
        answers.with_columns(
            pl.Series(text, [make(value) for value in answers[text].to_list()], dtype=pl.String),
            pl.lit(name).alias(FORM),
        )
        for name, make in FORMATS.items()
    ]
    return pl.concat(forms).sort(ANSWER, maintain_order=True)


def drift(
    scored: pl.LazyFrame,
    score: str,
    *,
    stored: pl.DataFrame | None = None,
    item: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> FormatBias:
    """How far a column of scores drifts with the form of the answer.

    `scored` holds `bias_answer`, `bias_format` and the score of each; `stored` the run's own scores by `bias_answer`.
    Intervals are from the bootstrap over answers, or over items where their column is named.
    Raises SpecError for columns that cannot serve and where fewer than two answers have a score as they are.
    """
    columns = take(scored, [score, ANSWER], [FORM, *([item] if item else [])])
    values, code = columns.floats(score), columns.floats(ANSWER).astype(np.int64)
    answer, numbers = compact(code)
    count = len(numbers)
    form = columns.names(FORM).to_numpy()
    by_form = {name: np.full(count, np.nan) for name in FORMATS}
    cluster = np.zeros(count, dtype=np.int64)
    cluster[answer] = columns.coded(item) if item else answer
    for name, of_answers in by_form.items():
        of_answers[answer[form == name]] = values[form == name]
    plain = by_form.pop(AS_IS)
    if np.isfinite(plain).sum() < 2:
        raise SpecError(
            [f"{np.isfinite(plain).sum()} answers have a {score} as they are; drift with their form needs two or more."]
        )

    def against(before: Floats, after: Floats) -> Drift:
        return _drift(before, after, cluster, bootstrap)

    again = None
    if stored is not None:
        known = pl.DataFrame({ANSWER: numbers}).join(stored.select(ANSWER, "value"), on=ANSWER, how="left")
        again = against(known.sort(ANSWER)["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy(), plain)
    return FormatBias(count, {name: against(plain, of_answers) for name, of_answers in by_form.items()}, again)


def _drift(before: Floats, after: Floats, cluster: np.ndarray[Any, Any], bootstrap: Bootstrap) -> Drift:
    known = np.isfinite(before)
    both = known & np.isfinite(after)
    n, lost = int(both.sum()), int((known & ~both).sum())
    if not n:
        return Drift(0, lost, None, None, None, None, None)
    gap = after[both] - before[both]
    # The deviation of equal numbers that are no binary fraction is not quite 0.
    deviation = float(before[known].std()) if np.ptp(before[known]) > 0 else None
    drawn = bootstrap.draw(compact(cluster[both])[0])
    return Drift(
        n=n,
        lost=lost,
        mean=float(after[both].mean()),
        drift=float(gap.mean()),
        interval=drawn.interval(mean(gap, drawn)) if drawn else None,
        in_sd=float(gap.mean()) / deviation if deviation else None,
        moved=float((gap != 0).mean()),
    )
