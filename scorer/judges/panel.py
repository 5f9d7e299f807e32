"""Panel: several models rate each generation by the same rubric, and their scores are aggregated.

A row is scored by the models that gave a readable score; only a row without any is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median, pstdev
from typing import Any

import pyarrow as pa

from scorer.errors import SpecError
from scorer.judges.criteria import names_of
from scorer.judges.options import choice_problems, option_names
from scorer.judges.rating import Rating
from scorer.judges.samples import most_telling
from scorer.judges.together import together
from scorer.types import Conversation, Row, Score


class Panel:
    """A `Judge`: the `aggregate` (mean, median or majority) of the scores that `models` give as `Rating` would.

    `models` are aliases of `[[models]]`; `rating` is whatever `Rating` takes, and `temperatures` are the models' own.
    All are asked at once, and each one as often as its own replies need. `Request.index` counts the requests of one
    model: stored replies belong to one, too.

    `score_<alias>` is each model's score, null where it gave none; further columns of `Rating` are aggregated as
    `score` is, over the models that gave them; reasons are listed, and `criteria_read` is the fewest.
    `disagreement` is the population standard deviation of the models' scores, null where fewer than two gave one.

    Raises: SpecError, with one sentence for each mistake.

    Source: Verga et al. 2024, "Replacing Judges with Juries", section 3 (average pooling and majority voting).
    """

    def __init__(
        self,
        *,
        models: Sequence[str] = (),
        aggregate: str = "mean",
        temperatures: Mapping[str, float | None] | None = None,
        **rating: Any,
    ) -> None:
        problems = [*model_problems(models), *choice_problems("aggregate", aggregate, tuple(AGGREGATES))]
        known = option_names(Rating) or ()
        problems += [
            f"judge.{name}: is unknown to panel; allowed are models, aggregate, {', '.join(known)}."
            for name in rating
            if name not in known
        ]
        given = {name: value for name, value in rating.items() if name in known}
        inner: Rating | None = None
        try:
            inner = Rating(**given)
        except SpecError as error:
            problems += error.problems
        taken = {f"score_{name}": "a criterion" for name in (names_of(rating.get("criteria")) if inner else ())}
        taken |= {field.name: "a column" for field in (inner.fields if inner else ()) if field.name not in taken}
        problems += [
            f"judge.models: {name!r} is {taken[f'score_{name}']} too; both would be column score_{name}. Rename one."
            for name in models
            if f"score_{name}" in taken
        ]
        if problems or inner is None:
            raise SpecError(problems)
        self._rating, self._aggregate = inner, AGGREGATES[aggregate]
        own = temperatures or {}
        self._judges = {
            alias: Rating(**{**given, "temperature": own[alias]}) if alias in own else inner for alias in models
        }
        self.models = tuple(models)
        self.columns, self.constant, self.unfenced = inner.columns, inner.constant, inner.unfenced
        self.leading = inner.leading
        self.fields: tuple[pa.Field, ...] = (
            *inner.fields,
            *(pa.field(f"score_{alias}", pa.float64()) for alias in models),
            pa.field("disagreement", pa.float64()),
        )

    def __call__(self, row: Row) -> Conversation:
        scores, errors = yield from together({alias: judge(row) for alias, judge in self._judges.items()})
        if not scores:
            raise most_telling(list(errors.values()))
        return self._score({alias: scores[alias] for alias in self.models if alias in scores})

    def specimen(self, n: int) -> str:
        """A reply that each of the models' judges reads; `n` picks the verdict."""
        return self._rating.specimen(n)

    def specimens_apart(self, n: int) -> list[tuple[str, str]]:
        """The ends of prompts, each with a reply to it, where criteria are asked apart; else none."""
        return self._rating.specimens_apart(n)

    def _score(self, scores: Mapping[str, Score]) -> Score:
        values = {alias: score.value for alias, score in scores.items()}
        reasons = [f"{alias}: {score.reason}" for alias, score in scores.items() if score.reason]
        return Score(
            value=self._aggregate(list(values.values())),
            reason="\n".join(reasons) or None,
            method=next(iter(scores.values())).method,
            samples=sum(score.samples for score in scores.values()),
            fields={
                **{field.name: self._joined(field, scores) for field in self._rating.fields},
                **{f"score_{alias}": values.get(alias) for alias in self.models},
                "disagreement": pstdev(values.values()) if len(values) > 1 else None,
            },
        )

    def _joined(self, field: pa.Field, scores: Mapping[str, Score]) -> Any:
        """A column of `Rating` over the models that gave it: reasons listed, the fewest criteria, values aggregated."""
        values = {alias: score.fields[field.name] for alias, score in scores.items()}
        given = {alias: value for alias, value in values.items() if value is not None}
        if not given:
            return None
        if field.type == pa.string():
            return "\n".join(f"{alias}: {value}" for alias, value in given.items())
        return min(given.values()) if field.type == pa.int32() else self._aggregate(list(given.values()))


def majority(values: Sequence[float]) -> float:
    """The most frequent value; where several are equally frequent, their mean: a tied vote lies between its sides."""
    counts = Counter(values)
    most = max(counts.values())
    return fmean(value for value, count in counts.items() if count == most)


AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "median": median, "majority": majority}


def model_problems(models: Any) -> list[str]:
    if isinstance(models, str) or not models or not all(isinstance(alias, str) and alias for alias in models):
        return [f"judge.models: {models!r} is not allowed; a list of aliases of [[models]] is."]
    twins = sorted({alias for alias in models if list(models).count(alias) > 1})
    return [f"judge.models: {alias!r} is there twice; a model has one voice. Remove one." for alias in twins]
