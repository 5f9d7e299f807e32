"""Promise: the same question is asked once; a copy costs nothing, is marked, and never stands without its source.

Over 300 lines: from one digest to whole runs that die at every file they write.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import now, run
from support.inprocess import Run

from scorer import scan_scores
from scorer.build.plan import check
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
    SpecError,
    StorageError,
    TooLong,
)
from scorer.files.files import LocalFiles
from scorer.job.reread import reread
from scorer.job.retry import Retry
from scorer.judges.rating import Rating
from scorer.output import ledger
from scorer.output.layout import Layout
from scorer.output.row_counts import Counts
from scorer.output.status import status
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


# --- a whole run ------------------------------------------------------------------------------------------------------


class Dying(LocalFiles):
    """Files of a disk that takes `lives` more files under segments/ or scores/, and then none ever again."""

    def __init__(self, lives: int) -> None:
        super().__init__()
        self.lives = lives

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        if "/segments/" in path or "/scores/" in path:
            if self.lives == 0:
                raise StorageError("the disk is dead")
            self.lives -= 1
        with super().create(path) as file:
            yield file


SHARDS = {"a": [0, 1, 2, 0, 1, 3, 3, 0], "b": [4, 0, 4, 5, 1, 5, 6], "c": [6, 0, 0, 7, 5, 4]}
"""What each row of each shard asks about."""


class Repeated(Run):
    """Shards whose rows ask about a few things; the wire answers by the thing."""

    def __init__(self, root: Path, **output: Any) -> None:
        super().__init__(root, **output)
        (root / "in").mkdir()
        for name, things in SHARDS.items():
            ids = [f"{name}{place}" for place in range(len(things))]
            table = pa.table({"id": ids, "response": [f"[row:r{thing}] said" for thing in things]})
            pq.write_table(table, root / "in" / f"{name}.parquet")

    def start(self, files: LocalFiles | None = None, retry: Retry | None = None, **judge: Any) -> Any:
        return self.run(files, retry, prompt="{response} Score:", dedupe=True, **judge)

    def table(self) -> pa.Table:
        return scan_scores(self.out).collect().to_arrow()

    def sound(self) -> None:
        """Every row has its thing's answer or error; every copy a source that was asked; the sums are what was paid."""
        found = {(Path(row["shard"]).stem, row["row"]): row for row in self.table().to_pylist()}
        assert self.verify().findings == ()
        for (name, number), row in found.items():
            thing = SHARDS[name][number]
            failed = thing in self.wire.refuses
            assert (row["score"], row["error"]) == ((None, "Refused") if failed else (thing % 10 + 1.0, None))
            if row["copied_from"] is not None:
                path, _, place = row["copied_from"].rpartition("#")
                own = found[Path(path).stem, int(place)]
                assert SHARDS[Path(path).stem][int(place)] == thing
                assert (own["copied_from"], own["attempts"]) == (None, 1)
                paid = ("attempts", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_microusd")
                assert [row[name] for name in paid] == [0] * 5
                assert row["raw"] == own["raw"]
        books = ledger.totals(LocalFiles(), Layout(self.out).ledger)
        assert sum(row["prompt_tokens"] or 0 for row in found.values()) == books.prompt_tokens
        assert sum(row["attempts"] for row in found.values()) == books.requests + self.refusals
        assert sum(row["cost_microusd"] or 0 for row in found.values()) * 10**6 == books.pico

    @property
    def refusals(self) -> int:
        return sum(self.wire.asked[thing] for thing in self.wire.refuses)


def test_dedupe_run_requests_each_question_once_and_table_sums_to_cost(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    night.wire.refuses = {3, 6}
    found = night.start()
    assert (found.state, found.rows, found.scored, found.failed) == ("complete", 21, 17, 4)
    assert found.copied == 21 - 8
    assert set(night.wire.asked.values()) == {1}
    night.sound()
    assert night.table().schema.field("copied_from").type in (pa.string(), pa.large_string())
    night.start()  # nothing left
    assert night.wire.asked.total() == 8


def test_dedupe_off_requests_every_row_and_writes_no_copied_from_column(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    found = night.run(prompt="{response} Score:")
    assert (found.copied, night.wire.asked.total()) == (0, 21)
    assert "copied_from" not in night.table().schema.names


@pytest.mark.slow
@pytest.mark.parametrize("flush_rows", [1, 3])
def test_dedupe_run_killed_at_any_write_leaves_no_copy_without_source(tmp_path: Path, flush_rows: int) -> None:
    """Slow: a run for each file that can be the last one written; a kill leaves no more than that."""
    for lives in range(60):
        (tmp_path / str(lives)).mkdir()
        night = Repeated(tmp_path / str(lives), flush_rows=flush_rows)
        files = Dying(lives)
        with suppress(StorageError):
            night.start(files)
        if files.lives > 0:
            break
        table = night.table()
        there = set(zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True))
        for found in table["copied_from"].to_pylist() if "copied_from" in table.schema.names else ():
            if found is not None:
                path, _, place = found.rpartition("#")
                assert (path, int(place)) in there
        assert not any("is a copy" in finding for finding in night.verify().findings)
        night.start()
        assert status(LocalFiles(), night.out).state == "complete"
        assert night.verify().findings == ()
    assert lives > 5


def test_retry_requests_failed_question_once_for_all_its_duplicates(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    night.wire.refuses = {0}
    night.start()
    night.wire.refuses = set()
    before = night.wire.asked.copy()
    found = night.start(retry=Retry(None))
    assert night.wire.asked - before == Counter({0: 1})
    assert (found.failed, found.copied) == (0, 13)
    assert night.verify().findings == ()


def test_reread_keeps_copies_and_rejects_change_of_dedupe(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    night.start()
    copies = night.table()["copied_from"].to_pylist()
    with pytest.raises(SpecError, match="this key changes the requests"):
        reread(LocalFiles(), night.out, ["judge.dedupe=false"])
    found = reread(LocalFiles(), night.out, ["judge.scale=[1, 20]"])
    assert (found.state, found.copied, night.wire.asked.total()) == ("complete", 13, 8)
    assert night.table()["copied_from"].to_pylist() == copies
    assert night.verify().findings == ()


def _changed(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """The sealed file with other rows, whole by its own checksums."""
    from scorer.output import segments as seg

    about, _ = seg.read_about(LocalFiles(), str(path))
    table = pq.read_table(path)
    found = table.to_pylist()
    change(found)
    path.unlink()
    with LocalFiles().create(str(path)) as file:
        schema = table.schema.remove_metadata()
        seg.write(file, iter([pa.Table.from_pylist(found, schema)]), schema, about)


@pytest.mark.parametrize("when_s", [-1, 0, 1])
def test_verify_reports_copy_that_differs_from_source(tmp_path: Path, when_s: int) -> None:
    night = Repeated(tmp_path)
    night.start()

    def change(fields: list[dict[str, Any]]) -> None:
        fields[0]["score"] += 1.0
        fields[0]["finished_at"] += dt.timedelta(seconds=when_s)  # scored again later: no fault of the copies

    _changed(night.sealed("a"), change)
    findings = night.verify().findings
    assert len(findings) == (0 if when_s > 0 else 3)  # in each of the shards
    assert all("is a copy of a row of" in one and "says something else" in one for one in findings)


def test_verify_reports_copy_whose_source_has_no_result(tmp_path: Path) -> None:
    night = Repeated(tmp_path)
    night.start()

    def change(fields: list[dict[str, Any]]) -> None:
        fields[3]["copied_from"] = f"{fields[0]['shard']}#99"
        fields[4]["copied_from"] = "elsewhere.parquet#0"

    _changed(night.sealed("a"), change)
    assert sorted(finding.partition(": row ")[2] for finding in night.verify().findings) == [
        f"3 is a copy of a row of {night.root}/in/a.parquet that has no result",
        "4 names no row of this run as its source",
    ]


def test_counts_read_tables_without_copied_from_column(tmp_path: Path) -> None:
    table = pa.table({"error": pa.nulls(2, pa.string()), "score": [1.0, 2.0],
                      **{name: [1, 2] for name in ("prompt_tokens", "completion_tokens", "cached_tokens",
                                                   "cost_microusd", "attempts", "generation")}})  # fmt: skip
    assert Counts.of(table).copied == 0
    copied = table.append_column("copied_from", pa.array([None, "s#0"]))
    assert Counts.of(copied).copied == pc.count(copied["copied_from"]).as_py() == 1


# --- the run file -----------------------------------------------------------------------------------------------------


def problems_of(*models: dict[str, Any]) -> list[str]:
    judge: dict[str, Any] = {"prompt": "{response}", "dedupe": True}
    if len(models) > 1:
        judge |= {"kind": "panel", "models": [model["alias"] for model in models]}
    more = {"models": list(models)} if len(models) > 1 else {"model": models[0]}
    try:
        check({"input": {"shards": ["x"]}, "judge": judge, "output": {"path": "o"}, **more})
    except SpecError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ([{"name": "gpt-4o-mini"}], None),
        ([{"name": "gpt-4o-mini", "temperature": 0}], None),
        ([{"provider": "embedded"}], None),
        ([{"name": "gpt-4o-mini", "temperature": 0.7}], "model.temperature = 0.7"),
        ([{"name": "gpt-4o-mini", "extra": {"temperature": 1}}], "model.extra.temperature = 1"),
        ([{"name": "gpt-4o-mini", "extra": {"temperature": "hot"}}], 'model.extra.temperature = "hot"'),
        ([{"name": "gpt-4o-mini", "temperature": 1, "extra": {"temperature": 0}}], None),
        ([{"name": "o3-mini"}], '"o3-mini" takes no temperature'),
        (
            [{"alias": "x", "name": "gpt-4o-mini"}, {"alias": "y", "name": "gpt-4o", "temperature": 1.0}],
            "models.y.temperature = 1.0",
        ),
    ],
)
def test_dedupe_requires_temperature_0_of_every_model(models: list[dict[str, Any]], says: str | None) -> None:
    problems = problems_of(*models)
    assert len(problems) == (says is not None)
    assert says is None or (says in problems[0] and "leave judge.dedupe out" in problems[0])
