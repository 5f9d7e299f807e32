"""Which shards an Iceberg table has, by the properties of its snapshots; by its rows where snapshots have expired.

Knows how a commit of this package is marked, now and in earlier versions, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import orjson

from scorer.publish.sealed import RUN, Sealed, Version

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

FIRST = 1
"""The sequence number of a table's first snapshot: behind it there is nothing that could have expired."""


class Snapshots:
    """The marks of snapshots, each read once: a snapshot never changes."""

    def __init__(self) -> None:
        self._marks: dict[int, tuple[str, Mapping[str, Version]]] = {}

    def published(self, table: Table, shards: Sequence[Sealed]) -> dict[str, Version]:
        """The versions of those of the shards, all of one run, that the table has."""
        found: dict[str, Version] = {}
        missing = {shard.shard for shard in shards}
        snapshot = table.current_snapshot()
        kept = {one.snapshot_id: one for one in table.snapshots()}
        while snapshot is not None and missing:
            run, versions = self._mark(snapshot)
            if run == shards[0].run:
                found |= {name: versions[name] for name in missing & versions.keys()}
                missing -= versions.keys()
            # Not a missing parent: where that expired, pyiceberg says that there was none.
            if snapshot.sequence_number == FIRST:
                return found
            snapshot = kept.get(snapshot.parent_snapshot_id or 0)
        if missing and table.current_snapshot() is not None:
            found |= _by_rows(table, [shard for shard in shards if shard.shard in missing])
        return found

    def _mark(self, snapshot: Snapshot) -> tuple[str, Mapping[str, Version]]:
        """The run that a snapshot is of, and the versions of its shards; none where another program made it."""
        if (mark := self._marks.get(snapshot.snapshot_id)) is None:
            properties = snapshot.summary.additional_properties if snapshot.summary is not None else {}
            mark = self._marks[snapshot.snapshot_id] = (properties.get("scorer.run", ""), _versions(properties))
        return mark


def _versions(properties: Mapping[str, str]) -> dict[str, Version]:
    if "scorer.shards" in properties:
        return {name: Version(*numbers) for name, numbers in orjson.loads(properties["scorer.shards"]).items()}
    if "scorer.shard" in properties:  # an earlier version: one commit for each shard
        names = ("scorer.generation", "scorer.finished", "scorer.edition")
        return {properties["scorer.shard"]: Version(*(int(properties.get(name) or 0) for name in names))}
    return {}


def rows_of(shards: Sequence[Sealed]) -> BooleanExpression:
    """The rows of these shards, all of one run."""
    from pyiceberg.expressions import And, EqualTo, In, Reference

    run = EqualTo(Reference(RUN), shards[0].run)  # type: ignore[call-arg,arg-type]
    return And(run, In(Reference("shard"), {shard.shard for shard in shards}))  # type: ignore[call-arg,arg-type]


def _by_rows(table: Table, shards: Sequence[Sealed]) -> dict[str, Version]:
    """The versions of shards by their rows: older snapshots have expired."""
    import pyarrow as pa

    scan = table.scan(row_filter=rows_of(shards), selected_fields=("shard", "generation", "finished_at"))
    found: dict[str, Version] = {}
    for batch in scan.to_arrow_batch_reader():
        newest = pa.table(batch).group_by("shard").aggregate([("generation", "max"), ("finished_at", "max")])
        finished_us = newest.column("finished_at_max").cast("timestamp[us]").cast("int64").to_pylist()
        columns = newest.column("shard").to_pylist(), newest.column("generation_max").to_pylist(), finished_us
        for name, generation, finished in zip(*columns, strict=True):
            before = found.get(name, Version(0, 0))
            found[name] = Version(max(generation, before.generation), max(finished or 0, before.finished_us))
    return found
