"""Promise: the same question is asked once, and a copy is marked and costs nothing.

Over 300 lines: one digest, one window and the engine over both. Whole runs: test_dedupe_runs.py.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import now, run

from scorer.engine import admission as room
from scorer.engine import dedupe
from scorer.engine.admission import RowSlots
from scorer.engine.dedupe import AnswerCache, Deduplicator, question_of
from scorer.engine.engine import RunContext, StopFlag
from scorer.engine.engine import run as score_rows
from scorer.errors import (
    ROW_ERRORS,
    BadRow,
    Interrupted,
    Refused,
    Rejected,
    RowError,
    TooLong,
)
from scorer.judges.rating import Rating
from scorer.types import (
    Completion,
    Conversation,
    Message,
    Request,
    Result,
    Row,
    Score,
)
from scorer.usage import (
    Spent,
    Usage,
)


class Letters:
    """A judge that asks the row's letter and scores as the reply says; a null letter cannot be asked."""

    columns: tuple[str, ...] = ("letter",)
    fields: tuple[pa.Field, ...] = ()
    constant = ""

    def __call__(self, row: Row) -> Conversation:
        letter = row.values["letter"]
        if letter is None:
            raise BadRow("no letter")
        (answer,) = yield [Request(prompt=letter, key={})]
        if isinstance(answer, RowError):
            raise answer
        return Score(float(answer.text), reason=f"for {letter}", fields={"score_x": 1.0})


class Shelf:
    """A store that remembers what came."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def add(self, result: Result) -> None:
        self.results.append(result)

    async def room(self) -> None: ...


class Oracle:
    """A client that takes a letter's seconds and says its verdict, or its error; it bills each answer."""

    def __init__(self, takes_s: Callable[[str], float] = lambda _: 1.0, ending: dict[str, str] | None = None) -> None:
        self._takes_s, self._ending = takes_s, ending or {}
        self.asked: list[str] = []
        self.open = self.most = 0

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request.prompt)
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(self._takes_s(request.prompt))
        self.open -= 1
        if (name := self._ending.get(request.prompt)) is not None:
            error = ROW_ERRORS[name](f"no {request.prompt}")
            error.spent = Spent(2, usage=Usage(5, 0), cost_pico=7)
            raise error
        spent = Spent(1, 0.5, 1.0, Usage(10, 1), 17)
        return Completion(str(ord(request.prompt)), model="oracle", spent=spent)


def rows(letters: str, shard: str = "s") -> list[Row]:
    return [Row(shard, number, {"letter": letter, "id": number}, size=1) for number, letter in enumerate(letters)]


async def scored(
    given_rows: list[Row], client: Any, in_flight: int = 1000, drain: StopFlag | None = None
) -> list[Result]:
    async def batches() -> AsyncIterator[list[Row]]:
        for start in range(0, len(given_rows), 5):
            yield given_rows[start : start + 5]
            await asyncio.sleep(0)

    shelf = Shelf()
    with Deduplicator(Letters()) as deduplicator:
        parts = RunContext(
            Letters(), client, shelf, lambda: int(now() * 1e6), lambda c: c.text, deduplicator=deduplicator
        )
        await score_rows(parts, batches(), slots=RowSlots(in_flight, 10**9), drain=drain or StopFlag())
    return shelf.results


def source(result: Result) -> tuple[str, int]:
    assert result.copied_from is not None
    shard, _, number = result.copied_from.rpartition("#")
    return shard, int(number)


# --- what is the same question ----------------------------------------------------------------------------------------

_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=3), st.dates(),
    st.lists(st.integers(0, 2), max_size=2), st.dictionaries(st.sampled_from("ab"), st.integers(0, 1)),
)  # fmt: skip


class Reads:
    """A judge that reads two columns and always asks the same."""

    columns = ("a", "b")

    def __call__(self, row: Row) -> Conversation:
        yield [Request(prompt="?")]
        return Score(1.0)


def _exactly(value: Any) -> Any:
    """Equal where two values are the same also in their types: 1, 1.0 and True are three."""
    if isinstance(value, list):
        return "list", tuple(_exactly(one) for one in value)
    if isinstance(value, dict):
        return "dict", tuple((key, _exactly(one)) for key, one in value.items())
    return type(value).__name__, repr(value)


@settings(max_examples=50)
@given(st.lists(st.tuples(_VALUES, _VALUES), min_size=2, max_size=6))
def test_question_of_is_equal_exactly_where_columns_read_by_judge_are(pairs: list[tuple[Any, Any]]) -> None:
    found = [question_of(Reads(), Row("s", n, {"a": a, "b": b, "id": n})) for n, (a, b) in enumerate(pairs)]
    for one, question in zip(pairs, found, strict=True):
        for other, same in zip(pairs, found, strict=True):
            assert (question == same) == ([_exactly(v) for v in one] == [_exactly(v) for v in other])


