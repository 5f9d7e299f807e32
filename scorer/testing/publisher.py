"""The contract of a publisher: what `scorer.publish.sealed.Publisher` promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.output.schema import result_schema
from scorer.publish.sealed import RUN, GroupPublisher, Publisher, Sealed, Version

FINISHED_US = 1_790_000_000_000_000
FIRST = Version(0, FINISHED_US)
Key = tuple[str, str, int, float | None]
"""Run, shard, row and score of one row."""


class Died(BaseException):
    """Raised where the process is meant to die."""


class Dying(Sealed):
    """A sealed file of which only two batches of ten rows can be read."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        first = next(Sealed.batches(self))
        yield first.slice(0, 10)
        yield first.slice(10, 10)
        raise Died


class PublisherContract(ABC):
    """Tests of a publisher. Derive a class `Test...` and give `place`, `make` and `rows`."""

    @abstractmethod
    def place(self, folder: Path) -> str:
        """The place of a table that is not there yet; what is needed to make one is in `folder` or made there."""

    @abstractmethod
    def make(self, place: str, partition_by: Sequence[str] = ()) -> Publisher:
        """A new publisher of the table at a place."""

    @abstractmethod
    def rows(self, place: str) -> Sequence[Mapping[str, Any]]:
        """All rows that a reader of the table sees; none where there is no table. They have the columns scorer_run,
        shard, row and score."""

    @pytest.fixture
    def table(self, tmp_path: Path) -> str:
        return self.place(tmp_path)

    def test_publisher_writes_nothing_when_made(self, tmp_path: Path) -> None:
        place = self.place(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        self.make(place)
        assert sorted(tmp_path.rglob("*")) == before

    def test_publish_writes_every_row_once_and_a_repeat_changes_nothing(self, table: str, tmp_path: Path) -> None:
        shard = sealed(tmp_path, rows=10)
        publisher = self.make(table)
        assert publisher.publish(shard) is True
        assert self._keys(table) == keys(shard)
        assert publisher.publish(shard) is False
        assert self.make(table).publish(shard) is False, "what is published has to be known to the table itself"
        assert self._keys(table) == keys(shard)

    def test_publish_keeps_runs_and_shards_apart_in_one_table(self, table: str, tmp_path: Path) -> None:
        shards = [
            sealed(tmp_path, run=run, shard=shard) for run in ("r1", "r2") for shard in ("a", "it's b/日本.parquet")
        ]
        for shard in shards:
            assert self.make(table).publish(shard) is True
        assert self._keys(table) == sorted(key for shard in shards for key in keys(shard))

    @pytest.mark.parametrize(
        "version", [Version(1, FINISHED_US), Version(0, FINISHED_US + 1)], ids=["generation", "finished later"]
    )
    def test_publish_of_a_newer_version_replaces_only_rows_of_its_shard(
        self, table: str, tmp_path: Path, version: Version
    ) -> None:
        old, other, run = sealed(tmp_path), sealed(tmp_path, shard="b"), sealed(tmp_path, run="r2")
        new = sealed(tmp_path, version=version, score=5.0)
        for shard in (old, other, run):
            self.make(table).publish(shard)
        assert self.make(table).publish(new) is True
        assert self._keys(table) == sorted([*keys(new), *keys(other), *keys(run)])
        assert self.make(table).publish(new) is False

    def test_publish_ignores_an_older_version(self, table: str, tmp_path: Path) -> None:
        new, old = sealed(tmp_path, version=Version(2, FINISHED_US), score=5.0), sealed(tmp_path)
        self.make(table).publish(new)
        assert self.make(table).publish(old) is False
        assert self._keys(table) == keys(new)

    def test_publish_killed_in_the_middle_leaves_no_row_and_can_be_repeated(self, table: str, tmp_path: Path) -> None:
        shard, other = sealed(tmp_path, rows=30), sealed(tmp_path, shard="b")
        self.make(table).publish(other)
        with pytest.raises(BaseException):  # noqa: B017 - a library may word Died as it likes
            self.make(table).publish(dying(shard))
        assert self._keys(table) == keys(other)
        assert self.make(table).publish(shard) is True
        assert self._keys(table) == sorted([*keys(shard), *keys(other)])

    def test_publish_of_a_newer_version_killed_in_the_middle_leaves_the_old_rows(
        self, table: str, tmp_path: Path
    ) -> None:
        old, new = sealed(tmp_path), sealed(tmp_path, version=Version(1, FINISHED_US), rows=30, score=5.0)
        self.make(table).publish(old)
        with pytest.raises(BaseException):  # noqa: B017
            self.make(table).publish(dying(new))
        assert self._keys(table) == keys(old)
        assert self.make(table).publish(new) is True
        assert self._keys(table) == keys(new)

    def test_publish_commits_a_shard_without_rows_once(self, table: str, tmp_path: Path) -> None:
        shard = sealed(tmp_path, rows=0)
        self.make(table).publish(shard)
        assert self.make(table).publish(shard) is False
        assert self._keys(table) == []

    def test_publish_all_commits_each_shard_that_the_table_lacks_once(self, table: str, tmp_path: Path) -> None:
        old, same = sealed(tmp_path), sealed(tmp_path, shard="b")
        newer, new = sealed(tmp_path, version=Version(1, FINISHED_US), score=5.0), sealed(tmp_path, shard="it's c")
        publisher = self._groups(table)
        assert publisher.publish_all([old, same]) == [True, True]
        assert self._groups(table).publish_all([newer, same, new]) == [True, False, True]
        assert self._keys(table) == sorted([*keys(newer), *keys(same), *keys(new)])
        assert publisher.publish_all([newer, same, new]) == [False] * 3

    def test_publish_all_killed_in_the_middle_leaves_no_row_and_can_be_repeated(
        self, table: str, tmp_path: Path
    ) -> None:
        first, second = sealed(tmp_path), sealed(tmp_path, shard="b", rows=30)
        publisher = self._groups(table)
        with pytest.raises(BaseException):  # noqa: B017 - a library may word Died as it likes
            publisher.publish_all([first, dying(second)])
        assert self._keys(table) == []
        assert self._groups(table).publish_all([first, second]) == [True, True]
        assert self._keys(table) == sorted([*keys(first), *keys(second)])

    def _groups(self, place: str) -> GroupPublisher:
        publisher = self.make(place)
        if not isinstance(publisher, GroupPublisher):
            pytest.skip("the publisher has no publish_all: each shard gets a commit of its own")
        return publisher

    def _keys(self, place: str) -> list[Key]:
        return sorted((row[RUN], row["shard"], row["row"], row["score"]) for row in self.rows(place))


def sealed(
    folder: Path,
    *,
    run: str = "r1",
    shard: str = "in/a.parquet",
    version: Version = FIRST,
    rows: int = 3,
    score: float = 1.0,
) -> Sealed:
    """A sealed shard as `scorer publish` hands it over, in a file of its own in `folder`; row n has `score` + n."""
    schema = result_schema(id_field=pa.field("id", pa.string()))
    columns: dict[str, pa.Array] = {field.name: pa.nulls(rows, field.type) for field in schema}
    columns |= {
        "shard": pa.array([shard] * rows, pa.string()),
        "row": pa.array(range(rows), pa.int64()),
        "id": pa.array([f"id “{number}”" for number in range(rows)], pa.string()),
        "score": pa.array([score + number for number in range(rows)], pa.float64()),
        "raw": pa.array([["Score: 1", None]] * rows, pa.list_(pa.string())),
        "judge": pa.array(["0123456789abcdef"] * rows, pa.string()),
        "finished_at": pa.array([version.finished_us] * rows, pa.timestamp("us", tz="UTC")),
        "generation": pa.array([version.generation] * rows, pa.int32()),
    }
    path = folder / f"sealed-{len([*folder.glob('sealed-*')])}.parquet"
    pq.write_table(pa.table(columns, schema=schema), path)
    parquet = pq.ParquetFile(path)
    whole = pa.schema([pa.field(RUN, pa.string(), nullable=False), *schema])
    return Sealed(run, shard, version, rows, whole, str(path), parquet)


def dying(shard: Sealed) -> Sealed:
    """The same shard, whose reading ends in `Died` after two batches of ten rows."""
    return Dying(shard.run, shard.shard, shard.version, shard.rows, shard.schema, shard.path, shard.parquet)


def keys(shard: Sealed) -> list[Key]:
    """Run, shard, row and score of each of its rows, sorted."""
    table = pa.Table.from_batches(shard.batches(), shard.schema).select([RUN, "shard", "row", "score"])
    return sorted(tuple(row.values()) for row in table.to_pylist())
