"""Tables to publish to: where one is, and how each kind of reader reads it back."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa


class DeltaLake:
    """A Delta table in a folder."""

    scheme = "delta"

    def __init__(self, root: Path, name: str = "scores") -> None:
        self.root = root
        self.place = f"{root}/lake/{name}"
        self.address = f"delta://{self.place}"
        self.environment: Mapping[str, str] = {}

    def library(self) -> pa.Table:
        """As deltalake itself reads it."""
        from deltalake import DeltaTable

        return pa.table(DeltaTable(self.place).to_pyarrow_table())

    def polars(self) -> pl.DataFrame:
        return pl.scan_delta(self.place).collect()

    def duckdb(self, sql: str) -> list[tuple[Any, ...]]:
        """An SQL query of the table `t`. DuckDB's own extension comes from a network: it is told the files."""
        from deltalake import DeltaTable

        files = DeltaTable(self.place).file_uris()
        with duckdb.connect() as session:
            read = f"read_parquet({files!r}, union_by_name = true, hive_partitioning = true)"
            session.sql(f"CREATE VIEW t AS SELECT * FROM {read}")
            return session.sql(sql).fetchall()

    def commits(self) -> list[int]:
        """The shards in each commit that published something, the last first."""
        from deltalake import DeltaTable

        marks = [entry.get("scorer.shards") for entry in DeltaTable(self.place).history()]
        return [len(json.loads(mark)) for mark in marks if mark is not None]

    def partitions(self) -> list[str]:
        from deltalake import DeltaTable

        return list(DeltaTable(self.place).metadata().partition_columns)

    def forget(self) -> None:
        """Transactions are kept no longer; a checkpoint then leaves them out."""
        from deltalake import DeltaTable

        table = DeltaTable(self.place)
        table.alter.set_table_properties({"delta.setTransactionRetentionDuration": "interval 0 seconds"})
        table.create_checkpoint()

    def other(self) -> None:
        """Makes a table of something else there."""
        from deltalake import write_deltalake

        write_deltalake(self.place, pa.table({"x": [1]}))


class IcebergLake:
    """An Iceberg table in a catalog of SQLite; its configuration stands in the environment."""

    scheme = "iceberg"

    def __init__(self, root: Path, name: str = "scores") -> None:
        self.root = root
        self.name = f"ns.{name}"
        self.address = f"iceberg://local/{self.name}"
        (root / "lake").mkdir(exist_ok=True)
        self.properties = {
            "type": "sql",
            "uri": f"sqlite:///{root}/lake/catalog.db",
            "warehouse": f"file://{root}/lake/warehouse",
        }
        self.environment = {f"PYICEBERG_CATALOG__LOCAL__{key.upper()}": value for key, value in self.properties.items()}

    def catalog(self) -> Any:
        from pyiceberg.catalog import load_catalog

        return load_catalog("local", **self.properties)

    def table(self) -> Any:
        return self.catalog().load_table(self.name)

    def library(self) -> pa.Table:
        """As pyiceberg itself reads it."""
        return self.table().scan().to_arrow()

    def polars(self) -> pl.DataFrame:
        with warnings.catch_warnings():  # polars would rather plan with a package of its own
            warnings.simplefilter("ignore", pl.exceptions.PerformanceWarning)
            return pl.scan_iceberg(self.table()).collect()

    def duckdb(self, sql: str) -> list[tuple[Any, ...]]:
        """An SQL query of the table `t`, by pyiceberg's own way to DuckDB."""
        with self.table().scan().to_duckdb("t") as session:
            return list(session.sql(sql).fetchall())

    def commits(self) -> list[int]:
        """The shards in each commit that published something: snapshots of one commit have the same properties."""
        marks = [snapshot.summary.additional_properties for snapshot in self.table().snapshots()]
        return [len(json.loads(shards)) for _, shards in {(m["scorer.run"], m["scorer.shards"]): 0 for m in marks}]

    def partitions(self) -> list[str]:
        return [field.name for field in self.table().spec().fields]

    def forget(self) -> None:
        """All snapshots but the current one expire."""
        table = self.table()
        current = table.current_snapshot().snapshot_id
        old = [snapshot.snapshot_id for snapshot in table.snapshots() if snapshot.snapshot_id != current]
        if old:
            table.maintenance.expire_snapshots().by_ids(old).commit()

    def other(self) -> None:
        """Makes a table of something else there."""
        catalog = self.catalog()
        catalog.create_namespace_if_not_exists("ns")
        catalog.create_table(self.name, pa.schema([("x", pa.int64())]))


Lake = DeltaLake | IcebergLake
LAKES = {"delta": DeltaLake, "iceberg": IcebergLake}


def keys(table: pa.Table) -> list[tuple[str, str, int]]:
    """The identities of the rows, sorted; a row that is there twice is there twice."""
    columns = [table.column(name).to_pylist() for name in ("scorer_run", "shard", "row")]
    return sorted(zip(*columns, strict=True))
