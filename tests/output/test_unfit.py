"""Promise: whatever a judge, a server or a metric hands over, each paid row is stored: scored, or with its error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import inline, run
from support.inprocess import Run
from support.outputs import FINGERPRINT, SCHEMA, Output, result

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.errors import RowError, SpecError, TooManyFailed
from scorer.files.local_files import LocalFiles
from scorer.job.job import Job
from scorer.output import segments, tables, unfit_rows
from scorer.output.layout import Segment
from scorer.output.run_files import RunFiles
from scorer.output.schema import (
    result_schema,
)
from scorer.output.status import Status
from scorer.output.tables import PIECE_BYTES, made, made_at_once, pieces, size_of, to_table
from scorer.output.worker_store import WorkerStore
from scorer.types import (
    Completion,
    Conversation,
    Message,
    Request,
    Result,
    Row,
    Score,
    Shard,
)
from scorer.usage import (
    Usage,
)

SHARD = Shard("in/s.parquet", "s", 1, "v", 1000, "f")
FIELDS = [
    pa.field("share", pa.float64()),
    pa.field("count", pa.int32(), nullable=False),
    pa.field("words", pa.list_(pa.string())),
]
OWN = result_schema(id_field=pa.field("id", pa.string()), kept=[pa.field("task", pa.string())], judge_fields=FIELDS)


class Nameless:
    """Even its name cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("no name")

    __str__ = __repr__


def scored(number: int, **fields: Any) -> Result:
    score = Score(float(number), fields={"share": 0.5, "count": 1, "words": ["a"], **fields})
    return replace(result(SHARD, number), score=score)


# --- one value --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": "half"},
        {"share": [0.5]},
        {"count": 2**31},
        {"count": float("nan")},
        {"count": "one"},
        {"words": [1, object()]},
        {"words": Nameless()},
    ],
)
def test_to_table_fails_only_rows_with_a_judge_field_of_the_wrong_type(wrong: dict[str, Any]) -> None:
    found = made([scored(n, **(wrong if n == 3 else {})) for n in range(6)], OWN, "f")
    rows = found.table.to_pylist()
    assert [row["score"] for row in rows] == [0.0, 1.0, 2.0, None, 4.0, 5.0]
    assert [row["error"] for row in rows] == [None, None, None, "Unreadable", None, None]
    assert f"the judge's {next(iter(wrong))} is " in rows[3]["error_detail"]
    assert (rows[3]["raw"], rows[3]["prompt_tokens"], rows[3]["share"], rows[3]["count"]) == (["4"], 10, None, None)
    assert [one.result.row.number for one in found.unfit] == [3]
    assert found.results[3].error is not None


def test_made_at_once_equals_made_one_by_one_and_leaves_unfit_values_to_it() -> None:
    groups = [[scored(2), scored(0)], [scored(5)], [scored(7, words=["b"]), scored(3), scored(4)]]
    at_once = made_at_once(groups, OWN, "f")
    assert at_once is not None
    whole, each = at_once
    assert whole.equals(pa.concat_tables([one.table for one in each]))
    for one, group in zip(each, groups, strict=True):
        alone = made(group, OWN, "f")
        assert one.table.equals(alone.table)
        assert one.results == alone.results
    assert made_at_once([*groups, [scored(1, count="one")]], OWN, "f") is None


@pytest.mark.parametrize(
    ("fields", "column"),
    [
        ({"model": 7}, "judge_model"),
        ({"finish_reason": {"a": 1}}, "finish_reason"),
        ({"usage": Usage(10**30, 1)}, "prompt_tokens"),
        ({"cost_pico": 10**40}, "cost_microusd"),
        ({"raw": ("a", 7)}, "raw"),
    ],
)
def test_to_table_replaces_unfit_server_values_with_null_and_keeps_the_score(
    fields: dict[str, Any], column: str
) -> None:
    found = made([replace(result(SHARD, n), **(fields if n == 1 else {})) for n in range(3)], SCHEMA, "f")
    assert [row["score"] for row in found.table.to_pylist()] == [0.0, 1.0, 2.0]
    assert [row[column] is None for row in found.table.to_pylist()] == [False, True, False]
    assert [(one.column, one.error) for one in found.unfit] == [(column, None)]


