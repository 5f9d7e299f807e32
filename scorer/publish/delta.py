"""Publishes to a Delta table: one commit for one or several shards.

Delta's own application transactions make it idempotent: generation, finishing time and edition of a shard are the
versions of three transactions named after run and shard, committed with the rows. They are looked up and written
through one snapshot of the table, so that of two racing publishers one commits and the other finds the shard committed.
Knows no other format, no run and no clock.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pyarrow as pa

from scorer.errors import SpecError
from scorer.publish.columns import DELTA, added, check_partitions, lake_schema, same_partitions
from scorer.publish.commits import committed, unpublished
from scorer.publish.delta_transactions import Transactions
from scorer.publish.sealed import (
    RUN,
    Sealed,
    Step,
    Stream,
    Version,
    newer_than,
    no_step,
    properties_of,
)

if TYPE_CHECKING:
    from deltalake import DeltaTable

ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
"""S3 servers at http:// are allowed."""


class Delta:
    """`delta://PLACE`: a path of this machine, or a URI that deltalake knows (s3://, gs://, az://).

    Storage options are those of deltalake's environment: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...
    """

    def __init__(self, place: str, partition_by: Sequence[str] = (), *, step: Step = no_step) -> None:
        self.target = f"delta://{place}"
        self._place = place.rstrip("/") if len(place) > 1 else place
        self._partition_by = list(partition_by)
        self._step = step
        self._table: DeltaTable | None = None
        plain = any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS)
        self._options = {"allow_http": "true"} if plain else {}
        self._transactions = Transactions(self._options)
        problems = []
        if not place.strip("/"):
            problems.append(
                "delta:// needs the place of a table behind it: delta://lake/scores, delta://s3://bucket/t."
            )
        if find_spec("deltalake") is None:
            problems.append(
                "Publishing to Delta needs deltalake, which is not installed: pip install 'batch-scorer[lake]'."
            )
        if problems:
            raise SpecError(problems)
        # Its core would write warnings of its own between our lines; errors it raises.
        os.environ.setdefault("RUST_LOG", "error")

    def publish(self, shard: Sealed) -> bool:
        return self.publish_all([shard])[0]

    def publish_all(self, shards: Sequence[Sealed]) -> list[bool]:
        from deltalake.exceptions import CommitFailedError

        return committed(shards, self._attempt, (CommitFailedError,), self.target)

    def _attempt(self, shards: Sequence[Sealed]) -> Sequence[Sealed]:
        """See `commits.Commit`. Raises CommitFailedError where another writer was faster."""
        from deltalake.exceptions import CommitFailedError, DeltaError

        try:
            return self._commit(shards, lake_schema(shards[0].schema, DELTA))
        except (DeltaError, OSError) as error:
            self._table = None
            if isinstance(error, CommitFailedError):
                raise
            raise unpublished(shards, self.target, _said(error)) from error

    def _commit(self, shards: Sequence[Sealed], wanted: pa.Schema) -> Sequence[Sealed]:
        from deltalake import CommitProperties, Transaction, write_deltalake

        table = self._open(wanted)
        published = self._published(table, shards)
        newer = newer_than(shards, published)
        if not newer:
            return []
        has = pa.schema(table.schema().to_arrow())
        added(has, wanted, DELTA, self.target)  # deltalake adds them
        same_partitions(table.metadata().partition_columns, self._partition_by, self.target)
        # A table may be set to forget transactions; then only its rows tell.
        forgets = "delta.setTransactionRetentionDuration" in table.metadata().configuration
        properties = CommitProperties(
            app_transactions=[Transaction(*one) for shard in newer for one in _transactions(shard)],
            custom_metadata=properties_of(newer),
        )
        self._step("write")
        with Stream(newer, wanted, self._step) as rows:
            write = partial(write_deltalake, table, rows, schema_mode="merge", commit_properties=properties)
            if forgets or not published.keys().isdisjoint(shard.shard for shard in newer):
                names = ", ".join(_text(shard.shard) for shard in newer)
                write(mode="overwrite", predicate=f"{RUN} = {_text(newer[0].run)} AND shard IN ({names})")
            else:
                write(mode="append")
        self._step("committed")
        return newer

    def _published(self, table: DeltaTable, shards: Sequence[Sealed]) -> dict[str, Version]:
        """The versions of those of the shards that the table has."""
        found = {}
        transactions = self._transactions.of(table)
        for shard in shards:
            generation, finished_us, edition = (transactions(app) for app, _ in _transactions(shard))
            if generation is not None:
                found[shard.shard] = Version(generation, finished_us or 0, edition or 0)
        return found

    def _open(self, wanted: pa.Schema) -> DeltaTable:
        """The current table; creates it where there is none."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        if self._table is not None:
            self._table.update_incremental()
            return self._table
        if "://" not in self._place and os.path.isfile(self._place):
            raise SpecError([f"{self.target} is a file, not a table. Give a folder that holds a Delta table, or none."])
        if not DeltaTable.is_deltatable(self._place, self._options):
            self._check_folder()
            check_partitions(self._partition_by, wanted, self.target)
            self._step("create")
            try:
                DeltaTable.create(
                    self._place,
                    wanted,
                    partition_by=self._partition_by,
                    name="scores",
                    description=ABOUT,
                    storage_options=self._options,
                )
            except DeltaError:
                if not DeltaTable.is_deltatable(
                    self._place, self._options
                ):  # else another publisher made it in this moment
                    raise
        self._table = DeltaTable(self._place, storage_options=self._options)
        return self._table

    def _check_folder(self) -> None:
        """Raises SpecError where a folder of this machine holds something else."""
        if "://" in self._place:
            return
        log = os.path.join(self._place, "_delta_log")  # another publisher may be making it, or died while it did
        if os.path.isdir(self._place) and os.listdir(self._place) and not os.path.isdir(log):
            raise SpecError(
                [
                    f"{self.target} is a folder that holds something else than a Delta table (it has no _delta_log). "
                    "Give another folder; one that does not exist is made."
                ]
            )


ABOUT = "Scores published by scorer: (scorer_run, shard, row) is a row's identity."


def _transactions(shard: Sealed) -> list[tuple[str, int]]:
    """The application transactions that name a version of a shard: generation, finishing time, edition."""
    version = shard.version
    numbers = {"scorer": version.generation, "scorer-finished": version.finished_us, "scorer-edition": version.edition}
    return [(f"{prefix}/{shard.run}/{shard.shard}", number) for prefix, number in numbers.items()]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _said(error: Exception) -> str:
    """The library's message as one sentence, without its stack."""
    lines = [line.strip(" .\t↳") for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()]
    return ": ".join(line for line in lines if line)[:500] or type(error).__name__
