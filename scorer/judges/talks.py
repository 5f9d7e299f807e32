"""One question to the judge model, and the conversation of one sample of it: the turns so far, and what was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scorer.errors import RowError
from scorer.frozen import dataclass
from scorer.judges.samples import NOTHING, Sample, better, unread
from scorer.types import Completion, Message


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what makes a sample of a reply.

    With `follow` the reply to `messages` is an explanation, and the reply to `follow` after it the one that is read.
    `schema` is that of the reply that is read.
    """

    messages: tuple[Message, ...]
    read: Callable[[Completion], Sample]
    follow: str | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(slots=True)
class SampleConversation:
    """One sample's conversation: `turns` follow the question, and `added` counts their characters."""

    question: Question
    sample: Sample = NOTHING
    explanation: str = ""
    added: int = 0
    turns: tuple[Message, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages of the next request."""
        return self.question.messages + self.turns

    @property
    def at_verdict(self) -> bool:
        """Whether the next reply is the one that is read."""
        return self.question.follow is None or bool(self.explanation)

    def explained(self, answer: Completion | RowError) -> None:
        """Takes the reply of the first turn."""
        if isinstance(answer, RowError) or not answer.text.strip():
            error = answer if isinstance(answer, RowError) else unread(answer, "explanation")
            self._take(Sample(error=error))
            return
        follow = self.question.follow or ""
        self.explanation = answer.text.strip()
        self.turns = Message("assistant", answer.text), Message("user", follow)
        self.added = len(answer.text) + len(follow)

    def answered(self, answer: Completion | RowError) -> None:
        """Takes the reply that is read."""
        self._take(Sample(error=answer) if isinstance(answer, RowError) else self.question.read(answer))

    def _take(self, sample: Sample) -> None:
        """A later try never takes back what an earlier one gave, and none at all says nothing of it."""
        if better(self.sample, sample) is sample:
            given = bool(self.explanation and sample.values)
            self.sample = replace(sample, reason=self.explanation) if given else sample
