"""One question of a rating: its prompt about one or all criteria, the form of the reply, and how a reply is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scorer.errors import SetupError
from scorer.frozen import dataclass
from scorer.judges.asking import Asking, braced
from scorer.judges.criteria import Criterion, descriptions
from scorer.judges.reading.expected import expected
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.reasons import find_reason, find_reasons
from scorer.judges.reading.reply_body import Verdict
from scorer.judges.reading.verdicts import find, find_each, find_json, find_one, find_pattern
from scorer.judges.reply_form import ReplyForm
from scorer.judges.samples import Sample, joined_reasons, unread
from scorer.judges.talks import Question
from scorer.judges.template import Template
from scorer.types import Completion, Message, Row

_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """How replies are read: the run file's `read`, its `pattern`, and whether it sends the `schema` of a reply.

    `each`: every criterion has a reason of its own.
    """

    read: str
    pattern: re.Pattern[str] | None
    schema: bool
    each: bool

    @property
    def top_logprobs(self) -> int:
        """The alternatives that are asked for at each token."""
        return _TOP_LOGPROBS if self.read == "expected" else 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """The template `text`, the column of the `reference`, and whether the text says itself how to reply."""

    text: str
    reference: str | None
    form_given: bool

    def shown(self, about: str = "") -> str:
        """The template with what it says `about` the criteria, and the reference where it does not show it already."""
        text = self.text + braced(about)
        if self.reference is None or self.reference in Template(text).columns:
            return text
        return f"{text}\n\nA reference answer, to compare with; it is material too:\n{{{self.reference}:fenced}}"


class RatingQuestion:
    """What a judge model is asked about `criteria`, in one request, and what is read of its reply.

    The prompt is that of `prompt`, and the form of the reply where it does not say that itself or a reason is asked.
    `alone`: the one criterion is asked apart from others. It is named at the end, so that all requests about a row
    begin with the same text, and the reply has the form of a single score.

    Adds one sentence to `problems` for each mistake in the examples. Raises SpecError for a text that is no template.
    """

    def __init__(
        self,
        prompt: Prompt,
        criteria: Sequence[Criterion],
        asking: Asking,
        reading: Reading,
        problems: list[str],
        *,
        alone: bool = False,
    ) -> None:
        self.criteria, self._asking, self._reading, self._alone = criteria, asking, reading, alone
        self._names = tuple(one.name for one in criteria if one.name)
        self._one_scale = len({one.scale for one in criteria}) == 1
        self._is_plain = not self._names and reading.read in ("number", "label")
        self._explains = asking.explains
        self.form = self.form_of(criteria, asking, reading, alone=alone)
        self.schema = self.form.schema() if reading.schema else None
        self.follow = asking.follow(self.form.instruction())
        shown = prompt.shown("" if alone else descriptions(criteria))
        about = braced(_named(criteria[0])) if alone else ""
        self.template = Template(asking.prompt(shown + about, self.form.instruction(), not prompt.form_given))
        self._own = len(self.template.constant) - len(Template(shown).constant) if alone else 0
        self._opening = asking.opening(self.template, self.follow, self.reads, problems)
        self.constant = "\n".join((*(message.content for message in self._opening), self.template.constant))

    @staticmethod
    def form_of(criteria: Sequence[Criterion], asking: Asking, reading: Reading, *, alone: bool) -> ReplyForm:
        """The form of the reply: that of a single score where a criterion is asked `alone`."""
        asked = [replace(one, name="", description="") for one in criteria] if alone else criteria
        return ReplyForm(asked, asking, reading.read == "json", reading.each and not alone)

    def messages(self, row: Row) -> tuple[Message, ...]:
        """The messages of the first request. Raises BadRow."""
        message = self.template.message(row.values)
        if self._own:
            message = replace(message, ends=(*message.ends, len(message.content) - self._own))
        return (*self._opening, message)

    def about(self, row: Row) -> Question:
        """The question about a row. Raises BadRow."""
        return Question(self.messages(row), self.sample, self.follow, self.schema)

    def examples_of(self, one: Criterion, form: ReplyForm) -> list[Mapping[str, Any]]:
        """The examples, whose replies are about all criteria, with replies of `form` about one of them."""
        return [{**example, "reply": self._part(example["reply"], one, form)} for example in self._asking.examples]

    def _part(self, reply: str, one: Criterion, form: ReplyForm) -> str:
        verdicts = {name: verdict for name, verdict in self._verdicts(reply).items() if verdict is not None}
        whole = None if self.form.each else find_reason(reply, list(verdicts.values()))
        reason = whole or find_reasons(reply, self._names, verdicts).get(one.name)
        return form.reply({"": one.said(verdicts[one.name].value)}, reason or "")

    def reads(self, reply: str) -> bool:
        """Whether a reply gives a verdict for each criterion."""
        return None not in self._verdicts(reply).values()

    # --- one reply ----------------------------------------------------------------------------------------------------

    def sample(self, answer: Completion) -> Sample:
        """What a reply gives. Raises SetupError where the reading needs log-probabilities and it has none."""
        text = answer.text
        if self._is_plain and (verdict := find(text, self.criteria[0].scale)) is not None:
            return Sample({"": verdict.value}, find_reason(text, [verdict]) if self._explains else None)
        return self._sample_of_all(answer)

    def _sample_of_all(self, answer: Completion) -> Sample:
        """What a reply gives for each criterion, with the reason where it lacks one."""
        text = answer.text
        if self._reading.read == "expected" and text.strip():
            if not any(token.top for token in answer.logprobs or ()):
                raise SetupError(
                    'This server returned no log-probabilities; read = "expected" needs them, with alternatives, for '
                    "every reply token. Ask a server or a model that gives them (of stored replies, give whole ones, "
                    'as output.keep_raw = "full" stores them), or set judge.read = "number".'
                )
            text = "".join(token.token for token in answer.logprobs or ())
        verdicts = {name: verdict for name, verdict in self._verdicts(text).items() if verdict is not None}
        given = dict(self._values(answer, verdicts))
        sample = Sample(given)
        if given and self.form.each:
            reasons = find_reasons(text, self._names, {name: verdicts[name] for name in given})
            sample = replace(sample, reasons=reasons, reason=joined_reasons(reasons, self._names))
        elif given and self._explains:
            sample = replace(sample, reason=find_reason(text, list(verdicts.values())))
        missing = [one.name for one in self.criteria if one.name not in given]
        if not missing:
            return sample
        what = f"verdict for {', '.join(missing)}" if missing[0] else "verdict"
        return replace(sample, error=unread(answer, what, " on the scale"))

    def _verdicts(self, text: str) -> dict[str, Verdict | None]:
        first = self.criteria[0]
        if self._reading.pattern is not None and isinstance(first.scale, Numbers):
            return {"": find_pattern(text, self._reading.pattern, first.scale)}
        in_json = self._reading.read == "json"
        if self._alone:
            return {first.name: find_one(text, first.name, first.scale, in_json=in_json)}
        if not self._names and not in_json:
            return {"": find(text, first.scale)}
        find_all = find_json if in_json else find_each
        if self._one_scale:
            return find_all(text, self._names or ("",), first.scale)
        return {one.name: find_all(text, [one.name], one.scale)[one.name] for one in self.criteria}

    def _values(self, answer: Completion, verdicts: Mapping[str, Verdict]) -> Iterator[tuple[str, float]]:
        for one in self.criteria:
            verdict = verdicts.get(one.name)
            if verdict is None:
                continue
            value: float | None = verdict.value
            if self._reading.read == "expected":
                value = expected(answer.logprobs or (), one.labels, verdict)
            if value is not None:
                yield one.name, value


def questions_together(
    prompt: Prompt, criteria: Sequence[Criterion], asking: Asking, reading: Reading, problems: list[str]
) -> list[RatingQuestion]:
    """The one question about all criteria; see `RatingQuestion`."""
    return [RatingQuestion(prompt, criteria, asking, reading, problems)]


def questions_apart(
    prompt: Prompt, criteria: Sequence[Criterion], asking: Asking, reading: Reading, problems: list[str]
) -> list[RatingQuestion]:
    """A question for each criterion. The replies of examples are about all criteria; each question shows its part."""
    (whole,) = questions_together(prompt, criteria, asking, reading, problems)
    if problems:
        return [whole]
    parts = []
    for one in criteria:
        form = RatingQuestion.form_of([one], asking, reading, alone=True)
        own = replace(asking, examples=whole.examples_of(one, form))
        parts.append(RatingQuestion(prompt, [one], own, reading, problems, alone=True))
    return parts


def _named(one: Criterion) -> str:
    """What the prompt says of a criterion that is asked apart."""
    return f"\n\nRate by this criterion alone:\n{one.name}" + (f": {one.description}" if one.description else "")
