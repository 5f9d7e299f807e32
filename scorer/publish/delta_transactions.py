"""The application transactions of a Delta table, read from its log once and then kept up with it.

deltalake looks up one transaction by reading the log, so that the look-ups for n shards cost the square of n. The files
read here are those of Delta's protocol: commits as JSON, and classic checkpoints. Of a table that has others, such as
checkpoints of version 2, deltalake looks up each transaction. Knows no publisher and no run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from scorer.files.parquet_batches import read_whole

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow.fs import PyFileSystem

LOG = "_delta_log"


class Transactions:
    """The versions of all application transactions of one table. `options` are deltalake's storage options."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = dict(options)
        self._versions: dict[str, int] = {}
        self._read_to = -1
        """The table's version that `_versions` are of."""

    def of(self, table: DeltaTable) -> Callable[[str], int | None]:
        """The look-up of a transaction's version in this snapshot of the table, by its application id."""
        try:
            self._read(self._log_of(table), table.version())
        except (FileNotFoundError, pa.ArrowException, orjson.JSONDecodeError, KeyError):
            self._versions, self._read_to = {}, -1
            return table.transaction_version
        return self._versions.get

    def _log_of(self, table: DeltaTable) -> PyFileSystem:
        from deltalake.fs import DeltaStorageHandler
        from pyarrow.fs import PyFileSystem

        return PyFileSystem(DeltaStorageHandler(table.table_uri, self._options))

    def _read(self, log: PyFileSystem, version: int) -> None:
        """Reads on to a version. Raises FileNotFoundError where the log was cleaned, KeyError for unknown files."""
        if not 0 <= self._read_to <= version:
            self._versions, self._read_to = _checkpoint(log, version)
        for number in range(self._read_to + 1, version + 1):
            with log.open_input_file(f"{LOG}/{number:020}.json") as file:
                lines = file.read().splitlines()
            for line in lines:
                if b'"txn"' in line and (one := orjson.loads(line).get("txn")):
                    self._versions[one["appId"]] = one["version"]
            self._read_to = number


def _checkpoint(log: PyFileSystem, version: int) -> tuple[dict[str, int], int]:
    """The transactions in the last checkpoint, and its version; none, and -1, where there is no checkpoint."""
    try:
        with log.open_input_file(f"{LOG}/_last_checkpoint") as file:
            last: dict[str, Any] = orjson.loads(file.read())
    except FileNotFoundError:
        return {}, -1
    at, parts = last["version"], last.get("parts")
    if at > version or "v2Checkpoint" in last:
        raise KeyError(at)
    stem = f"{LOG}/{at:020}.checkpoint"
    names = [f"{stem}.{n:010}.{parts:010}.parquet" for n in range(1, parts + 1)] if parts else [f"{stem}.parquet"]
    versions: dict[str, int] = {}
    for name in names:
        with log.open_input_file(name) as file:
            column = read_whole(file, ["txn"]).column("txn")
        for one in column.drop_null().to_pylist():
            versions[one["appId"]] = one["version"]
    return versions, at