@pytest.mark.parametrize(
    "changed",
    [
        {"messages": (Message("user", "m"),)},
        {"prompt": "p"}, {"continuation": "c"}, {"temperature": 0.1}, {"max_output_tokens": 1},
        {"seed": 1}, {"top_logprobs": 1}, {"key": {"id": 1}}, {"index": 1}, {"model": "m"}, {"alike": True},
    ],
)  # fmt: skip
def test_question_of_covers_every_request_field_except_estimated_tokens(changed: dict[str, Any]) -> None:
    class Asks(Reads):
        def __call__(self, row: Row) -> Conversation:
            yield [Request(prompt="q"), replace(Request(prompt="r", temperature=0.0), **row.kept[0])]
            return Score(1.0)

    def question(**more: Any) -> bytes | None:
        return question_of(Asks(), Row("s", 0, {}, kept=(more,)))

    assert question() == question(tokens=7) != question(**changed)


def test_question_of_is_none_for_row_without_requests() -> None:
    class Silent(Letters):
        def __call__(self, row: Row) -> Conversation:
            yield []
            return Score(1.0)

    assert question_of(Silent(), Row("s", 0, {"letter": "a"})) is None
    assert question_of(Letters(), Row("s", 0, {"letter": None})) is None


def test_question_of_distinguishes_texts_with_lone_surrogates() -> None:
    judge = Rating(prompt="{response}")
    broken, other = (question_of(judge, Row("s", 0, {"response": f"a{code}b"})) for code in ("\ud800", "\udfff"))
    assert broken != other


# --- once asked, copied to all ----------------------------------------------------------------------------------------

_ENDINGS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["Refused", "Unavailable", "Unreadable"]))


@settings(max_examples=40)
@given(
    letters=st.text("abcdef", max_size=40),
    takes=st.fixed_dictionaries({letter: st.floats(0, 5) for letter in "abcdef"}),
    ending=_ENDINGS,
    in_flight=st.integers(1, 9),
)
def test_dedupe_gives_each_row_its_result_and_requests_copyable_ones_once(
    letters: str, takes: dict[str, float], ending: dict[str, str], in_flight: int
) -> None:
    client = Oracle(takes.__getitem__, ending)
    results = run(scored(rows(letters), client, in_flight))
    assert sorted(r.row.number for r in results) == list(range(len(letters)))
    asked = Counter(client.asked)
    owners: dict[tuple[str, int], Result] = {}
    for result in results:
        letter = letters[result.row.number]
        assert result.row.values == {"letter": letter, "id": result.row.number}  # for metrics, and what is kept
        name = ending.get(letter)
        assert (result.error.name if result.error is not None else None) == name
        assert result.score == (None if name else Score(float(ord(letter)), f"for {letter}", fields={"score_x": 1.0}))
        if result.copied_from is None:
            owners[result.row.shard, result.row.number] = result
            assert result.attempts > 0
            continue
        own = owners[source(result)]  # it came before
        assert letters[own.row.number] == letter
        assert (result.usage, result.cost_pico, result.attempts) == (Usage(0, 0), 0, 0)
        assert (result.waited_s, result.answered_s) == (0.0, 0.0)
        assert (result.raw, result.model, result.finish_reason) == (own.raw, own.model, own.finish_reason)
    for letter, times in Counter(letters).items():
        own = ending.get(letter) in ("Unavailable", "Unreadable")
        assert asked[letter] == (times if own else 1)


@pytest.mark.parametrize("kind", [*ROW_ERRORS.values()])
def test_dedupe_copies_only_errors_caused_by_question(kind: type[RowError]) -> None:
    client = Oracle(ending={"a": kind.__name__})
    results = run(scored(rows("aaa"), client))
    copied = [result.copied_from for result in results]
    assert copied == ([None, "s#0", "s#0"] if kind in (Refused, TooLong, Rejected) else [None, None, None])
    details = {(type(result.error), result.error.detail) for result in results if result.error is not None}
    assert details == {(kind, "no a")}


def test_dedupe_sends_one_request_for_100_concurrent_duplicates() -> None:
    async def scenario() -> None:
        client = Oracle()
        results = await scored(rows("a" * 100), client)
        assert (len(results), client.asked, now()) == (100, ["a"], 1.0)
        assert {result.finished_at for result in results} == {1_000_000}

    run(scenario())


