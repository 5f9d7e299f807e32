"""Publishers that are killed, cut off at every step, and raced: after a repeat each row is there once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from publish.lakes import DeltaLake, IcebergLake, Lake, keys
from publish.runs import begin, end, expected, output
from support.clock import run as virtually
from support.command import PATIENCE_S

from scorer.files.local_files import LocalFiles
from scorer.publish.publish import publish

pytestmark = pytest.mark.slow

DYING = str(Path(__file__).with_name("dying.py"))
STEPS = 9


def deaths(lake: Lake, *outs: str) -> list[int]:
    """How each process ended, one for each step and table."""
    address = type(lake)(lake.root, "scores{n}").address
    ended = subprocess.run(
        [sys.executable, DYING, str(STEPS), address, *outs],
        env={**os.environ, **lake.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return [int(line) for line in ended.stdout.split()]


def test_publish_recovers_from_a_kill_at_any_step_of_a_first_commit(tmp_path: Path, lake: Lake) -> None:
    """Slow: real processes that die. A repeat leaves each row once, in one commit for all shards."""
    made = output(tmp_path / "a", 5, 1, 2)
    codes = deaths(lake, made.layout.out)
    assert codes[:7] == [9] * 7, "create, write, three batches, read, committed at least"
    assert codes[-1] == 0
    for step in range(STEPS):
        table = type(lake)(lake.root, f"scores{step}")
        publish(LocalFiles(), made.layout.out, table.address)
        assert keys(table.library()) == expected(made), step
        assert table.commits() == [3], step


def test_publish_recovers_from_a_kill_at_any_step_of_a_replacement(tmp_path: Path, lake: Lake) -> None:
    """Slow: real processes that die. What is there is the old rows or the new ones, never both and never none."""
    made = output(tmp_path / "a", 5, failing=True)
    before = shutil.copytree(made.layout.out, tmp_path / "before")
    virtually(made.retry())
    codes = deaths(lake, str(before), made.layout.out)
    assert codes[:4] == [9] * 4, "write, batch, read, committed at least"
    assert codes[-1] == 0
    generations = []
    for step in range(STEPS):
        table = type(lake)(lake.root, f"scores{step}")
        for committed in (0, 1):
            rows = table.library()
            assert keys(rows) == expected(made), step
            assert len(set(rows.column("generation").to_pylist())) == 1, step
            generations.append(rows.column("generation")[0].as_py())
            if not committed:
                publish(LocalFiles(), made.layout.out, table.address)
    assert generations[1::2] == [1] * STEPS
    assert generations[0] == 0, "it died before it wrote"


def test_racing_publishers_commit_each_shard_once(tmp_path: Path, lake: Lake) -> None:
    """Slow: three processes publish the same two runs into a table that none of them has made yet."""
    made, other = output(tmp_path / "a", 3, 4, 5), output(tmp_path / "b", 6)
    processes = [begin(one, lake) for one in (made, other, made)]
    assert [end(process) for process in processes] == [0] * 3
    assert keys(lake.library()) == sorted(expected(made) + expected(other))
    assert sum(lake.commits()) == 4


@pytest.mark.parametrize("lake", ["delta"], indirect=True)
def test_publish_makes_the_table_that_another_publisher_has_begun(tmp_path: Path, lake: Lake) -> None:
    """Slow: a table library is imported. The other one makes the log's folder before the table's first version."""
    assert isinstance(lake, DeltaLake)
    made = output(tmp_path / "a", 3)
    (Path(lake.place) / "_delta_log").mkdir(parents=True)
    assert publish(LocalFiles(), made.layout.out, lake.address).committed == 1
    assert keys(lake.library()) == expected(made)


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)  # Delta makes a table in one atomic step
def test_publish_uses_a_table_that_another_publisher_creates_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: Lake
) -> None:
    """Slow: a table library is imported."""
    assert isinstance(lake, IcebergLake)
    from pyiceberg.catalog.sql import SqlCatalog, SqlCatalogBaseTable

    create, exists = SqlCatalog.create_tables, SqlCatalog.namespace_exists
    rivals: list[str] = []

    tables = iter(SqlCatalogBaseTable.metadata.sorted_tables)

    def table_made_since(self: SqlCatalog) -> None:
        """It was not there a moment ago, and now it is: first the one, and at the next attempt the other."""
        if (table := next(tables, None)) is not None:
            table.create(self.engine)
            rivals.append(table.name)
            table.create(self.engine, checkfirst=False)
        create(self)

    def namespace_made_since(self: SqlCatalog, namespace: str) -> bool:
        monkeypatch.setattr(SqlCatalog, "namespace_exists", exists)
        lake.catalog().create_namespace(namespace)
        rivals.append(namespace)
        return False

    monkeypatch.setattr(SqlCatalog, "create_tables", table_made_since)
    monkeypatch.setattr(SqlCatalog, "namespace_exists", namespace_made_since)
    made = output(tmp_path / "a", 3)
    assert publish(LocalFiles(), made.layout.out, lake.address).committed == 1
    assert rivals == ["iceberg_namespace_properties", "iceberg_tables", "ns"]
    assert keys(lake.library()) == expected(made)
