"""Requests verdicts from a judge model: samples, attempts, one or two turns, few-shot examples, the reply's form.

All judges that read replies use it, and its options are defined here alone. A judge passes `read`, which makes a sample
of a reply.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import Any, TypedDict, cast

from scorer.errors import BadRow, RowError, Unreadable
from scorer.frozen import dataclass
from scorer.judges.options import choice_problems, count_problems
from scorer.judges.samples import NOTHING, Sample, better
from scorer.judges.talks import Question, SampleConversation
from scorer.judges.template import Template
from scorer.types import Completion, Message, Request, Row

REASONS = ("none", "before", "after")
CHOICES = ("auto", "separate")

EXPLAIN = "Explain your judgement in a few sentences. Give no verdict yet; you will be asked for it."
"""What ends the first of two turns."""

REHEARSED = "A rehearsal."
"""The reason in a sample reply."""

_WARMER = 0.3
_NO_KEY: Mapping[str, Any] = {}
_BYTES_A_TOKEN = 4


class Options(TypedDict, total=False):
    """The options of `Asking` as judges take and pass them on: `**asking: Unpack[Options]`."""

    system: str | None
    samples: int
    attempts: int
    turns: int
    reason: str
    choices: str
    examples: Sequence[Mapping[str, Any]]
    keys: Sequence[str]
    temperature: float | None


def asking_of(options: Mapping[str, Any], own: Collection[str]) -> Options:
    """The options of `Asking` among a judge's: those that are not its `own`. An unknown one is refused by `Asking`."""
    return cast(Options, {name: value for name, value in options.items() if name not in own})


