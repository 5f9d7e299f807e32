"""The contract of a judge: what `scorer.types.Judge` promises."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from scorer.errors import BadRow, Refused, RowError, ScorerError, SetupError, Unavailable
from scorer.output.schema import RESULT_COLUMNS
from scorer.testing.pure import no_io, other_moment
from scorer.types import Completion, Judge, Request, Row, Score

MOST_TURNS = 100
"""A conversation that is longer is taken for one that never ends."""

Answer = Callable[[Request], Completion | RowError]
Outcome = tuple[Score | None, str, tuple[tuple[Request, ...], ...]]
"""The score, the error as text, and the requests of each turn."""


class JudgeContract(ABC):
    """Tests of a judge. Derive a class `Test...` and give `make`, `rows` and `answer`.

    Every promise is tested on each of `rows`, of which two or more that differ are needed.
    """

    rows: Sequence[Mapping[str, Any]]
    """The values of the judge's columns for some rows that it can score."""
    nullable: frozenset[str] = frozenset()
    """The columns that may be null; a null in any other is a BadRow."""

    @abstractmethod
    def make(self) -> Judge:
        """A new judge."""

    @abstractmethod
    def answer(self, request: Request) -> Completion:
        """A reply that the judge can read; the same for the same request."""

    @pytest.fixture
    def judge(self) -> Judge:
        return self.make()

    def test_judge_declares_columns_that_it_reads_and_adds(self, judge: Judge) -> None:
        assert isinstance(judge.columns, tuple)
        assert all(isinstance(name, str) for name in judge.columns)
        assert isinstance(judge.constant, str)
        assert all(isinstance(field, pa.Field) for field in judge.fields)
        names = [field.name for field in judge.fields]
        assert len({*names}) == len(names), "two columns of one name"
        assert not {*names} & {*RESULT_COLUMNS, "id"}, "a result column has that name already"

    def test_judge_gives_a_finite_score_and_only_declared_columns(self, judge: Judge) -> None:
        types = {field.name: field.type for field in judge.fields}
        for row in self._rows():
            score, error, _ = self._talk(judge, row, self.answer)
            assert score is not None, f"no score for {dict(row.values)}: {error}"
            assert math.isfinite(score.value)
            assert {*score.fields} <= {*types}, "a column that `fields` does not declare"
            for name, value in score.fields.items():
                pa.array([value], types[name])
            assert score.reason is None or isinstance(score.reason, str)
            assert score.samples >= 1

    def test_judge_requests_are_complete_and_numbered_from_0_for_each_model(self, judge: Judge) -> None:
        for row in self._rows():
            _, _, turns = self._talk(judge, row, self.answer)
            asked = [request for turn in turns for request in turn]
            assert asked, "it asks nothing"
            assert all(turns), "a turn without a request"
            for model in {request.model for request in asked}:
                indices = [request.index for request in asked if request.model == model]
                assert indices == list(range(len(indices)))
            for request in asked:
                assert bool(request.messages) != (request.continuation is not None), "messages or a continuation"
                assert request.choices == 1, "how many choices are asked at once is the engine's to say"

    def test_judge_asks_and_scores_the_same_row_the_same_way(self, judge: Judge) -> None:
        before = [self._talk(judge, row, self.answer) for row in self._rows()]
        with other_moment(7):
            after = [self._talk(self.make(), row, self.answer) for row in self._rows()]
        assert before == after

    def test_judge_scores_do_not_depend_on_row_order(self, judge: Judge) -> None:
        before = [self._talk(judge, row, self.answer) for row in self._rows()]
        assert [self._talk(judge, row, self.answer) for row in self._rows()[::-1]][::-1] == before

    def test_judge_keeps_concurrent_rows_apart(self, judge: Judge) -> None:
        rows = self._rows()
        assert len(rows) >= 2, "give two rows or more"
        alone = [self._talk(self.make(), row, self.answer)[0] for row in rows]
        talks = [judge(row) for row in rows]
        turns = {number: next(talk) for number, talk in enumerate(talks)}
        scores: dict[int, Score] = {}
        for _ in range(MOST_TURNS):
            for number, requests in list(turns.items()):
                try:
                    turns[number] = talks[number].send([self.answer(request) for request in requests])
                except StopIteration as end:
                    scores[number] = end.value
                    del turns[number]
        assert [scores[number] for number in range(len(rows))] == alone

    def test_judge_does_no_io(self, judge: Judge) -> None:
        for row in self._rows():
            self._talk(judge, row, self.answer)
            with no_io():
                self._talk(judge, row, self.answer)

    def test_judge_does_not_change_the_row(self, judge: Judge) -> None:
        for row in self._rows():
            values = dict(row.values)
            self._talk(judge, row, self.answer)
            assert dict(row.values) == values

    @pytest.mark.parametrize("text", ["", " \n", "I would rather not say.", "\x00\ufffd{]"])
    @pytest.mark.parametrize("finish_reason", ["stop", "length", "content_filter", ""])
    def test_judge_raises_row_error_for_a_reply_without_verdict(
        self, judge: Judge, text: str, finish_reason: str
    ) -> None:
        """A judge that needs log-probabilities may raise SetupError where there are none."""
        for row in self._rows():
            score, error, _ = self._talk(judge, row, lambda _: Completion(text, finish_reason), SetupError)
            assert score is None, f"the score {score} is of a reply that holds none"
            assert error

    @pytest.mark.parametrize("kind", [Refused, Unavailable])
    def test_judge_fails_the_row_where_every_request_failed(self, judge: Judge, kind: type[RowError]) -> None:
        for row in self._rows():
            score, error, _ = self._talk(judge, row, lambda _: kind("It failed."))
            assert score is None, f"the score {score} is of no reply"
            assert error.startswith(kind.__name__), f"{error} hides why: {kind.__name__}"

    def test_judge_scores_or_fails_a_row_with_one_failed_request(self, judge: Judge) -> None:
        for row in self._rows():
            _, _, turns = self._talk(judge, row, self.answer)
            for failing in (request for turn in turns for request in turn):
                score, error, _ = self._talk(judge, row, self._failing(failing))
                assert (score is None) == bool(error)
                assert score is None or math.isfinite(score.value)

    def test_judge_raises_bad_row_for_a_null_column_before_any_request(self, judge: Judge) -> None:
        for name in judge.columns:
            if name in self.nullable:
                continue
            for row in self._rows():
                nulled = Row(row.shard, row.number, {**row.values, name: None}, tokens=row.tokens)
                score, error, turns = self._talk(judge, nulled, self.answer)
                assert score is None, f"a score where {name} is null"
                assert error.startswith(BadRow.__name__), error
                assert not turns, "it asked all the same"

    # --- the conversation ---------------------------------------------------------------------------------------------

    def _rows(self) -> list[Row]:
        return [Row("contract.parquet", number, dict(values), tokens=100) for number, values in enumerate(self.rows)]

    def _failing(self, failing: Request) -> Answer:
        place = (failing.model, failing.index)
        return lambda asked: Refused("It failed.") if (asked.model, asked.index) == place else self.answer(asked)

    @staticmethod
    def _talk(judge: Judge, row: Row, answer: Answer, allowed: type[ScorerError] = RowError) -> Outcome:
        """Raises whatever the judge raises that is neither a RowError nor `allowed`."""
        turns: list[tuple[Request, ...]] = []
        talk = judge(row)
        try:
            requests = next(talk)
            for _ in range(MOST_TURNS):
                turns.append(tuple(requests))
                requests = talk.send([answer(request) for request in requests])
        except StopIteration as end:
            if not isinstance(end.value, Score):
                raise AssertionError(f"it returned {end.value!r}") from None
            return end.value, "", tuple(turns)
        except (RowError, allowed) as error:
            name = error.name if isinstance(error, RowError) else type(error).__name__
            return None, f"{name}: {error}", tuple(turns)
        raise AssertionError(f"it still asks after {MOST_TURNS} turns")
