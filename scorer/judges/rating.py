"""Rating: the judge model reads a prompt about one generation and replies with a score, or one for each criterion.

A row takes one or several samples of the same request, sent at once; unreadable ones are requested again. A verdict
that was not read is null or an error, never a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from scorer.errors import RowError, SpecError
from scorer.judges.asking import Asking, Options, asking_of
from scorer.judges.criteria import are_tables, criteria_of
from scorer.judges.options import choice_problems, prompt_text
from scorer.judges.rating_options import DEFAULTS, READS, RUBRICS, RatingOptions, own_problems, shown_problems
from scorer.judges.rating_question import Prompt, Reading, questions_apart, questions_together
from scorer.judges.samples import Sample, most_telling, one_sample
from scorer.judges.scale_options import compiled
from scorer.types import Completion, Conversation, Request, Row, Score

if TYPE_CHECKING:
    from scorer.judges.versus import VersusReference


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

    `ask_criteria`: "together" asks for all criteria in one request; "apart" asks for each in a request of its own, all
    of a row at once, in the order of the criteria, the samples of one after another. The prompt of such a request ends
    with its criterion. The columns are the same. The examples' replies give all criteria, and each request shows its
    part of them. A sample of the row is the n-th reply for each criterion.

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
            self._apart = self._is_single = False
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
        pattern = compiled(given["pattern"], self._read, criteria, problems)
        if problems:
            raise SpecError(problems)
        self._names = tuple(one.name for one in self._criteria if one.name)
        self._ends = (float(scale[0]), float(scale[1]))
        self._partial = given["partial"]
        tables = are_tables(criteria)
        self._each = tables and self._asking.turns == 1 and self._asking.explains
        reading = Reading(self._read, pattern, given["structured"] == "auto", self._each)
        self._top_logprobs = reading.top_logprobs
        in_json = self._read == "json" and self._asking.turns == 1
        prompt = Prompt(text, given["reference"], not (in_json or rubric is not None or self._names))
        self._apart = given["ask_criteria"] == "apart"
        ask = questions_apart if self._apart else questions_together
        self._questions = ask(prompt, self._criteria, self._asking, reading, problems)
        if problems:
            raise SpecError(list(dict.fromkeys(problems)))
        self._first = self._questions[0]
        self._asks_once = self._asking.samples == 1 and self._first.follow is None and not self._apart
        # A user's class may ask and score otherwise.
        self._is_single = self._asks_once and not self._names and type(self).__call__ is Rating.__call__
        self.columns = tuple(dict.fromkeys((*self._first.template.columns, *self._asking.keys)))
        self.unfenced = self._first.template.unfenced
        self.leading = self._first.template.columns[:-1]
        self._counts = bool(self._names) and (tables or self._partial)
        self.fields = (
            *(pa.field(f"score_{name}", pa.float64()) for name in self._names),
            *(pa.field(f"reason_{name}", pa.string()) for name in self._names if self._each),
            *([pa.field("criteria_read", pa.int32())] if self._counts else []),
        )
        self.constant = max((question.constant for question in self._questions), key=len)

    def __call__(self, row: Row) -> Conversation:
        if self._versus is not None:
            return (yield from self._versus(row))
        if self._asks_once:
            first = self._first
            sample = yield from self._asking.ask_once(
                row, first.messages(row), first.sample, top_logprobs=self._top_logprobs, schema=first.schema
            )
            return self._only_score(sample) or self._score([sample])
        asked = [question.about(row) for question in self._questions]
        taken = yield from self._asking.ask(row, asked, top_logprobs=self._top_logprobs)
        if not self._apart:
            return self._score(taken[0])
        parts = [dict(zip(self._names, of_one, strict=True)) for of_one in zip(*taken, strict=True)]
        return self._score([one_sample(of_all) for of_all in parts])

    def single_request(self, row: Row) -> Request | None:
        """The first request, where the reply to it may have the score; for the engine's `SingleRequestJudge`."""
        if not self._is_single:
            return None
        first = self._first
        return self._asking.request(row, first.messages(row), top_logprobs=self._top_logprobs, schema=first.schema)

    def single_score(self, answer: Completion | RowError) -> Score | None:
        """The score where the first reply has it; None where the conversation goes on or ends in an error."""
        return None if isinstance(answer, RowError) else self._only_score(self._first.sample(answer))

    def _only_score(self, sample: Sample) -> Score | None:
        """The row's score where one sample alone gives it; None where `_score` has more to say."""
        value = sample.values.get("")
        if value is None or self._names:
            return None
        only = self._criteria[0]
        return Score(value if only.ends == self._ends else only.on(self._ends, value), sample.reason, self._read)

    def specimen(self, n: int) -> str:
        """A reply that this judge reads; `n` picks the verdict, and each further criterion takes the next one."""
        return self._first.form.specimen(n) if self._versus is None else self._versus.specimen(n)

    def specimens_apart(self, n: int) -> list[tuple[str, str]]:
        """The ends of prompts, each with a reply to it, where criteria are asked apart; else none."""
        questions = self._questions if self._apart else ()
        return [(question.form.instruction(), question.form.specimen(n)) for question in questions]

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
        value = self.combined(means)
        if value is None:
            error = most_telling([sample.error for sample in taken if sample.error])
            error.fields = fields if means else {}
            raise error
        return Score(
            value=value,
            reason=next((sample.reason for sample in read if sample.reason), None),
            method=self._read,
            samples=len(read),
            fields=fields,
        )

    def combined(self, means: Mapping[str, float]) -> float | None:
        """The score of a row whose criteria have these values, each on its own scale; None where too few have one."""
        scored = [one for one in self._criteria if one.name in means]
        if len(scored) < len(self._criteria) and not (self._partial and any(one.weight for one in scored)):
            return None
        return fmean([one.on(self._ends, means[one.name]) for one in scored], [one.weight for one in scored])

    def _fields(self, means: Mapping[str, float], read: Sequence[Sample]) -> dict[str, Any]:
        """The judge's own columns, null for a criterion that was not read."""
        fields: dict[str, Any] = {f"score_{name}": means.get(name) for name in self._names}
        if self._each:
            for name in self._names:
                reasons = (sample.reasons.get(name) for sample in read if name in sample.values)
                fields[f"reason_{name}"] = next(filter(None, reasons), None)
        return {**fields, "criteria_read": len(means)} if self._counts else fields


# --- the options, checked ---------------------------------------------------------------------------------------------


def _versus(options: RatingOptions, asking: Options) -> VersusReference:
    """The judge of response and reference side by side. Raises SpecError."""
    from scorer.judges.versus import VersusReference

    not_its = ("criteria", "ask_criteria", "weights", "labels", "pattern", "partial", "structured")
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