def test_to_table_makes_a_row_with_an_unwritable_kept_value_a_bad_row() -> None:
    rows = [result(SHARD, n) for n in range(3)]
    rows[1] = replace(rows[1], row=replace(rows[1].row, kept=("s1", object())))
    found = to_table(rows, SCHEMA, "f").to_pylist()
    assert [row["error"] for row in found] == [None, "BadRow", None]
    assert (found[1]["id"], found[1]["task"]) == ("s1", None)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=())), st.binary(),
    st.lists(st.one_of(st.integers(), st.text())), st.dictionaries(st.text(), st.integers()), st.builds(Nameless),
)  # fmt: skip


@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"share": VALUES, "count": VALUES, "words": VALUES}), min_size=1, max_size=6
    ),
    VALUES,
    VALUES,
)
@settings(max_examples=60)
def test_to_table_holds_every_row_once_for_any_values(fields: list[dict[str, Any]], model: Any, reason: Any) -> None:
    results = [scored(n, **one) for n, one in enumerate(fields)]
    changed = replace(results[0], model=model, score=Score(1.0, reason=reason, fields={}))
    table = to_table([changed, *results[1:]], OWN, "f")
    assert table.column("row").to_pylist() == list(range(len(fields)))
    for row in table.to_pylist():
        assert (row["score"] is None) == (row["error"] is not None)
    assert table.schema == OWN


@pytest.mark.parametrize("fields", [None, 7, ["share"]])
def test_to_table_fails_a_row_whose_score_fields_are_no_mapping(fields: Any) -> None:
    odd = replace(scored(1), score=Score(1.0, fields=fields))
    assert [row["error"] for row in to_table([scored(0), odd], OWN, "f").to_pylist()] == [None, "Unreadable"]


def test_row_error_subclasses_have_a_documented_name() -> None:
    class Mine(RowError):
        pass

    class Cut(tables.BadRow):
        pass

    assert [Mine("").name, Cut("").name, RowError("").name] == ["Unreadable", "BadRow", "Unreadable"]


# --- a batch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("a bug"), MemoryError(), pa.ArrowInvalid("no"), OSError("gone")])
def test_store_close_writes_a_batch_that_failed_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    write, fails = segments.write, [True]

    def once(*given: Any, **named: Any) -> Any:
        if fails.pop() if fails else False:
            raise error
        return write(*given, **named)

    async def scenario() -> None:
        output = Output(tmp_path, 20)
        store = output.store(flush_rows=10, flush_s=1.0)
        list(store.work(output.shards))
        for n in range(20):
            store.add(result(output.shards[0], n))
        monkeypatch.setattr(segments, "write", once)
        with pytest.raises(BaseExceptionGroup):
            await store.serve()
        await store.close()
        assert [row["row"] for row in output.rows()] == list(range(20))

    run(scenario())


def test_store_write_failure_of_one_shard_spares_other_shards(tmp_path: Path) -> None:
    class Part(LocalFiles):
        def create(self, path: str) -> Any:
            if "/a/" in path:
                raise KeyError("a bug")
            return super().create(path)

    async def scenario() -> None:
        output = Output(tmp_path, 3, 3)
        store = output.store(files=Part())
        list(store.work(output.shards))
        for shard in output.shards:
            store.add(result(shard, 1))
        with pytest.raises(KeyError):
            await store.close()
        assert [len(output.segments(0)), len(output.segments(1))] == [0, 1]

    run(scenario())


def test_store_writes_an_unfit_value_in_one_of_several_small_shards(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 1, 2, 1)
        store = output.store(schema=OWN)
        list(store.work(output.shards))
        for shard, number in ((0, 0), (1, 0), (1, 1), (2, 0)):
            one = replace(scored(number, **({"count": "one"} if (shard, number) == (1, 1) else {})))
            store.add(replace(one, row=result(output.shards[shard], number).row))
        await store.close()
        assert [[row["error"] for row in output.rows(n)] for n in range(3)] == [[None], [None, "Unreadable"], [None]]
        assert (store.counted.counts.rows, store.counted.counts.errors) == (4, {"Unreadable": 1})

    run(scenario())


def test_store_counts_unfit_rows_as_errors_and_warns_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        output, said = Output(tmp_path, 10), list[str]()
        store = output.store(say=said.append)
        list(store.work(output.shards))
        for n in range(10):
            one = result(output.shards[0], n)
            store.add(replace(one, score=Score(1.0, reason=7)) if n in (3, 5) else one)  # type: ignore[arg-type]
        await store.close()
        assert (store.counts.scored, store.counts.errors) == (8, {"Unreadable": 2})
        assert len(said) == 1
        assert "Row 3 of " in said[0]
        assert "the judge's reason is 7" in said[0]

    run(scenario())


