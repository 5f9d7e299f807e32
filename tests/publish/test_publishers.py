"""What every publisher promises, for Delta and for Iceberg: each row once, whatever happened on the way."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from publish.lakes import Lake, keys
from publish.runs import expected, output, run_of
from support.clock import run as virtually
from support.inprocess import Run
from support.outputs import FINISHED_AT_US, Output

from scorer.errors import OutputError, SpecError, StorageError
from scorer.files.local_files import LocalFiles
from scorer.output.checksums import OURS
from scorer.output.layout import Layout
from scorer.output.manifest import load
from scorer.publish.publish import publish, publisher
from scorer.publish.sealed import Version


def send(made: Output, lake: Lake, **options: tuple[str, ...]) -> tuple[int, int]:
    done = publish(LocalFiles(), made.layout.out, lake.address, **options)
    return done.committed, done.rows


@pytest.mark.slow
def test_published_rows_are_there_once_for_every_reader_also_after_a_repeat(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported."""
    made = output(tmp_path / "a", 3, 5)
    assert send(made, lake) == (2, 8)
    assert send(made, lake) == (0, 0)
    assert lake.commits() == [2], "one commit for both shards"
    table = lake.library()
    assert keys(table) == expected(made)
    assert table.column_names == ["scorer_run", *pq.read_schema(made.sealed()).names]
    rows = sorted(table.drop_columns(["scorer_run"]).to_pylist(), key=lambda row: (row["shard"], row["row"]))
    assert rows == made.rows(0) + made.rows(1)
    frame = lake.polars().sort("shard", "row")
    assert frame["score"].to_list() == [row["score"] for row in rows]
    assert frame["finished_at"].to_list() == [row["finished_at"] for row in rows]
    assert lake.duckdb("SELECT count(*), sum(score), count(DISTINCT shard) FROM t") == [(8, 3.0 + 10.0, 2)]


