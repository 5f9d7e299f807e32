"""A judge's conversation, answered turn by turn as a test says."""

from __future__ import annotations

from collections.abc import Sequence

from scorer.errors import RowError
from scorer.types import Completion, Judge, Request, Row, Score

Answer = Completion | RowError | str


def talk(judge: Judge, row: Row, *turns: Sequence[Answer]) -> tuple[Score, list[list[Request]]]:
    """The judge's score when each turn's requests get these answers, and what it asked in each turn."""
    conversation = judge(row)
    asked = [next(conversation)]
    for turn in turns:
        assert len(turn) == len(asked[-1])
        answers = [Completion(answer) if isinstance(answer, str) else answer for answer in turn]
        try:
            asked.append(conversation.send(answers))
        except StopIteration as end:
            return end.value, asked
    raise AssertionError(f"asks again: {asked[-1]}")
