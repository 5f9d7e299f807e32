"""Several shards in one commit: which shards go together, and what a table's log says of them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from publish.lakes import DeltaLake, Lake, keys
from publish.runs import expected, output

from scorer.files.local_files import LocalFiles
from scorer.publish import publish as publishing
from scorer.publish.delta import Delta
from scorer.publish.delta_transactions import Transactions
from scorer.publish.publish import next_group, publish
from scorer.types import Shard


def shards(*rows: int) -> list[Shard]:
    return [Shard(f"in/{n}", f"{n}", 1, "v", size, "f") for n, size in enumerate(rows)]


def test_a_group_ends_at_its_bounds_and_before_a_shard_that_it_has() -> None:
    place = Delta("t")
    few = shards(*[10] * 3)
    assert next_group(few, place) == few
    assert next_group([*few, few[1]], place) == few, "sealed again while it waited"
    assert len(next_group(shards(*[1] * 150), place)) == publishing.GROUP_SHARDS
    assert len(next_group(shards(600_000, 400_000, 1), place)) == 2
    assert len(next_group(shards(5_000_000, 1), place)) == 1, "a shard above the bound goes by itself"
    assert next_group([], place) == []


def test_a_publisher_without_publish_all_gets_one_shard_at_a_time() -> None:
    class Single:
        def publish(self, shard: object) -> bool:
            return True

    assert len(next_group(shards(1, 1, 1), Single())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("log", ["commits", "checkpoint", "checkpoint of version 2", "cleaned"])
def test_transactions_are_those_that_deltalake_looks_up(tmp_path: Path, log: str) -> None:
    """Slow: a table library is imported."""
    from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

    def commit(**versions: int) -> None:
        written = CommitProperties(app_transactions=[Transaction(app, number) for app, number in versions.items()])
        write_deltalake(str(tmp_path), pa.table({"x": [1]}), mode="append", commit_properties=written)

    commit(a=1, b=7)
    commit(a=2)
    table, read = DeltaTable(str(tmp_path)), Transactions({})
    early = read.of(table)
    assert [early(app) for app in "abc"] == [2, 7, None]
    if log != "commits":
        table.create_checkpoint()
    commit(c=3)
    commits = sorted(tmp_path.glob("_delta_log/0*.json"))
    if log == "cleaned":
        commits[0].unlink()
    if log == "checkpoint of version 2":
        last = tmp_path / "_delta_log/_last_checkpoint"
        last.write_bytes(orjson.dumps({**orjson.loads(last.read_bytes()), "v2Checkpoint": {}}))
    table.update_incremental()
    for reader in (read, Transactions({})):
        versions = reader.of(table)
        assert (
            [versions(app) for app in "abcd"] == [table.transaction_version(app) for app in "abcd"] == [2, 7, 3, None]
        )


@pytest.mark.slow
@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
def test_a_table_whose_shards_were_published_one_by_one_gets_none_twice(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: a table library is imported. Snapshots of an earlier version name one shard each."""
    made = output(tmp_path / "a", 3, 4)

    def earlier(group: list[publishing.sealed]) -> dict[str, str]:  # type: ignore[valid-type]
        (one,) = group
        fields = {"run": one.run, "shard": one.shard, "generation": "0", "finished": str(one.version.finished_us)}
        return {f"scorer.{key}": value for key, value in fields.items()}

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "GROUP_SHARDS", 1)
        patch.setattr("scorer.publish.iceberg.properties_of", earlier)
        assert publish(LocalFiles(), made.layout.out, lake.address).committed == 2
    assert publish(LocalFiles(), made.layout.out, lake.address).committed == 0
    assert keys(lake.library()) == expected(made)


@pytest.mark.slow
def test_racing_groups_commit_each_shard_once(tmp_path: Path) -> None:
    """Slow: a table library is imported. Another publisher commits one shard of the group just before it."""
    made, lake = output(tmp_path / "a", 3, 4, 5), DeltaLake(tmp_path)
    rivals = []

    def rival(name: str) -> None:
        if name == "write" and not rivals:
            rivals.append(publishing.publish_shards(files, layout, run, known[1:2], Delta(lake.place)))

    manifest = publishing.load(LocalFiles(), made.layout)
    assert manifest is not None
    files, layout, run, known = LocalFiles(), made.layout, manifest.id, list(made.shards)
    mine = publishing.publish_shards(files, layout, run, known, Delta(lake.place, step=rival))
    assert (rivals, mine) == ([[True]], [True, False, True])
    assert keys(lake.library()) == expected(made)
    assert lake.commits() == [2, 1]
