"""Cascade: a cheap model judges first, and where it is not sure enough a strong one does. One row, one score.

The threshold comes from `scorer cascade`, which learns it on human labels and promises how often kept verdicts agree
with people. Without a threshold both models judge every row: what `scorer cascade` needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import pstdev
from typing import Any

import pyarrow as pa

from scorer.errors import RowError, SpecError
from scorer.judges.options import choice_problems, option_names
from scorer.judges.pairwise import Pairwise
from scorer.judges.panel import model_problems
from scorer.judges.rating import Rating
from scorer.judges.samples import Sample
from scorer.judges.together import together
from scorer.types import Conversation, Request, Row, Score

FORMS: Mapping[str, type[Rating] | type[Pairwise]] = {"rating": Rating, "pairwise": Pairwise}
"""What the models are asked for: `judge.of`."""
_SPREAD = "\0spread"


class Cascade:
    """A `Judge`: the score of the first of two `models` where its confidence is `threshold` or more, else the second's.

    `of` is what both are asked for, "rating" or "pairwise"; `options` are the options of that judge. The first model is
    asked for `samples` replies (ratings: two or more), the second for `last_samples`. The confidence of a preference is
    twice its distance from .5; that of a rating is 1 less twice the population standard deviation of its samples over
    the width of the scale, none where fewer than two were read. A row of which the first model gives no verdict goes to
    the second; a row of which the second gives none is its error. Without `threshold` both models are asked at once
    about every row, and the score is the second's.

    Columns: those of `of` by the model that decided; `score_<alias>` of each model that was asked; `confidence`;
    `decided_by`, the alias; `kept`, whether the first model's verdict was kept, null without a threshold.

    Raises: SpecError, with one sentence for each mistake.

    Source: Jung, Brahman and Choi (2025), "Trust or Escalate: LLM Judges with Provable Guarantees for Human Agreement",
    ICLR, arXiv 2407.18370, section 3.2 (cascaded selective evaluation); confidence by simulated samples, section 2.2.
    """

    def __init__(
        self,
        *,
        models: Sequence[str] = (),
        threshold: float | None = None,
        of: str = "rating",
        last_samples: int = 1,
        temperatures: Mapping[str, float | None] | None = None,
        **options: Any,
    ) -> None:
        problems = [*model_problems(models), *choice_problems("of", of, tuple(FORMS))]
        if not problems and len(models) != 2:
            problems.append(
                f"judge.models: {list(models)!r} is not allowed; a cascade has two: a cheap one, a strong one."
            )
        if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, int | float)):
            problems.append(f"judge.threshold: {threshold!r} is not allowed; a number is, as scorer cascade tells it.")
        form = FORMS.get(of, Rating)
        known = option_names(form) or ()
        own = "models, threshold, of, last_samples"
        problems += [
            f"judge.{name}: is unknown to a cascade of {of}; allowed are {own}, {', '.join(known)}."
            for name in options
            if name not in known
        ]
        if options.get("versus_reference"):
            problems.append("judge.versus_reference: a cascade does not take it. Remove it.")
        samples = options.get("samples", 1)
        if of == "rating" and isinstance(samples, int) and samples < 2:
            problems.append(
                f"judge.samples = {samples} is not allowed in a cascade of ratings; it must be 2 or more: how close "
                "the samples are is how sure the first model is."
            )
        given = {name: value for name, value in options.items() if name in known}
        judges: list[Rating | Pairwise] = []
        try:
            temperature = temperatures or {}
            for alias, part in zip(models, (given, {**given, "samples": last_samples}), strict=False):
                warm = {"temperature": temperature[alias]} if alias in temperature else {}
                first = not judges
                judges.append((_SpreadRating if first and form is Rating else form)(**{**part, **warm}))
        except SpecError as error:
            problems += error.problems
        if problems or len(judges) < 2:
            raise SpecError(list(dict.fromkeys(problems)))
        self.models = tuple(models)
        self._first, self._last = judges
        self._threshold = threshold
        scale = options.get("scale", (1, 5))
        self._width = float(scale[1] - scale[0]) if of == "rating" else 1.0
        self.columns, self.constant = self._first.columns, self._first.constant
        self.unfenced = self._first.unfenced
        self.fields: tuple[pa.Field, ...] = (
            *self._last.fields,
            *(pa.field(f"score_{alias}", pa.float64()) for alias in models),
            pa.field("confidence", pa.float64()),
            pa.field("decided_by", pa.string()),
            pa.field("kept", pa.bool_()),
        )

    def __call__(self, row: Row) -> Conversation:
        first, last = self.models
        if self._threshold is None:
            scores, errors = yield from together({first: self._first(row), last: self._last(row)})
        else:
            scores, errors = yield from together({first: self._first(row)})
        sure = self._confidence(scores.get(first))
        if self._threshold is not None:
            if sure is not None and sure >= self._threshold:
                return self._score(first, scores, sure, kept=True)
            more, wrong = yield from together({last: self._last(row)})
            scores |= more
            errors |= wrong
        if last not in scores:
            raise errors[last]
        return self._score(last, scores, sure, kept=None if self._threshold is None else False)

    def specimen(self, n: int) -> str:
        """A reply that both models' judges read; `n` picks the verdict."""
        return self._last.specimen(n)

    def specimens_apart(self, n: int) -> list[tuple[str, str]]:
        """The ends of prompts, each with a reply to it, where criteria are asked apart; else none."""
        return self._last.specimens_apart(n) if isinstance(self._last, Rating) else []

    def every_request(self, row: Row) -> list[Request]:
        """The requests of a row about which both models are asked: the most that a row costs."""
        requests = []
        for alias, judge in zip(self.models, (self._first, self._last), strict=True):
            try:
                requests += [replace(request, model=alias) for request in next(judge(row))]
            except StopIteration:
                continue
        return requests

    def _confidence(self, score: Score | None) -> float | None:
        if score is None:
            return None
        if _SPREAD not in score.fields:
            return abs(2 * score.value - 1)
        spread = score.fields[_SPREAD]
        return None if spread is None else 1 - 2 * spread / self._width

    def _score(self, alias: str, scores: Mapping[str, Score], sure: float | None, *, kept: bool | None) -> Score:
        decided = scores[alias]
        return Score(
            value=decided.value,
            reason=decided.reason,
            method=decided.method,
            samples=sum(score.samples for score in scores.values()),
            fields={
                **{name: value for name, value in decided.fields.items() if name != _SPREAD},
                **{f"score_{name}": scores[name].value if name in scores else None for name in self.models},
                "confidence": sure,
                "decided_by": alias,
                "kept": kept,
            },
        )


class _SpreadRating(Rating):
    """`Rating` whose score has the spread of its samples in a field of its own, None where fewer than two were read.

    A sample's value is the weighted mean of its criteria.
    """

    def _score(self, taken: Sequence[Sample]) -> Score:
        score = super()._score(taken)
        values = []
        for sample in taken:
            try:
                values.append(super()._score([sample]).value)
            except RowError:
                continue
        return replace(score, fields={**score.fields, _SPREAD: pstdev(values) if len(values) > 1 else None})
