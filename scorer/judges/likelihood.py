"""Likelihood: the log-probability of the response given the prompt. No verdict is asked or read.

It suits source-grounded tasks, where a small model tells a faithful response from an invented one. On open-ended tasks
it is at chance.

Source: Yuan, Neubig and Liu 2021, "BARTScore", eq. 2 with equal weights, divided by the length; Fu et al. 2023,
"GPTScore", eq. 1 with weights 1/m.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from scorer.errors import BadRow, RowError, SetupError, SpecError, Unreadable
from scorer.judges.shown_values import as_text
from scorer.judges.template import Template
from scorer.types import Conversation, Request, Row, Score

RUBRICS = {"grounded": "{source}\n\n{instruction}\n\nAnswer:"}
"""Built-in prompts by name; "grounded" reads the columns `source` and `instruction`."""

_OF_RATING = frozenset(
    {"system", "scale", "criteria", "samples", "read", "reason", "examples", "reference", "attempts", "labels"}
    | {"ask_criteria"}
)


class Likelihood:
    """A `Judge`: the mean natural log-probability of the response's tokens, and their 10 % quantile.

    The filled `prompt` (or built-in `rubric`) goes as raw text, without a chat template, then one space and the column
    `response`. `keys` are columns copied to `Request.key`. `options` exist to be refused by name.

    Raises: SpecError, with one sentence for each mistake.
    """

    __slots__ = ("_keys", "_prompt", "_response", "columns", "constant", "fields")

    def __init__(
        self,
        *,
        prompt: str | None = None,
        rubric: str | None = None,
        response: str = "response",
        keys: Sequence[str] = (),
        **options: Any,
    ) -> None:
        problems = [_refusal(name) for name in options]
        text = prompt
        if prompt is not None and rubric is not None:
            problems.append("judge.prompt and judge.rubric: both are given; one of them is allowed.")
        elif rubric is not None:
            text = RUBRICS.get(rubric)
            if text is None:
                problems.append(f"judge.rubric: {rubric!r} is unknown to likelihood; allowed: {', '.join(RUBRICS)}.")
        elif prompt is None:
            problems.append('judge.prompt: missing; likelihood needs a prompt, or rubric = "grounded".')
        template = None
        if text is not None:
            try:
                template = Template(text)
            except SpecError as error:
                problems += error.problems
        if template is not None and not template.columns:
            problems.append("judge.prompt: holds no {column}; a likelihood given nothing of the row says little.")
        if template is not None and response in template.columns:
            problems.append(f"judge.prompt: shows {{{response}}}, the response itself; it would only be copied.")
        if problems or template is None:
            raise SpecError(problems)
        self._prompt = template
        self._response = response
        self._keys = tuple(keys)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys((*template.columns, response, *keys)))
        self.fields: tuple[pa.Field, ...] = (pa.field("score_q10", pa.float64()),)
        self.constant = f"{template.constant} "

    def __call__(self, row: Row) -> Conversation:
        request = Request(
            prompt=self._prompt.fill(row.values),
            continuation=self._given(row),
            key={name: row.values.get(name) for name in self._keys},
            tokens=row.tokens,
        )
        (answer,) = yield [request]
        if isinstance(answer, RowError):
            raise answer
        if not answer.logprobs:
            raise SetupError('The model gave no log-probabilities; kind = "likelihood" scores by nothing else.')
        logprobs = [token.logprob for token in answer.logprobs]
        if not all(map(math.isfinite, logprobs)):
            raise Unreadable("A token of the response has no finite log-probability.")
        return Score(
            value=math.fsum(logprobs) / len(logprobs),
            method="likelihood",
            fields={"score_q10": quantile(logprobs, 0.1)},
        )

    def _given(self, row: Row) -> str:
        response = as_text(self._response, row.values.get(self._response))
        if not isinstance(response, str):
            what = "null" if response is None else f"a {type(response).__name__}"
            raise BadRow(f"Column {self._response!r} is {what}; likelihood needs a string.")
        if not response.strip():
            raise BadRow(f"Column {self._response!r} is empty; nothing has no likelihood.")
        return response


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile with linear interpolation between order statistics, as numpy's default.

    Source: Hyndman and Fan 1996, definition 7. `quantile([0, 1, 2], 0.25)` is 0.5.
    """
    ranked = sorted(values)
    place = q * (len(ranked) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (place - below)


def _refusal(name: str) -> str:
    if name in _OF_RATING:
        return f'judge.{name}: is for kind = "rating"; likelihood asks no verdict. Remove it.'
    return f"judge.{name}: is unknown to likelihood; allowed are prompt, rubric, response and keys."
