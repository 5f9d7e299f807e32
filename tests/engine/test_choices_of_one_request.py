"""Promise: samples asked together score as they would one by one, and nothing is asked or paid twice for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import run

from scorer.client.recorded import Recorded
from scorer.engine.choices import ChoiceBatching
from scorer.engine.engine import RunContext, score_row
from scorer.errors import NoReply, Refused, Rejected, RowError, SetupError, TooLong, Unreadable
from scorer.judges.pairwise import Pairwise
from scorer.judges.panel import Panel
from scorer.judges.rating import Rating
from scorer.types import (
    Completion,
    Judge,
    Request,
    Result,
    Row,
)
from scorer.usage import (
    Spent,
    Usage,
)

ROW = Row("s.parquet", 0, {"a": "So.", "b": "No."})
Said = str | type[RowError]


class Shelf:
    """A store that takes nothing."""

    def add(self, result: Result) -> None:
        raise AssertionError

    async def room(self) -> None:
        raise AssertionError


class Replies:
    """A client that says one thing after the other; a request for several choices gets at most `most` at once.

    It bills 10 tokens for a prompt and 1 for each choice.
    """

    def __init__(self, said: Sequence[Said], most: int = 100) -> None:
        self._said = iter(said)
        self._most = most
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        count = min(request.choices, self._most)
        choices = [self._one() for _ in range(count)]
        spent = Spent(1, 0.5, 1.0, Usage(10, count), 100 + count)
        if request.choices == 1:
            (only,) = choices
            if isinstance(only, RowError):
                only.spent = spent
                raise only
            return replace(only, spent=spent)
        first = next((one for one in choices if isinstance(one, Completion)), Completion(""))
        return replace(first, spent=spent, choices=tuple(choices))

    def _one(self) -> Completion | RowError:
        said = next(self._said)
        return Completion(said) if isinstance(said, str) else said("no")


def score(judge: Judge, client: Any, sharing: ChoiceBatching | None = None) -> Result:
    keep = RunContext(
        judge, client, Shelf(), lambda: 0, lambda completion: completion.text, sharing or ChoiceBatching()
    )
    return run(score_row(ROW, keep))


def test_choices_ask_all_samples_in_one_request_and_pay_its_prompt_once() -> None:
    client = Replies(["4", "2", "3"])
    result = score(Rating(prompt="{a}", samples=3), client)
    (request,) = client.asked
    assert (request.choices, request.seed, request.index) == (3, None, 0)
    assert result.score is not None
    assert (result.score.value, result.score.samples, result.raw) == (3.0, 3, ("4", "2", "3"))
    assert (result.usage, result.cost_pico, result.attempts) == (Usage(10, 3), 103, 1)
    assert (result.waited_s, result.answered_s) == (0.5, 1.0)


def test_choices_retry_only_unreadable_samples_in_one_request() -> None:
    client = Replies(["4", "?", "??", "2", "3"])
    result = score(Rating(prompt="{a}", samples=3), client)
    assert [(request.choices, request.index, request.temperature) for request in client.asked] == [
        (3, 0, None),
        (2, 3, 0.3),
    ]
    assert result.raw == ("4", "?", "??", "2", "3")


def test_choices_fall_back_to_single_requests_after_server_returns_one_choice() -> None:
    client, sharing = Replies(["4", "2", "3"] * 2, most=1), ChoiceBatching()
    judge = Rating(prompt="{a}", samples=3)
    results = [score(judge, client, sharing) for _ in range(2)]
    assert [request.choices for request in client.asked] == [3, 1, 1, 1, 1, 1]
    assert [request.index for request in client.asked] == [0, 1, 2, 0, 1, 2]
    assert {result.raw for result in results} == {("4", "2", "3")}
    assert [result.attempts for result in results] == [3, 3]


def test_choices_request_samples_missing_from_reply_of_several_choices() -> None:
    client, sharing = Replies(["4", "2", "3", "1"] * 2, most=3), ChoiceBatching()
    results = [score(Rating(prompt="{a}", samples=4), client, sharing) for _ in range(2)]
    assert [request.choices for request in client.asked] == [4, 1, 4, 1]
    assert {result.raw for result in results} == {("4", "2", "3", "1")}


def test_choices_separate_sends_one_request_per_sample_with_its_seed() -> None:
    client = Replies(["4", "2"])
    score(Rating(prompt="{a}", samples=2, choices="separate"), client)
    assert [(request.choices, request.seed) for request in client.asked] == [(1, 0), (1, 1)]


def test_choices_are_batched_per_order_and_per_model() -> None:
    client = Replies(["A", "A", "B", "B"])
    result = score(Pairwise(prompt="{first} {second}", a="a", b="b", samples=2), client)
    assert [(request.choices, request.index) for request in client.asked] == [(2, 0), (2, 2)]
    assert result.score is not None
    assert (result.score.value, result.raw) == (1.0, ("A", "A", "B", "B"))
    client = Replies(["1", "2", "3", "4"])
    result = score(Panel(prompt="{a}", models=["x", "y"], samples=2), client)
    assert [(request.choices, request.model) for request in client.asked] == [(2, "x"), (2, "y")]
    assert result.raw == ("1", "2", "3", "4")


def test_choices_share_first_turn_and_send_second_turn_per_sample() -> None:
    client = Replies(["Dull.", "Witty.", "2", "4"])
    result = score(Rating(prompt="{a}", samples=2, turns=2), client)
    assert [request.choices for request in client.asked] == [2, 1, 1]
    assert result.score is not None
    assert (result.score.value, result.score.reason, result.raw) == (3.0, "Dull.", ("Dull.", "Witty.", "2", "4"))


class Failing:
    """A client whose requests for several choices fail; `attempts` is what they had sent."""

    def __init__(self, error: Exception, attempts: int = 1) -> None:
        self.error = error
        self.attempts = attempts
        self.asked: list[int] = []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request.choices)
        if request.choices == 1:
            return Completion("4", spent=Spent(1))
        if isinstance(self.error, RowError):
            self.error.spent = Spent(self.attempts, usage=Usage(10, 0))
        raise self.error


def test_choices_give_request_error_to_every_sample_and_pay_once() -> None:
    result = score(Rating(prompt="{a}", samples=3), Failing(Refused("no")))
    assert (type(result.error), result.attempts, result.usage) == (Refused, 1, Usage(10, 0))
    assert result.raw == (None, None, None)


def test_recorded_replies_stay_with_their_sample_index(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["So."], "said": [[None, "4", "2"]]}), tmp_path / "said.parquet")
    client = Recorded(path=tmp_path / "said.parquet", keys=["a"], replies="said")
    result = score(Rating(prompt="{a}", samples=4, attempts=1, keys=("a",)), client)
    assert result.score is not None
    assert (result.score.value, result.score.samples, result.raw) == (3.0, 2, (None, "4", "2", None))


class Choosy(Failing):
    """A client that calls several choices wrong, and answers one as `alone` says."""

    def __init__(self, alone: str | type[RowError] = "4") -> None:
        super().__init__(Rejected("n must be 1"))
        self.alone = alone

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request.choices)
        error = self.error if request.choices > 1 else None if isinstance(self.alone, str) else self.alone("wrong")
        if isinstance(error, RowError):
            error.spent = Spent(1, 0.5, 1.0)
            raise error
        return Completion(str(self.alone), spent=Spent(1, 0.5, 1.0, Usage(10, 1)))


def test_choice_batching_remembers_rejection_of_several_after_single_success() -> None:
    client, sharing = Choosy(), ChoiceBatching()
    results = [score(Rating(prompt="{a}", samples=3), client, sharing) for _ in range(2)]
    assert client.asked == [3, 1, 1, 1, 1, 1, 1]
    # What the refusal took is the first row's.
    assert [(result.attempts, result.waited_s, result.usage) for result in results] == [
        (4, 2.0, Usage(30, 3)),
        (3, 1.5, Usage(30, 3)),
    ]
    assert [result.score and result.score.samples for result in results] == [3, 3]


def test_choice_batching_stays_on_when_single_request_is_rejected_too() -> None:
    client, sharing = Choosy(Rejected), ChoiceBatching()
    results = [score(Rating(prompt="{a}", samples=3), client, sharing) for _ in range(2)]
    assert client.asked == [3, 1, 3, 1]
    assert [(type(result.error), result.attempts) for result in results] == [(Rejected, 2)] * 2


def test_choice_batching_accepts_rejection_from_model_that_returned_several() -> None:
    sharing = ChoiceBatching()
    score(Rating(prompt="{a}", samples=3), Replies(["4", "2", "3"]), sharing)
    client = Choosy()
    assert isinstance(score(Rating(prompt="{a}", samples=3), client, sharing).error, Rejected)
    assert client.asked == [3]


def test_choices_over_token_limit_per_minute_are_requested_one_by_one() -> None:
    client = Failing(TooLong("more than a minute's tokens"), attempts=0)
    result = score(Rating(prompt="{a}", samples=3), client)
    assert result.score is not None
    assert (result.score.samples, client.asked) == (3, [3, 1, 1, 1])
    # Where the server said so, it is the prompt.
    client = Failing(TooLong("the context"), attempts=1)
    assert isinstance(score(Rating(prompt="{a}", samples=3), client).error, TooLong)
    assert client.asked == [3]


def test_choices_pass_on_setup_error() -> None:
    with pytest.raises(SetupError, match="key"):
        score(Rating(prompt="{a}", samples=3), Failing(SetupError("the key")))


def test_choices_cancel_every_request_when_cancelled() -> None:
    cancelled = []

    class Slow:
        async def complete(self, request: Request) -> Completion:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cancelled.append(request.index)
                raise
            return Completion("4")

    async def scenario() -> None:
        judge = Pairwise(prompt="{first} {second}", a="a", b="b", samples=2)
        task = asyncio.create_task(score_row(ROW, RunContext(judge, Slow(), Shelf(), lambda: 0)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())
    assert sorted(cancelled) == [0, 2]


SAID: st.SearchStrategy[Said] = st.sampled_from(["1", "4", "Score: 5", "?", "", Refused, NoReply, Unreadable])


@settings(max_examples=40, deadline=None)
@given(
    said=st.lists(SAID, min_size=12, max_size=12),
    samples=st.integers(1, 4),
    attempts=st.integers(1, 3),
    most=st.integers(1, 4),
)
def test_choices_and_separate_requests_give_same_row_for_same_replies(
    said: list[Said], samples: int, attempts: int, most: int
) -> None:
    judge = Rating(prompt="{a}", samples=samples, attempts=attempts)
    together, apart = (
        score(judge, Replies(said, most)),
        score(Rating(prompt="{a}", samples=samples, attempts=attempts, choices="separate"), Replies(said)),
    )
    assert (together.score, together.raw, together.finish_reason) == (apart.score, apart.raw, apart.finish_reason)
    assert type(together.error) is type(apart.error)
    assert together.attempts <= apart.attempts
