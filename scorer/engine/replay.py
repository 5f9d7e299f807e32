"""Runs a judge again on the stored replies of a row. Knows no model, clock or file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from scorer.engine.judging import checked_score, judge_step
from scorer.error_frames import without_frames
from scorer.errors import ROW_ERRORS, NoReply, RowError, ScorerError, SetupError, SpecError, Unreadable
from scorer.types import Completion, Judge, Provider, Reply, Request, Row, Score


def replay(judge: Judge, row: Row, answers: Answers) -> Score | RowError:
    """The score or error that the judge gives for these answers. Raises SpecError where answers are missing."""
    try:
        conversation = judge(row)
        requests = judge_step(next, conversation)
        while True:
            requests = judge_step(conversation.send, [answers.next(request) for request in requests])
    except StopIteration as done:
        score, problem = checked_score(done.value)
        if score is not None:
            return score
        assert problem is not None
        return problem
    except RowError as error:
        return without_frames(error)
    except SetupError as error:
        keep = 'A run with output.keep_raw = "full" keeps whole replies, log-probabilities and all.'
        raise SpecError([f"The stored replies do not suffice for this reading. {error} {keep}"]) from error


class Answers:
    """The stored replies of one row: the n-th request gets the n-th of them.

    `raw`, `error`, `error_detail` and `finish_reason` are the row's result columns; `provider` tells, by the alias of a
    model, who reads its whole replies, None where there are only texts.
    """

    def __init__(
        self,
        raw: Sequence[str | None] | None,
        error: str | None,
        error_detail: str | None,
        finish_reason: str | None,
        *,
        provider: Callable[[str], Provider | None],
    ) -> None:
        self._raw = raw or ()
        self._error, self._detail = error, error_detail
        self._finish_reason = finish_reason or "stop"
        self._last = max((n for n, text in enumerate(self._raw) if text is not None), default=-1)
        self._provider = provider
        self._asked = 0

    def next(self, request: Request) -> Completion | RowError:
        if request.continuation is not None:
            raise SpecError(["judge.kind: this judge measures a response and reads no reply; nothing to read anew."])
        n, self._asked = self._asked, self._asked + 1
        text = self._raw[n] if n < len(self._raw) else None
        if text is None:
            return self._missing(n)
        provider = self._provider(request.model) if text.startswith(("{", "[")) else None
        whole = None if provider is None else _whole(provider, request, text)
        # The column tells why the last reply that came was finished; the others came too.
        return whole or Completion(text, self._finish_reason if n == self._last else "stop")

    def _missing(self, n: int) -> RowError:
        """Why there is no reply: the row's own error where none came at all, Unreadable where another one was asked."""
        if self._last < 0 and self._error in ROW_ERRORS:
            return ROW_ERRORS[self._error](self._detail or "")
        if n < self._last and self._error in (None, Unreadable.__name__):
            return Unreadable(f"Reply {n + 1} could not be read as a reply, and was asked for again.")
        return NoReply(f"Reply {n + 1} is not there; the row stored {len(self._raw)}.")


def _whole(provider: Provider, request: Request, text: str) -> Completion | None:
    """The completion in a whole reply (output.keep_raw = "full"); None where the text is no such reply."""
    conversation = provider.converse(request)
    with suppress(ScorerError), closing(conversation):
        try:
            next(conversation)
            conversation.send(Reply(200, {}, text.encode()))
        except StopIteration as done:
            completion: Completion = done.value
            return completion
    return None
