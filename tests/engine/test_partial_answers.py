"""Promise: an answer that was paid is not asked for again, wherever the end of a run cut its row off."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import run

from scorer.engine import engine
from scorer.engine.admission import RowSlots
from scorer.engine.engine import RunContext, StopFlag
from scorer.errors import BudgetSpent, Refused, RowError
from scorer.files.local_files import LocalFiles
from scorer.output.partial_rows import PartialRows
from scorer.types import Completion, Conversation, Request, Result, Row, Score, TokenLogprob
from scorer.usage import Spent, Usage

SPENT = Spent(1, 0.5, 1.0, Usage(5, 1, 2), 7)


class Turns:
    """A judge that asks as many requests in each turn as the row says. Its score depends on each answer's place."""

    columns = ("turns",)
    fields = ()
    constant = ""

    def __call__(self, row: Row) -> Conversation:
        said = ""
        for turn, count in enumerate(row.values["turns"]):
            asked = [
                Request(key={"row": row.number}, index=10 * turn + place, seed=place, alike=row.values["alike"])
                for place in range(count)
            ]
            for answer in (yield asked):
                said += answer.text if isinstance(answer, Completion) else f"<{answer.name}>"
        return Score(1.0, said)


class Purse:
    """A client that answers so many requests, and then raises BudgetSpent."""

    def __init__(self, answers: int, choices: int) -> None:
        self.left, self._choices = answers, choices
        self.paid = Counter[tuple[int, int]]()

    async def complete(self, request: Request) -> Completion:
        if not self.left:
            await asyncio.sleep(60.0)  # nothing is under way any more
            raise BudgetSpent("no more")
        self.left -= 1
        await asyncio.sleep(0.1 * (1 + request.index % 3))
        return self._answer(request)

    def _answer(self, request: Request) -> Completion:
        row, first = request.key["row"], request.index
        count = min(request.choices, self._choices) if request.choices > 1 else 1
        said: list[Completion | RowError] = []
        for index in range(first, first + count):
            self.paid[row, index] += 1
            error = Refused("no") if index % 10 == 3 else None
            said.append(
                error or Completion(f"[{row}.{index}\ud83d]", logprobs=(TokenLogprob("a", -0.5, (("b", -1.0),)),))
            )
        if request.choices > 1:
            return Completion("", spent=SPENT, choices=tuple(said))
        if isinstance(said[0], RowError):
            said[0].spent = SPENT
            raise said[0]
        return Completion(said[0].text, spent=SPENT, body=b"\xff{}")


class Shelf:
    def __init__(self) -> None:
        self.results: dict[int, Result] = {}

    def add(self, result: Result) -> None:
        assert result.row.number not in self.results
        self.results[result.row.number] = result

    async def room(self) -> None:
        pass


def start(rows: list[Row], client: Purse, shelf: Shelf, folder: str) -> bool:
    """A start over the rows without a result. True where the budget ended it."""
    partial = PartialRows(LocalFiles(), folder, "judge")
    partial.open()

    async def left() -> AsyncIterator[list[Row]]:
        yield [row for row in rows if row.number not in shelf.results]

    parts = RunContext(Turns(), client, shelf, lambda: 0, lambda answer: answer.text, partial=partial)
    try:
        run(engine.run(parts, left(), slots=RowSlots(3, 10**9), drain=StopFlag()))
    except BudgetSpent:
        return True
    finally:
        partial.close()
    return False


_TURNS = st.lists(st.integers(0, 4), min_size=1, max_size=3)


@settings(max_examples=25)
@given(
    given_rows=st.lists(st.tuples(_TURNS, st.booleans()), min_size=1, max_size=6),
    purses=st.lists(st.integers(0, 8), max_size=5),
    choices=st.sampled_from([1, 2, 9]),
)
def test_answers_before_the_end_of_the_budget_are_never_paid_again(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[tuple[list[int], bool]], purses: list[int], choices: int
) -> None:
    rows = [Row("s", number, {"turns": turns, "alike": alike}) for number, (turns, alike) in enumerate(given_rows)]
    folder = tmp_path_factory.mktemp("partial") / "out"
    whole, shelf, paid = Shelf(), Shelf(), Counter[tuple[int, int]]()
    start(rows, Purse(10**6, 1), whole, f"{folder}/whole")
    for answers in (*purses, 10**6):
        client = Purse(answers, choices)
        again = start(rows, client, shelf, f"{folder}/cut")
        paid += client.paid
    assert not again
    assert not paid or max(paid.values()) == 1
    for number, result in whole.results.items():
        cut = shelf.results[number]
        assert (cut.score, cut.raw) == (result.score, result.raw)
        assert result.attempts == len([key for key in paid if key[0] == number])
        if choices == 1:
            asked = [cut.attempts, cut.usage, cut.cost_pico]
            assert asked == [result.attempts, result.usage, result.cost_pico]
    assert not Path(folder, "cut").exists()  # nothing is left of rows that are finished


def test_partial_rows_of_workers_are_merged_at_the_next_start(tmp_path: Path) -> None:
    """A worker writes what it changed; a row that it finished is not known any more."""
    folder, said, rows = f"{tmp_path}/partial", list[str](), [Row("s", number, {}) for number in range(4)]
    owner = PartialRows(LocalFiles(), folder, "judge")
    owner.open()
    for row in rows[:2]:
        owner.keep(row, [Completion("kept"), None])
    owner.close()
    for number in range(2):
        worker = PartialRows(LocalFiles(), folder, "judge", worker=number)
        worker.open()
        assert worker.known_of(rows[number])
        worker.finished(rows[number]) if number else worker.keep(rows[2], [None, Completion("later")])
        worker.close()
    (tmp_path / "partial/000000").write_bytes(b"00000000 {}\n")
    after = PartialRows(LocalFiles(), folder, "judge", say=said.append)
    after.open()
    known = [after.known_of(row) for row in rows]
    assert [one is not None for one in known] == [True, False, True, False]
    assert known[2] is not None
    assert known[2](0, Request()) == 0
    assert known[2](1, Request()) == Completion("later")
    assert len(list((tmp_path / "partial").iterdir())) == 1
    assert said == [f"{folder}/000000 has a damaged line: the answers of one row are asked for again."]
    assert PartialRows(LocalFiles(), folder, "another judge").known_of(rows[2]) is None