Taken = Generator[list[Request], list[Completion | RowError], list[list[Sample]]]
"""Asks, and returns for each question its samples, in the order asked."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How the judge model is asked.

    `samples` replies are requested at once, as the choices of one request where `choices` is "auto" and the server
    supports `n`. An unreadable reply is requested again, `attempts` times in all; where the model's `temperature` is 0,
    at 0.3 from the second time on. A `reason` is requested before or after the verdict. With two `turns` the first
    reply is the reason, and the verdict is requested in the same conversation. `examples` are tables of the prompt's
    columns and `reply` (with two turns `reason`, too). `keys` are columns copied to `Request.key`.
    """

    system: str | None = None
    samples: int = 1
    attempts: int = 3
    turns: int = 1
    reason: str = "none"
    choices: str = "auto"
    examples: Sequence[Mapping[str, Any]] = ()
    keys: Sequence[str] = ()
    temperature: float | None = 0.0

    def problems(self) -> list[str]:
        """One sentence for each mistake in the options; those of examples come from `opening`."""
        problems = [
            *count_problems("samples", self.samples),
            *count_problems("attempts", self.attempts),
            *choice_problems("reason", self.reason, REASONS),
            *choice_problems("turns", self.turns, (1, 2)),
            *choice_problems("choices", self.choices, CHOICES),
        ]
        if self.turns == 2 and self.reason == "after":
            problems.append('judge.reason: "after" is not allowed with turns = 2, whose first turn is the reason.')
        return problems

    @property
    def explains(self) -> bool:
        """Whether a reason is asked for at all."""
        return self.reason != "none" or self.turns == 2

    # --- what the prompt says of the reply ----------------------------------------------------------------------------

    def prompt(self, text: str, form: str, always: bool) -> str:
        """The question with the `form` of the reply, which it holds `always`, or where a reason is asked."""
        if self.turns == 2:
            return f"{text}\n\n{EXPLAIN}"
        return f"{text}\n\n{braced(form)}" if always or self.explains else text

    def form(self, lines: Sequence[str]) -> str:
        """How to reply in lines such as "Score: <a number from 1 to 5>"."""
        named = f"{'these lines' if len(lines) > 1 else 'a line'} of this form"
        forms = {
            "none": f"Reply with {named} and nothing else:",
            "before": f"Explain your judgement in one to three sentences, then end with {named}:",
            "after": f"Begin with {named}, then explain your judgement in one to three sentences:",
        }
        return "\n".join([forms["none" if self.turns == 2 else self.reason], *lines])

    def follow(self, form: str) -> str | None:
        """The second turn's question, None where there is but one turn."""
        return f"Now give the verdict alone. {form}" if self.turns == 2 else None

    def specimen(self, lines: Sequence[str], why: str = REHEARSED) -> str:
        """A reply with these lines as it is asked for, and with the reason `why`; without it where it is ""."""
        reason = "none" if self.turns == 2 or not why else self.reason
        return "\n".join({"none": lines, "before": [why, *lines], "after": [*lines, why]}[reason])

    def opening(
        self, template: Template, follow: str | None, reads: Callable[[str], bool], problems: list[str]
    ) -> tuple[Message, ...]:
        """The system message and the examples, as turns; adds a sentence to `problems` for each mistake in them.

        `reads` says whether a reply holds a verdict.
        """
        messages = [] if self.system is None else [Message("system", self.system)]
        replies = ("reply",) if follow is None else ("reason", "reply")
        for place, example in enumerate(self.examples):
            where = f"judge.examples[{place}]"
            if not isinstance(example, Mapping):
                what = " and ".join(replies)
                problems.append(f"{where}: {example!r} is not allowed; a table of the prompt's columns and {what} is.")
                continue
            known = (*template.columns, *replies)
            problems += [
                f"{where}.{name}: is no column of the prompt, and not {' or '.join(replies)}; remove it."
                for name in example
                if name not in known
            ]
            reply, reason = example.get("reply"), example.get("reason")
            if follow is not None and not (isinstance(reason, str) and reason.strip()):
                problems.append(f"{where}.reason: {reason!r} is no text; with turns = 2 it is the first turn's reply.")
                continue
            if not isinstance(reply, str) or not reads(reply):
                problems.append(
                    f"{where}.reply: {reply!r} holds no verdict that this judge reads; it would teach none."
                )
                continue
            try:
                messages.append(Message("user", template.fill(example)))
            except BadRow as error:
                problems.append(f"{where}: {error.detail}")
            if follow is not None:
                messages += [Message("assistant", str(reason)), Message("user", follow)]
            messages.append(Message("assistant", reply))
        return tuple(same_in_all(message.role, message.content) for message in messages)

    # --- asking -------------------------------------------------------------------------------------------------------

    def ask(self, row: Row, questions: Sequence[Question], *, top_logprobs: int = 0) -> Taken:
        """What was read of the replies: for each question, the samples in the order asked.

        An unreadable verdict after an explanation is asked for again after the same explanation.
        """
        talks = [[SampleConversation(question) for _ in range(self.samples)] for question in questions]
        open_, asked = [talk for of_one in talks for talk in of_one], 0
        for attempt in range(self.attempts):
            if silent := [talk for talk in open_ if not talk.at_verdict]:
                answers = yield self._requests(row, silent, attempt, asked)
                asked += len(silent)
                for talk, answer in zip(silent, answers, strict=True):
                    talk.explained(answer)
            if due := [talk for talk in open_ if talk.at_verdict]:
                answers = yield self._requests(row, due, attempt, asked, top_logprobs)
                asked += len(due)
                for talk, answer in zip(due, answers, strict=True):
                    talk.answered(answer)
            open_ = [talk for talk in open_ if isinstance(talk.sample.error, Unreadable)]
            if not open_:
                break
        return [[talk.sample for talk in of_one] for of_one in talks]

    def ask_once(
        self,
        row: Row,
        messages: tuple[Message, ...],
        read: Callable[[Completion], Sample],
        *,
        top_logprobs: int = 0,
        schema: Mapping[str, Any] | None = None,
    ) -> Generator[list[Request], list[Completion | RowError], Sample]:
        """`ask` for one question with one sample and one turn, as most judges ask: a third of the time."""
        held = NOTHING
        for attempt in range(self.attempts):
            (answer,) = yield [self.request(row, messages, attempt, top_logprobs=top_logprobs, schema=schema)]
            sample = Sample(error=answer) if isinstance(answer, RowError) else read(answer)
            held = better(held, sample)
            if not isinstance(held.error, Unreadable):
                break
        return held

    def request(
        self,
        row: Row,
        messages: tuple[Message, ...],
        attempt: int = 0,
        *,
        top_logprobs: int = 0,
        schema: Mapping[str, Any] | None = None,
    ) -> Request:
        """The request of `ask_once` at its n-th attempt, counted from 0."""
        return Request(
            messages=messages,
            temperature=_WARMER if attempt and self.temperature == 0 else None,
            seed=attempt or None,
            top_logprobs=top_logprobs,
            key=self._key(row.values) if self.keys else _NO_KEY,
            index=attempt,
            tokens=row.tokens,
            schema=schema,
        )

    def _requests(
        self, row: Row, talks: Sequence[SampleConversation], attempt: int, asked: int, top_logprobs: int = 0
    ) -> list[Request]:
        key = self._key(row.values)
        return [
            Request(
                messages=talk.messages,
                temperature=_WARMER if attempt and self.temperature == 0 else None,
                # One reply at the first try needs no seed; any two replies need different ones.
                seed=asked + place if attempt or self.samples > 1 else None,
                top_logprobs=top_logprobs,
                key=key,
                index=asked + place,
                # 0 is "not counted", and stays so.
                tokens=row.tokens and row.tokens + talk.added // _BYTES_A_TOKEN,
                alike=self.samples > 1 and self.choices == "auto",
                schema=talk.question.schema if talk.at_verdict else None,
            )
            for place, talk in enumerate(talks)
        ]

    def _key(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: values.get(name) for name in self.keys}


def same_in_all(role: str, content: str) -> Message:
    """A message that every row has."""
    return Message(role, content, len(content))


def braced(text: str) -> str:
    """The text as a part of a `Template`, in which none of its braces opens a placeholder."""
    return text.replace("{", "{{").replace("}", "}}")
