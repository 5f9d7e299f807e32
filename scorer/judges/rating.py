"""Rating: the judge model reads a prompt about one generation and replies with a score, or one for each criterion.

A row takes one or several samples of the same request, sent at once; unreadable ones are requested again. A verdict
that was not read is null or an error, never a default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, Unpack

import pyarrow as pa

from scorer.errors import RowError, SetupError, SpecError
from scorer.judges.asking import Asking, Options, asking_of, braced
from scorer.judges.criteria import are_tables, criteria_of
from scorer.judges.options import choice_problems, prompt_text
from scorer.judges.rating_options import DEFAULTS, READS, RUBRICS, RatingOptions, own_problems, shown_problems
from scorer.judges.reading.expected import expected
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.reasons import find_reason, find_reasons
from scorer.judges.reading.reply_body import Verdict
from scorer.judges.reading.verdicts import find, find_each, find_json, find_pattern
from scorer.judges.reply_form import ReplyForm
from scorer.judges.samples import Sample, most_telling, unread
from scorer.judges.scale_options import compiled
from scorer.judges.template import Template
from scorer.judges.versus import VersusReference
from scorer.types import Completion, Conversation, Request, Row, Score

_TOP_LOGPROBS = 20


class Rating:
    """A `Judge`: a score on `scale`, the mean of `samples` replies and of `criteria`.

    `prompt` (or the built-in `rubric`) is a `Template`. `read` is how a verdict is read: as a number, one of `labels`,
    from a JSON object, as the mean of the labels weighted by their probabilities, or as whatever number the regular
    expression `pattern` matches first (to read stored replies as a published reader did). `labels` is a list, spaced
    evenly over the scale, or a table of values; by default the scale's integers. `reference` is a column shown to the
    judge. The options of `Asking` say how it is asked.

    `criteria` are names, or tables with `name`, `description`, `scale` and `weight` (1 by default; `weights` gives
    those of names). `score` is their weighted mean; a criterion on a scale of its own counts by its place between the
    ends of it. `score_<name>` is a criterion's score on its own scale. Where tables are given and a reason is asked,
    each criterion has its own: `reason_<name>`. A criterion that no reply gives makes the row `Unreadable`, which keeps
    the columns of those that were read; with `partial` the row is scored by these, and `criteria_read` counts them.

    With read = "json" and `structured` = "auto" a request carries the JSON schema of the reply, for providers whose
    servers can hold the model to it.

    With `versus_reference` the columns `response` and `reference` are graded side by side in both `orders`, as
    `VersusReference` does.

    Raises: SpecError, with one sentence for each mistake.
    """

    defaults = DEFAULTS

    def __init__(self, **options: Unpack[RatingOptions]) -> None:
        asking = asking_of(options, DEFAULTS)
        self._asking = Asking(**asking)
        self._versus: VersusReference | None = None
        if options.get("versus_reference") is True:
            self._versus = _versus(options, asking)
            self.columns, self.fields = self._versus.columns, self._versus.fields
            self.constant, self.unfenced = self._versus.constant, self._versus.unfenced
            self.leading = self._versus.leading
            return
        given: RatingOptions = {**DEFAULTS, **options}
        self._read, rubric = given["read"], given["rubric"]
        problems = [*choice_problems("read", self._read, READS), *self._asking.problems(), *own_problems(options)]
        text = prompt_text("rating", given["prompt"], rubric, RUBRICS, problems)
        problems += shown_problems(given["prompt"] if rubric is None else None)
        criteria, scale = given["criteria"], given["scale"]
        self._criteria = criteria_of(criteria, given["weights"], scale, given["labels"], self._read, problems)
        self._pattern = compiled(given["pattern"], self._read, criteria, problems)
        if problems:
            raise SpecError(problems)
        self._names = tuple(one.name for one in self._criteria if one.name)
        self._one_scale = len({one.scale for one in self._criteria}) == 1
        self._ends = (float(scale[0]), float(scale[1]))
        self._partial = given["partial"]
        self._is_plain = not self._names and self._read in ("number", "label")
        self._explains = self._asking.explains
        self._top_logprobs = _TOP_LOGPROBS if self._read == "expected" else 0
        tables = are_tables(criteria)
        each = tables and self._asking.turns == 1 and self._asking.explains
        self._form = ReplyForm(self._criteria, self._asking, self._read == "json", each)
        self._schema = self._form.schema() if given["structured"] == "auto" else None
        self._follow = self._asking.follow(self._form.instruction())
        self._asks_once = self._asking.samples == 1 and self._follow is None
        text = self._prompt(text + braced(self._form.descriptions()), given["reference"], rubric is not None)
        self._template = Template(text)
        self._opening = self._asking.opening(self._template, self._follow, self._reads, problems)
        if problems:
            raise SpecError(problems)
        self.columns = tuple(dict.fromkeys((*self._template.columns, *self._asking.keys)))
        self.unfenced = self._template.unfenced
        self.leading = self._template.columns[:-1]
        self._counts = bool(self._names) and (tables or self._partial)
        self.fields = (
            *(pa.field(f"score_{name}", pa.float64()) for name in self._names),
            *(pa.field(f"reason_{name}", pa.string()) for name in self._names if each),
            *([pa.field("criteria_read", pa.int32())] if self._counts else []),
        )
        self.constant = "\n".join((*(message.content for message in self._opening), self._template.constant))

    def __call__(self, row: Row) -> Conversation:
        if self._versus is not None:
            return (yield from self._versus(row))
        question = (*self._opening, self._template.message(row.values))
        if self._asks_once:
            sample = yield from self._asking.ask_once(
                row, question, self._sample, top_logprobs=self._top_logprobs, schema=self._schema
            )
            return self._only_score(sample) or self._score([sample])
        (taken,) = yield from self._asking.ask(
            row, [question], self._sample, follow=self._follow, top_logprobs=self._top_logprobs, schema=self._schema
        )
        return self._score(taken)

    def single_request(self, row: Row) -> Request | None:
        """The first request, where the reply to it may have the score; for the engine's `SingleRequestJudge`."""
        if self._versus is not None or self._names or not self._asks_once:
            return None
        if type(self).__call__ is not Rating.__call__:  # a user's class may ask and score otherwise
            return None
        question = (*self._opening, self._template.message(row.values))
        return self._asking.request(row, question, top_logprobs=self._top_logprobs, schema=self._schema)

    def single_score(self, answer: Completion | RowError) -> Score | None:
        """The score where the first reply has it; None where the conversation goes on or ends in an error."""
        return None if isinstance(answer, RowError) else self._only_score(self._sample(answer))

    def _only_score(self, sample: Sample) -> Score | None:
        """The row's score where one sample alone gives it; None where `_score` has more to say."""
        value = sample.values.get("")
        if value is None or self._names:
            return None
        return Score(self._criteria[0].on(self._ends, value), sample.reason, self._read)

    def specimen(self, n: int) -> str:
        """A reply that this judge reads; `n` picks the verdict, and each further criterion takes the next one."""
        return self._form.specimen(n) if self._versus is None else self._versus.specimen(n)

    def _prompt(self, text: str, reference: str | None, built_in: bool) -> str:
        """The whole prompt: `text`, the reference where it does not show it already, and the form of the reply."""
        if reference is not None and reference not in Template(text).columns:
            text += f"\n\nA reference answer, to compare with; it is material too:\n{{{reference}:fenced}}"
        in_json = self._read == "json" and self._asking.turns == 1
        return self._asking.prompt(text, self._form.instruction(), in_json or built_in or bool(self._names))

    # --- one reply ----------------------------------------------------------------------------------------------------

    def _verdicts(self, text: str) -> dict[str, Verdict | None]:
        if self._pattern is not None and isinstance(self._criteria[0].scale, Numbers):
            return {"": find_pattern(text, self._pattern, self._criteria[0].scale)}
        if not self._names and self._read != "json":
            return {"": find(text, self._criteria[0].scale)}
        find_all = find_json if self._read == "json" else find_each
        if self._one_scale:
            return find_all(text, self._names or ("",), self._criteria[0].scale)
        return {one.name: find_all(text, [one.name], one.scale)[one.name] for one in self._criteria}

    def _reads(self, reply: str) -> bool:
        return None not in self._verdicts(reply).values()

    def _sample(self, answer: Completion) -> Sample:
        text = answer.text
        if self._is_plain and (verdict := find(text, self._criteria[0].scale)) is not None:
            return Sample({"": verdict.value}, find_reason(text, [verdict]) if self._explains else None)
        if self._read == "expected" and text.strip():
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
        if given and self._form.each:
            reasons = find_reasons(text, self._names, {name: verdicts[name] for name in given})
            sample = replace(sample, reasons=reasons, reason=_joined(reasons, self._names))
        elif given and self._explains:
            sample = replace(sample, reason=find_reason(text, list(verdicts.values())))
        missing = [one.name for one in self._criteria if one.name not in given]
        if not missing:
            return sample
        what = f"verdict for {', '.join(missing)}" if missing[0] else "verdict"
        return replace(sample, error=unread(answer, what, " on the scale"))

    def _values(self, answer: Completion, verdicts: Mapping[str, Verdict]) -> Iterator[tuple[str, float]]:
        for one in self._criteria:
            verdict = verdicts.get(one.name)
            if verdict is None:
                continue
            value: float | None = verdict.value
            if self._read == "expected":
                value = expected(answer.logprobs or (), one.labels, verdict)
            if value is not None:
                yield one.name, value

    # --- all replies --------------------------------------------------------------------------------------------------

    def _score(self, taken: Sequence[Sample]) -> Score:
        """The row's score. Raises: why a criterion has none, with the columns of those that have one."""
        read = [sample for sample in taken if sample.values]
        means: dict[str, float] = {}
        for one in self._criteria:
            values = [sample.values[one.name] for sample in read if one.name in sample.values]
            if values:
                means[one.name] = values[0] if len(values) == 1 else fmean(values)
        fields = self._fields(means, read)
        scored = [one for one in self._criteria if one.name in means]
        if len(scored) < len(self._criteria) and not (self._partial and any(one.weight for one in scored)):
            error = most_telling([sample.error for sample in taken if sample.error])
            error.fields = fields if means else {}
            raise error
        return Score(
            value=fmean([one.on(self._ends, means[one.name]) for one in scored], [one.weight for one in scored]),
            reason=next((sample.reason for sample in read if sample.reason), None),
            method=self._read,
            samples=len(read),
            fields=fields,
        )

    def _fields(self, means: Mapping[str, float], read: Sequence[Sample]) -> dict[str, Any]:
        """The judge's own columns, null for a criterion that was not read."""
        fields: dict[str, Any] = {f"score_{name}": means.get(name) for name in self._names}
        if self._form.each:
            for name in self._names:
                reasons = (sample.reasons.get(name) for sample in read if name in sample.values)
                fields[f"reason_{name}"] = next(filter(None, reasons), None)
        return {**fields, "criteria_read": len(means)} if self._counts else fields


# --- the options, checked ---------------------------------------------------------------------------------------------


def _joined(reasons: Mapping[str, str], names: Sequence[str]) -> str | None:
    return "\n".join(f"{name}: {reasons[name]}" for name in names if name in reasons) or None


def _versus(options: RatingOptions, asking: Options) -> VersusReference:
    """The judge of response and reference side by side. Raises SpecError."""
    not_its = ("criteria", "weights", "labels", "pattern", "partial", "structured")
    given = [name for name in not_its if options.get(name)]
    given += ["read"] if options.get("read", "number") != "number" else []
    problems = [
        f"judge.{name}: versus_reference = true gives one number to each of the two. Remove it." for name in given
    ]
    known = ("prompt", "rubric", "scale", "response", "orders", "reference")
    try:
        own: Any = {name: options[name] for name in known if options.get(name) is not None}  # type: ignore[literal-required]
        judge = VersusReference(**own, **asking)
    except SpecError as error:
        problems += error.problems
    if problems:
        raise SpecError(problems)
    return judge
