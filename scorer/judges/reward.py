"""Reward: the value that a reward model or a classifier gives the response. Nothing is asked in words, none is read.

Beside a reference the two values become the probability that the response is preferred to it.

Source: Bradley and Terry 1952, "Rank analysis of incomplete block designs", as reward models are trained: Ouyang et al.
2022, "Training language models to follow instructions with human feedback", eq. 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

from scorer.class_values import ClassValues, read
from scorer.errors import BadRow, RowError, SetupError, SpecError, Unreadable
from scorer.judges.options import choice_problems
from scorer.judges.shown_values import plain, shown
from scorer.judges.template import Template
from scorer.types import Classify, Completion, Conversation, Message, Request, Row, Score

FORMS = ("chat", "text", "pair")
VALUES = ("logit", "probability")
_ROLES = frozenset({"system", "user", "assistant"})


class Reward:
    """A `Judge`: the value of one class of a classifier, or of a reward model's only output.

    `form` is what is classified: "chat", the conversation of `system`, the filled `prompt` (or the messages of a
    conversation, where the prompt is nothing but its column) and the column `response` as the last reply; "text", the
    filled `prompt` alone, which shows the response; "pair", the filled `prompt` and the response as two texts.
    `value` is "logit", before the activation function, or "probability", after it. `label` is the class that counts:
    its name, or its place from 0. With `reference` (a column) two requests are made, and the score is the probability
    sigma(score_response - score_reference); both logits are columns. `keys` are columns copied to `Request.key`.

    Raises: SpecError, with one sentence for each mistake.
    """

    __slots__ = (
        "_classify", "_keys", "_label", "_prompt", "_reference", "_response", "_system", "_turns", "columns",
        "constant", "fields",
    )  # fmt: skip

    def __init__(
        self,
        *,
        prompt: str | None = None,
        system: str | None = None,
        response: str = "response",
        reference: str | None = None,
        form: Literal["chat", "text", "pair"] = "chat",
        value: Literal["logit", "probability"] = "logit",
        label: str | int | None = None,
        keys: Sequence[str] = (),
    ) -> None:
        problems = [*choice_problems("form", form, FORMS), *choice_problems("value", value, VALUES)]
        problems += _label_problems(label)
        if system is not None and form != "chat":
            problems.append('judge.system: only form = "chat" has a system message. Remove it.')
        if reference is not None and value != "logit":
            problems.append('judge.reference: the pair is compared by its logits. Remove judge.value = "probability".')
        template = _template(prompt, response, form, problems)
        if problems or template is None:
            raise SpecError(problems)
        self._prompt, self._system, self._response, self._reference = template, system, response, reference
        self._classify = Classify(form, value == "probability")
        self._label = label
        self._keys = tuple(keys)
        alone = prompt is not None and form == "chat" and prompt.strip() == f"{{{template.columns[0]}}}"
        self._turns = template.columns[0] if alone else None
        own = (response,) if reference is None else (response, reference)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys((*template.columns, *own, *keys)))
        self.constant = f"{system or ''}{template.constant}"
        pair = (pa.field("score_response", pa.float64()), pa.field("score_reference", pa.float64()))
        self.fields: tuple[pa.Field, ...] = (pa.field("label", pa.string()),) if reference is None else pair

    def __call__(self, row: Row) -> Conversation:
        texts = [self._text(row, name) for name in (self._response, self._reference) if name is not None]
        key = {name: row.values.get(name) for name in self._keys}
        answers = yield [
            Request(
                messages=self._messages(row.values, text), key=key, index=n, tokens=row.tokens, classify=self._classify
            )
            for n, text in enumerate(texts)
        ]
        found = [self._value(answer) for answer in answers]
        if self._reference is None:
            ((value, classes),) = found
            method = "probability" if self._classify.activation else "logit"
            return Score(value, method=method, fields={"label": classes.likeliest})
        (first, _), (second, _) = found
        fields = {"score_response": first, "score_reference": second}
        return Score(sigma(first - second), method="preference", samples=2, fields=fields)

    def _text(self, row: Row, column: str) -> str:
        value = row.values.get(column)
        if value is None:
            raise BadRow(f"Column {column!r} is null; there is nothing to classify.")
        return plain(shown(column, value))

    def _messages(self, values: Mapping[str, Any], text: str) -> tuple[Message, ...]:
        form = self._classify.form
        if form == "text":
            return (Message("user", self._prompt.fill({**values, self._response: text})),)
        asked = self._asked(values)
        system = () if self._system is None else (Message("system", self._system),)
        return (*system, *asked, Message("assistant", text))

    def _asked(self, values: Mapping[str, Any]) -> tuple[Message, ...]:
        """What the response answers: the filled prompt, or the messages of the conversation that the prompt shows."""
        if self._turns is not None and not isinstance(turns := shown(self._turns, values.get(self._turns)), str):
            if wrong := [turn.role for turn in turns if turn.role not in _ROLES]:
                raise BadRow(
                    f"Column {self._turns!r}: a message has the role {wrong[0]!r}; allowed are {', '.join(_ROLES)}."
                )
            return tuple(Message(turn.role, turn.text) for turn in turns)
        return (Message("user", self._prompt.fill(values)),)

    def _value(self, answer: Completion | RowError) -> tuple[float, ClassValues]:
        if isinstance(answer, RowError):
            raise answer
        classes = read(answer.text)
        if classes is None:
            raise Unreadable("The reply holds no value of a class.")
        value = classes.values[self._place(classes)]
        if value is None:
            raise Unreadable("The model's value is no finite number.")
        return value, classes

    def _place(self, classes: ClassValues) -> int:
        """Where the value of `label` stands. Raises SetupError where the reply does not tell."""
        count, label, names = len(classes.values), self._label, classes.labels
        if count == 1 and label in (None, 0, names[0]):
            return 0
        named = all(name is not None for name in names)
        if isinstance(label, str) and label in names:
            return names.index(label)
        if isinstance(label, int) and not named and label < count:
            return label
        if named:
            allowed = f"one of {', '.join(repr(name) for name in names)}"
        else:
            detail = " and names only the likeliest" if any(names) else " and names none"
            allowed = f"a place from 0 to {count - 1} (id2label in the model's config.json)"
            allowed = f"{allowed}, since the server gives {count} values{detail}"
        what = "missing" if label is None else f"{label!r} is none of the model's classes"
        raise SetupError(f"judge.label: {what}. Allowed is {allowed}.")


def sigma(difference: float) -> float:
    """The logistic function, without overflow."""
    if difference >= 0:
        return 1 / (1 + math.exp(-difference))
    raised = math.exp(difference)
    return raised / (1 + raised)


def _label_problems(label: Any) -> list[str]:
    good = label is None or (isinstance(label, str) and label.strip())
    good = good or (isinstance(label, int) and not isinstance(label, bool) and label >= 0)
    return [] if good else [f"judge.label: {label!r} is not allowed; a class's name or its place from 0 is."]


def _template(prompt: Any, response: str, form: str, problems: list[str]) -> Template | None:
    if not isinstance(prompt, str):
        problems.append('judge.prompt: missing; reward needs one, such as prompt = "{instruction}".')
        return None
    try:
        template = Template(prompt)
    except SpecError as error:
        problems += error.problems
        return None
    shows = response in template.columns
    if form == "text" and not shows:
        problems.append(f'judge.prompt: does not show {{{response}}}; with form = "text" it is all that is classified.')
    if form != "text" and shows:
        problems.append(
            f'judge.prompt: shows {{{response}}}, which follows by itself. Remove it, or set judge.form = "text".'
        )
    if not template.columns and not problems:
        problems.append("judge.prompt: holds no {column}; name what the response answers.")
    return template