def test_dedupe_waiting_duplicates_hold_no_slot_in_flight() -> None:
    async def scenario() -> None:
        client = Oracle()
        await scored(rows("a" * 50 + "b" * 50 + "c" * 50 + "d" * 50), client, in_flight=4)
        assert (client.most, now()) == (4, 1.0)

    run(scenario())


def test_dedupe_bounds_number_of_waiting_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_WAITING", 10)

    async def scenario() -> None:
        client = Oracle()
        await scored(rows("a" * 50 + "bc"), client, in_flight=4)
        assert (client.most, now()) == (2, 2.0)  # b was read once a was known

    run(scenario())


def test_dedupe_duplicate_takes_slot_in_flight_when_source_fails() -> None:
    async def scenario() -> None:
        client = Oracle(ending={"a": "Unavailable"})
        await scored(rows("a" * 21), client, in_flight=4)
        assert (client.most, now()) == (4, 6.0)

    run(scenario())


def test_dedupe_sends_all_duplicates_at_once_when_source_fails_transiently() -> None:
    async def scenario() -> None:
        client = Oracle(ending={"a": "Unavailable"})
        await scored(rows("a" * 100), client)
        assert (len(client.asked), client.most, now()) == (100, 99, 2.0)

    run(scenario())


def test_dedupe_never_copies_bad_rows() -> None:
    some = [Row("s", number, {"letter": None}, size=1) for number in range(3)]
    results = run(scored(some, Oracle()))
    assert [(r.error and r.error.name, r.copied_from) for r in results] == [("BadRow", None)] * 3


def test_dedupe_drain_frees_duplicates_waiting_for_interrupted_row() -> None:
    class Draining(Oracle):
        async def complete(self, request: Request) -> Completion:
            await asyncio.sleep(1.0)
            drain.asked = True
            raise Interrupted("draining")

    drain = StopFlag()
    results = run(scored(rows("aaaabb"), Draining(), in_flight=3, drain=drain))
    assert results == []


# --- the window -------------------------------------------------------------------------------------------------------


def result(number: int, text: str = "4", **more: Any) -> Result:
    row = Row("s", number, {}, size=1)
    score = Score(4.0, None, "number", 1, {})
    taken = {"usage": None, "cost_pico": None, "attempts": 1, "waited_s": 0.0, "answered_s": 0.0, "finished_at": 1}
    return Result(**({"row": row, "score": score, "error": None, "raw": (text,), "model": "m"} | taken
                     | {"finish_reason": "stop"} | more))  # fmt: skip


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@contextmanager
def window(**bounds: int) -> Iterator[AnswerCache]:
    held = AnswerCache(**bounds)
    try:
        yield held
    finally:
        held.close()


def test_answer_cache_evicts_oldest_first() -> None:
    with window(most=3) as held:
        for number in (0, 1, 2, 1, 3, 4):  # what is known keeps its age
            held.keep(key(number), result(number))
        assert [number for number in range(6) if held.find(key(number))] == [2, 3, 4]
        assert len(held) == 3


def test_answer_cache_is_bounded_in_bytes() -> None:
    with window(most_bytes=10_000) as held:
        for number in range(100):
            held.keep(key(number), result(number, "x" * 900))
        assert 8 <= len(held) <= 11
        held.keep(key(100), result(100, "x" * 20_000))
        assert len(held) == 0  # larger than all of it: remembered by nobody
        held.keep(key(101), result(101))
        assert held.find(key(101))


_WHEN = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "kept",
    [
        result(7),
        result(7, raw=None, model=None, finish_reason=None),
        result(7, raw=("a\ud800", None)),
        result(7, score=Score(0.5, "why", "label", 3, {"verdict": "a", "when": _WHEN, "none": None})),
        result(7, score=None, error=TooLong("of 9 tokens")),
    ],
)
def test_answer_cache_returns_result_unchanged(kept: Result) -> None:
    with window() as held:
        held.keep(key(1), kept)
        found = held.find(key(1))
    assert found is not None
    assert (found.score, found.raw, found.model) == (kept.score, kept.raw, kept.model)
    assert (found.row.shard, found.row.number, found.finish_reason) == ("s", 7, kept.finish_reason)
    assert (type(found.error), str(found.error)) == (type(kept.error), str(kept.error))


def test_dedupe_requests_evicted_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedupe.AnswerCache.__init__, "__defaults__", (2, 10**6))

    async def scenario() -> None:
        client = Oracle(lambda _: 0.0)
        await scored(rows("abcabc"), client, in_flight=1)
        assert client.asked == list("abcabc")

    run(scenario())
