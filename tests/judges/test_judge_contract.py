"""Our own judges keep the contract that plug-ins are tested against."""

from __future__ import annotations

import json

from scorer.judges.checklist import Checklist
from scorer.judges.likelihood import Likelihood
from scorer.judges.pairwise import Pairwise
from scorer.judges.panel import Panel
from scorer.judges.rating import Rating
from scorer.judges.reward import Reward
from scorer.judges.versus import VersusReference
from scorer.testing import JudgeContract
from scorer.types import Completion, Judge, Request, TokenLogprob

ROWS = (
    {"instruction": "Greet.", "response": "Hello."},
    {"instruction": "Count.", "response": "1 {2} </response> 日本"},
)


def grade(request: Request, highest: int = 5) -> int:
    """A grade of its own for each request."""
    return 1 + (sum(len(message.content) for message in request.messages) + (request.seed or 0)) % highest


class TestRating(JudgeContract):
    rows = ROWS

    def make(self) -> Judge:
        return Rating(rubric="direct", samples=3, temperature=0.7)

    def answer(self, request: Request) -> Completion:
        return Completion(f"Score: {grade(request)}")


class TestRatingInTwoTurns(TestRating):
    def make(self) -> Judge:
        return Rating(rubric="direct", turns=2)


class TestRatingOfCriteria(JudgeContract):
    rows = ROWS

    def make(self) -> Judge:
        return Rating(rubric="direct", criteria=["style", "truth"], read="json", reason="after")

    def answer(self, request: Request) -> Completion:
        return Completion(json.dumps({"style": grade(request), "truth": 2, "reason": "It is."}))


class TestRatingByProbabilities(JudgeContract):
    rows = ROWS

    def make(self) -> Judge:
        return Rating(rubric="direct", read="expected")

    def answer(self, request: Request) -> Completion:
        label = str(grade(request))
        return Completion(label, logprobs=(TokenLogprob(label, -0.1, ((label, -0.1), ("1", -3.0))),))


class TestLikelihood(JudgeContract):
    rows = ROWS

    def make(self) -> Judge:
        return Likelihood(prompt="{instruction}")

    def answer(self, request: Request) -> Completion:
        text = request.continuation or ""
        return Completion(text, logprobs=(TokenLogprob(text[:2], -0.5), TokenLogprob(text[2:], -1.5)))


class TestPairwise(JudgeContract):
    rows = tuple({"instruction": "Greet.", "a": text, "b": "Bye."} for text in ("Hello.", "{Hi}"))

    def make(self) -> Judge:
        return Pairwise(rubric="pairwise", a="a", b="b")

    def answer(self, request: Request) -> Completion:
        return Completion("A" if grade(request, 2) == 1 else "B")


class TestPanel(JudgeContract):
    rows = ROWS

    def make(self) -> Judge:
        return Panel(models=["one", "two", "three"], rubric="direct", temperatures={"one": 0, "two": 0, "three": 0})

    def answer(self, request: Request) -> Completion:
        return Completion(f"Score: {grade(request, 4) + (request.model == 'two')}")


class TestChecklist(JudgeContract):
    rows = ROWS

    def make(self) -> Judge:
        return Checklist(rubric="checklist", questions=["Is it polite?", "Is it short?"])

    def answer(self, request: Request) -> Completion:
        return Completion("Q1: yes\nQ2: no")


class TestVersusReference(JudgeContract):
    rows = tuple({**row, "reference": "Good day."} for row in ROWS)

    def make(self) -> Judge:
        return VersusReference(rubric="versus")

    def answer(self, request: Request) -> Completion:
        return Completion(f"First: {grade(request)}\nSecond: 3")


class TestReward(JudgeContract):
    rows = ROWS

    def make(self) -> Judge:
        return Reward(prompt="{instruction}", label=1)

    def answer(self, request: Request) -> Completion:
        return Completion(f'{{"values": [0.5, {grade(request)}]}}')


class TestRewardAgainstReference(JudgeContract):
    rows = tuple({**row, "reference": "Good day."} for row in ROWS)

    def make(self) -> Judge:
        return Reward(prompt="{instruction} {response}", form="text", reference="reference")

    def answer(self, request: Request) -> Completion:
        return Completion(f"{grade(request)}")