def test_store_stops_the_run_when_every_row_is_unfit_with_all_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfit_rows, "UNFIT", 20)

    async def scenario() -> None:
        output = Output(tmp_path, 100)
        store = output.store(flush_rows=10, flush_s=1.0)
        list(store.work(output.shards))
        for n in range(25):
            store.add(replace(result(output.shards[0], n), score=Score(1.0, reason=7)))  # type: ignore[arg-type]
        with pytest.raises(BaseExceptionGroup) as caught:
            await store.serve()
        assert caught.group_contains(TooManyFailed, match="`scorer reread` reads the replies again")
        assert store.counts.errors == {"Unreadable": 25}

    run(scenario())


def test_worker_store_reports_unfit_rows_as_errors(tmp_path: Path) -> None:
    messages: list[tuple[Segment, list[str | None]]] = []

    async def sure() -> None: ...

    def tell(_: Shard, segment: Segment, results: Sequence[Result]) -> None:
        messages.append((segment, [None if one.error is None else one.error.name for one in results]))

    async def scenario() -> None:
        output = Output(tmp_path, 3)
        worker = WorkerStore(
            RunFiles(output.files, output.layout, "", FINGERPRINT, lambda _: SCHEMA, worker=1),
            offload=inline, flush_rows=10, flush_s=1.0, on_written=tell, owned=sure,
        )  # fmt: skip
        worker.begin(output.shards[0], 0, 0)
        for n in range(3):
            one = result(output.shards[0], n)
            worker.add(replace(one, score=Score(1.0, reason=7)) if n == 1 else one)  # type: ignore[arg-type]
        await worker.close()
        assert [errors for _, errors in messages] == [[None, "Unreadable", None]]

    run(scenario())


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_store_writes_null_for_failing_metrics_and_keeps_results(tmp_path: Path) -> None:
    schema = result_schema(id_field=SCHEMA.field("id"), kept=[SCHEMA.field("task")], metrics=["own"])
    calls: list[int] = []

    def measure(results: Sequence[Result]) -> Mapping[str, Sequence[float | None]]:
        calls.append(len(results))
        if len(calls) != 2:
            raise RuntimeError("the model is gone")
        return {"metric_own": [1.0] * len(results)}

    async def scenario() -> None:
        output, said = Output(tmp_path, 9), list[str]()
        store = output.store(say=said.append, schema=schema)
        store.measure_with(measure)
        list(store.work(output.shards))
        for first in (0, 3, 6):
            for n in range(first, first + 3):
                store.add(result(output.shards[0], n))
            await store._writer.flush()
        await store.close()
        rows = output.rows()
        assert [row["score"] for row in rows] == [float(n) for n in range(9)]
        assert [row["metric_own"] for row in rows] == [None] * 3 + [1.0] * 3 + [None] * 3
        assert len(said) == 1
        assert "RuntimeError: the model is gone" in said[0]
        assert segments.read_about(output.files, output.layout.sealed("a"))[1].unmeasured == {"own": 6}

    run(scenario())


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_pieces_are_bounded_by_bytes_and_keep_every_row_in_order() -> None:
    results = [replace(result(SHARD, n), raw=("x" * (PIECE_BYTES // 3),)) for n in (4, 1, 0, 3, 2)]
    found = [[one.row.number for one in piece] for piece in pieces(results)]
    assert found == [[0, 1], [2, 3], [4]]
    assert [one.row.number for one in next(pieces([replace(results[0], raw=("x" * 2 * PIECE_BYTES,))]))] == [4]


def test_size_of_counts_replies_kept_values_and_reason() -> None:
    one = result(SHARD, 0)
    assert size_of(replace(one, raw=None, row=replace(one.row, kept=()))) == 0
    assert size_of(replace(one, raw=("x" * 10, None), row=replace(one.row, kept=("x" * 20, b"x" * 30, None, 1)))) == 60
    # The size of a row counts what it keeps, nested values too.
    assert size_of(replace(one, raw=None, row=replace(one.row, kept=("x",), size=500))) == 500
    assert size_of(replace(one, raw=None, row=replace(one.row, kept=()), score=Score(1.0, reason="x" * 7))) == 7


# --- a whole run ------------------------------------------------------------------------------------------------------


class Careless:
    """A judge of somebody's own, of which three rows in ten go wrong, each in its way."""

    columns = ("id", "response")
    fields = (pa.field("length", pa.int64()),)
    constant = ""

    def __call__(self, row: Row) -> Conversation:
        return self._conversation(row)

    def _conversation(self, row: Row) -> Iterator[Any]:
        (reply,) = yield [Request(messages=(Message("user", f"[row:{row.values['id']}]"),))]
        assert isinstance(reply, Completion)
        number = int(row.values["id"][1:]) % 10
        if number == 7:
            return {}["nothing"]
        return Score("much" if number == 8 else 1.0, fields={"length": "long" if number == 9 else 1})  # type: ignore[arg-type]


@pytest.mark.parametrize("dedupe", [False, True])
def test_run_pays_once_for_each_row_of_a_failing_judge(tmp_path: Path, dedupe: bool) -> None:
    given = Run(tmp_path, 40)
    tree = {
        "input": {"shards": [f"{tmp_path}/in/*.parquet"], "id": "id"},
        "judge": {"kind": f"{__name__}:Careless", "dedupe": dedupe},
        "model": {"name": "wire", "base_url": "http://127.0.0.1:1/v1", "price": {"input": 1.0, "output": 2.0}},
        "limits": {"concurrency": 4, "max_failed_share": 1.0},
        "output": {"path": given.out, "flush_rows": 10},
    }

    def start() -> Status:
        connect = partial(make_client, transport=given.wire)
        return run(Job(check(tree), LocalFiles(), offload=inline, wall_s=given.wall_s, connect=connect).run())

    for found in (start(), start()):
        assert (found.scored, found.errors) == (28, {"Unreadable": 12})
    assert set(given.wire.asked.values()) == {1}
    details = [row["error_detail"] for row in pq.read_table(given.sealed()).to_pylist()[7:10]]
    assert [detail.partition(":")[0].partition(",")[0] for detail in details] == [
        "the judge failed on this row", "the judge made 'much'", "the judge's length is 'long'"
    ]  # fmt: skip
    assert given.verify().findings == ()


class Unwritable(Careless):
    """Its columns cannot be written, or are there already."""

    fields = (
        pa.field("span", pa.month_day_nano_interval()),
        pa.field("reason", pa.string()),
        pa.field("twice", pa.string()),
        pa.field("twice", pa.int8()),
    )


def test_check_refuses_judge_columns_parquet_cannot_hold(tmp_path: Path) -> None:
    tree = {
        "input": {"shards": [f"{tmp_path}/in/*.parquet"]},
        "judge": {"kind": f"{__name__}:Unwritable"},
        "model": {"name": "wire", "base_url": "http://127.0.0.1:1/v1"},
        "output": {"path": f"{tmp_path}/out"},
    }
    with pytest.raises(SpecError) as caught:
        check(tree)
    message = "\n".join(caught.value.problems)
    assert "adds a column 'span' of type month_day_nano_interval, which Parquet cannot hold" in message
    assert "adds a column 'reason', which is the name of another result column" in message
    assert "adds a column 'twice', which is the name of another" in message
    assert len(caught.value.problems) == 3


class Alike(Careless):
    """Asks the same of every row, and makes what its column cannot hold."""

    columns = ("response",)

    def _conversation(self, row: Row) -> Iterator[Any]:
        yield [Request(messages=(Message("user", "[row:r0]"),))]
        return Score(1.0, fields={"length": "long"})


def test_dedupe_gives_copies_of_an_unfit_answer_the_same_error(tmp_path: Path) -> None:
    given = Run(tmp_path, 12)
    tree = {
        "input": {"shards": [f"{tmp_path}/in/*.parquet"]},
        "judge": {"kind": f"{__name__}:Alike", "dedupe": True},
        "model": {"name": "wire", "base_url": "http://127.0.0.1:1/v1"},
        "limits": {"max_failed_share": 1.0},
        "output": {"path": given.out, "flush_rows": 4},
    }
    connect = partial(make_client, transport=given.wire)
    found = run(Job(check(tree), LocalFiles(), offload=inline, wall_s=given.wall_s, connect=connect).run())
    assert found.errors == {"Unreadable": 12}
    assert given.wire.asked.total() == 1
    assert given.verify().findings == ()
