"""Several judges' conversations about one row, each with a model of its own, in step: all are asked at once."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace

from scorer.error_frames import without_frames
from scorer.errors import RowError
from scorer.types import Completion, Conversation, Request, Score

Answers = Generator[list[Request], list[Completion | RowError], tuple[dict[str, Score], dict[str, RowError]]]
"""Asks, and returns the score or the error of each model, by its alias."""


def together(talks: Mapping[str, Conversation]) -> Answers:
    """Asks the models of `talks`, by alias, at once, and each one as often as its own replies need.

    `Request.index` counts the requests of one model. Raises BadRow where the row cannot be asked about.
    """
    open_ = {alias: next(talk) for alias, talk in talks.items()}
    scores: dict[str, Score] = {}
    errors: dict[str, RowError] = {}
    while open_:
        answers = yield [replace(request, model=alias) for alias, asked in open_.items() for request in asked]
        rest = iter(answers)
        replies = {alias: [next(rest) for _ in asked] for alias, asked in open_.items()}
        open_ = {}
        for alias, part in replies.items():
            try:
                open_[alias] = talks[alias].send(part)
            except StopIteration as end:
                scores[alias] = end.value
            except RowError as error:
                errors[alias] = without_frames(error)
    return scores, errors