@pytest.mark.slow
def test_publish_replaces_a_shard_that_was_scored_again_in_one_commit(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported."""
    made = output(tmp_path / "a", 3, 4, failing=True)
    send(made, lake)
    assert lake.duckdb("SELECT count(*) FROM t WHERE error IS NOT NULL") == [(4,)]
    virtually(made.retry())
    assert send(made, lake) == (1, 4)
    assert send(made, lake) == (0, 0)
    table = lake.library()
    assert keys(table) == expected(made)
    assert sorted(zip(table.column("generation").to_pylist(), table.column("row").to_pylist(), strict=True)) == [
        *((0, row) for row in range(3)),
        *((1, row) for row in range(4)),
    ]
    assert table.column("error").null_count == 7
    assert sum(lake.commits()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("forgets", [False, True])
def test_publish_replaces_a_sealed_file_that_was_lost_and_scored_again(
    tmp_path: Path, lake: Lake, *, forgets: bool
) -> None:
    """Slow: a table library is imported. Its generation is lower than that of the rows it replaces."""
    made = output(tmp_path / "a", 3, 4, failing=True)
    virtually(made.retry())
    send(made, lake)
    if forgets:
        lake.forget()
    made.sealed(1).unlink()
    for segment in made.segments(1):
        segment.unlink()
    virtually(made.score({1: range(4)}, finished_at=FINISHED_AT_US + 1, value=7.0))
    assert send(made, lake)[0] >= 1
    table = lake.library()
    assert keys(table) == expected(made)
    assert sorted(table.column("score").to_pylist()) == [0.0, 1.0, 2.0, *[7.0] * 4]
    if not forgets:
        assert send(made, lake) == (0, 0)


@pytest.mark.slow
def test_published_table_survives_a_lost_run_json(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported. The run's id is in its result files too."""
    made = Run(tmp_path, 3, 5)
    made.run()
    assert publish(LocalFiles(), made.out, lake.address).rows == 8
    before = keys(lake.library())
    Path(made.out, "run.json").unlink()
    with pytest.raises(SpecError, match=r"run\.json is gone, and .* holds scores"):
        publish(LocalFiles(), made.out, lake.address)
    made.run()
    assert publish(LocalFiles(), made.out, lake.address).committed == 0
    assert keys(lake.library()) == before


def test_version_is_newer_by_generation_or_by_its_last_row() -> None:
    old = Version(1, 100)
    assert Version(2, 90).is_newer_than(old)
    assert Version(0, 101).is_newer_than(old)
    assert not old.is_newer_than(old)
    assert not Version(0, 100).is_newer_than(old)
    assert not Version(1, 101).is_newer_than(Version(1, 0)), "nobody wrote down when it was finished"


@pytest.mark.slow
def test_publish_puts_two_runs_of_one_input_into_one_table(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported. A shard of the same name in another run is another shard."""
    made, other = output(tmp_path / "a", 3), output(tmp_path / "b", 2, failing=True)
    send(made, lake)
    send(other, lake)
    virtually(other.retry())
    send(other, lake)
    assert keys(lake.library()) == sorted(expected(made) + expected(other))
    assert run_of(made) != run_of(other)


@pytest.mark.slow
@pytest.mark.parametrize("partition_by", [("scorer_run",), ("scorer_run", "task")])
def test_published_table_keeps_its_partitions(tmp_path: Path, lake: Lake, partition_by: tuple[str]) -> None:
    """Slow: a table library is imported."""
    made = output(tmp_path / "a", 3, 4, failing=True)
    send(made, lake, partition_by=partition_by)
    virtually(made.retry())
    assert send(made, lake) == (1, 4), "its own partitions serve where none are asked for"
    assert lake.partitions() == list(partition_by)
    assert keys(lake.library()) == expected(made)
    assert lake.duckdb("SELECT count(*) FROM t WHERE task = 't' AND generation = 1") == [(4,)]
    other = output(tmp_path / "b", 1)
    with pytest.raises(SpecError, match=r"is partitioned by scorer_run.*--partition-by asks for shard"):
        send(other, lake, partition_by=("shard",))


@pytest.mark.slow
def test_publish_appends_later_columns_as_null(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported."""
    made, other, third = output(tmp_path / "a", 3), output(tmp_path / "b", 2), output(tmp_path / "c", 2)
    send(made, lake)
    widen(other)
    send(other, lake)
    send(third, lake)  # without the column again
    table = lake.library()
    assert table.column_names[-1] == "score_style"
    assert keys(table) == sorted(expected(made) + expected(other) + expected(third))
    assert lake.duckdb("SELECT scorer_run, row, score_style FROM t WHERE score_style IS NOT NULL ORDER BY row") == [
        (run_of(other), 0, 0.5),
        (run_of(other), 1, 1.5),
    ]
    assert lake.polars().filter(scorer_run=run_of(made))["score_style"].to_list() == [None] * 3


def widen(made: Output) -> None:
    """One more criterion in the sealed file, as a reread leaves it: a generation later."""
    path = made.sealed()
    table = pq.read_table(path)
    column = pa.array([row + 0.5 for row in range(table.num_rows)])
    rewrite(path, table.append_column("score_style", column), {b"scorer.generation": b"1"})


def rewrite(path: Path, table: pa.Table, fields: dict[bytes, bytes]) -> None:
    """The sealed file with another table in it, without checksums, and what it says of itself."""
    metadata = {**pq.read_metadata(path).metadata, **fields}
    for key in (b"ARROW:schema", *OURS):
        metadata.pop(key, None)
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.mark.slow
def test_publish_replaces_the_rows_of_a_reread_with_one_more_criterion(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported."""
    made = output(tmp_path / "a", 3)
    send(made, lake)
    widen(made)
    assert send(made, lake) == (1, 3)
    assert keys(lake.library()) == expected(made)
    assert sorted(lake.library().column("score_style").to_pylist()) == [0.5, 1.5, 2.5]


@pytest.mark.slow
def test_publish_reads_the_rows_of_a_table_that_forgot_its_commits(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported. Iceberg's snapshots expired; Delta was told to forget transactions."""
    made, other = output(tmp_path / "a", 3, 4, failing=True), output(tmp_path / "b", 2)
    send(made, lake)
    lake.forget()
    assert send(made, lake) in ((0, 0), (2, 7)), "found, or replaced by the same"
    assert keys(lake.library()) == expected(made)
    virtually(made.retry())
    send(made, lake)
    lake.forget()
    send(other, lake)
    assert keys(lake.library()) == sorted(expected(made) + expected(other))
    assert lake.duckdb("SELECT count(*) FROM t WHERE generation = 1") == [(4,)]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_publish_refuses_a_table_of_something_else(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported."""
    made = output(tmp_path / "a", 3)
    lake.other()
    with pytest.raises(SpecError, match=r"is no table of published scores: it has no column scorer_run, shard"):
        send(made, lake)
    assert lake.library().to_pydict() in ({"x": [1]}, {"x": []})


@pytest.mark.slow
def test_publish_names_a_column_of_another_type(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported."""
    made, other = output(tmp_path / "a", 3), output(tmp_path / "b", 2)
    send(made, lake)
    retype(other, "task", pa.array([1, 2], pa.uint32()))
    with pytest.raises(
        SpecError, match=r"has a column task of type \w*string, and these scores have one of type int64"
    ):
        send(other, lake)
    assert keys(lake.library()) == expected(made)


def retype(made: Output, name: str, column: pa.Array) -> None:
    path = made.sealed()
    table = pq.read_table(path)
    index = table.column_names.index(name)
    rewrite(path, table.set_column(index, name, column), {})


@pytest.mark.slow
def test_publish_keeps_or_refuses_nanoseconds(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported."""
    exact, lost = output(tmp_path / "a", 2), output(tmp_path / "b", 2)
    retype(exact, "task", pa.array([1_000, None], pa.timestamp("ns")))
    retype(lost, "task", pa.array([1_001, None], pa.timestamp("ns")))
    send(exact, lake)
    with pytest.raises(SpecError, match=r"Column task of .* holds a value of type timestamp\[ns\] that does not fit"):
        send(lost, lake)
    assert keys(lake.library()) == expected(exact)


@pytest.mark.slow
def test_publish_reports_a_damaged_shard_and_publishes_the_others(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported."""
    made = output(tmp_path / "a", 3, 4)
    data = bytearray(made.sealed(0).read_bytes())
    data[5] ^= 2  # the type of its first page: pyarrow skips the page, and raises nothing
    made.sealed(0).write_bytes(data)
    with pytest.raises(OutputError, match=r"scores/a\.parquet is damaged and was not published"):
        send(made, lake)
    assert keys(lake.library()) == [key for key in expected(made) if key[1].endswith("b.parquet")]


@pytest.mark.slow
def test_publish_names_an_impossible_partition(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported."""
    made = output(tmp_path / "a", 3)
    with pytest.raises(SpecError) as raised:
        send(made, lake, partition_by=("score", "nothing", "raw"))
    score, nothing, raw = str(raised.value).splitlines()
    assert "cannot be partitioned by score: it is of type double" in score
    assert "cannot be partitioned by nothing: there is no such column. There are scorer_run, shard, row" in nothing
    assert "cannot be partitioned by raw: it is of type list" in raw


def test_publish_gives_an_earlier_run_json_an_id_once(tmp_path: Path) -> None:
    made = output(tmp_path / "a", 1, named=False)
    assert load(made.files, made.layout).id == ""  # type: ignore[union-attr]
    for _ in range(2):
        with pytest.raises(SpecError, match="needs the place of a table"):
            publish(LocalFiles(), made.layout.out, "delta://")
    manifest = load(LocalFiles(), Layout(made.layout.out))
    assert manifest is not None
    assert len(manifest.id) == 16
    with pytest.raises((SpecError, StorageError)):
        publish(LocalFiles(), made.layout.out, "delta://")
    assert load(LocalFiles(), Layout(made.layout.out)) == manifest


def test_publish_takes_a_tilde_as_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = [publisher(address).target for address in ("delta://~/lake", "delta://lake~/x")]  # type: ignore[attr-defined]
    assert found == [f"delta://{tmp_path}/lake", "delta://lake~/x"]
