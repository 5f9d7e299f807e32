"""A publisher: a table `scores` in an SQLite file."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from scorer.errors import SpecError, StorageError
from scorer.publish.sealed import Sealed, Version

TABLES = """
CREATE TABLE IF NOT EXISTS published (run, shard, generation, finished_us, PRIMARY KEY (run, shard));
CREATE TABLE IF NOT EXISTS scores (run, shard, "row", score, error, other, PRIMARY KEY (run, shard, "row"));
"""
OWN = ("scorer_run", "shard", "row", "score", "error")


class SQLite:
    """A `scorer.publish.sealed.Publisher` for addresses `sqlite_table:SQLite://FILE`.

    Making one reads and writes nothing. All other columns of a row are JSON in `other`.
    """

    def __init__(self, place: str, partition_by: Sequence[str] = ()) -> None:
        if not place:
            raise SpecError(["sqlite_table:SQLite:// needs the path of a file behind it."])
        if partition_by:
            raise SpecError(["An SQLite table has no partitions: leave --partition-by out."])
        self._place = place

    def publish(self, shard: Sealed) -> bool:
        """One transaction: the rows, and the version that they are."""
        try:
            Path(self._place).parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._place, timeout=30, isolation_level=None)) as table:
                table.executescript(TABLES)
                table.execute("BEGIN IMMEDIATE")  # of two publishers the second waits here, and then finds it done
                try:
                    committed = self._replace(table, shard)
                except BaseException:
                    table.execute("ROLLBACK")
                    raise
                table.execute("COMMIT")
                return committed
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"{shard.shard} was not published to {self._place}: {error}. The same command publishes it."
            ) from error

    def _replace(self, table: sqlite3.Connection, shard: Sealed) -> bool:
        key = (shard.run, shard.shard)
        found = table.execute(
            "SELECT generation, finished_us FROM published WHERE run = ? AND shard = ?", key
        ).fetchone()
        if found is not None and not shard.version.is_newer_than(Version(*found)):
            return False
        table.execute("DELETE FROM scores WHERE run = ? AND shard = ?", key)
        for batch in shard.batches():
            table.executemany(
                "INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (*(row.pop(name) for name in OWN), json.dumps(row, default=str, ensure_ascii=False))
                    for row in batch.to_pylist()
                ],
            )
        version = (shard.version.generation, shard.version.finished_us)
        table.execute("INSERT OR REPLACE INTO published VALUES (?, ?, ?, ?)", (*key, *version))
        return True
