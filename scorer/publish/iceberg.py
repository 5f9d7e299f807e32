"""Publishes to an Iceberg table: one commit for each version of a shard.

Iceberg has no application transactions. The published versions are in the properties of the snapshots. They
are read from the metadata that the commit builds on: where another commit came between, the catalog refuses, and they
are read again. Where snapshots have expired, the rows are read. Knows no other format and no run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from scorer.errors import SpecError, StorageError
from scorer.publish.columns import ICEBERG, added, check_partitions, lake_schema, same_partitions
from scorer.publish.sealed import RUN, Sealed, Step, Stream, Version, no_step

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import Table

T = TypeVar("T")

FIRST = 1
"""The sequence number of a table's first snapshot: behind it there is nothing that could have expired."""
TRIES = 30
"""Commits that may be lost to other writers of the table before it is given up."""
CHUNK_BYTES = 64 << 20
"""Rows held at once, as Arrow, and about what a data file is made of."""
PROPERTIES = {
    "write.target-file-size-bytes": str(CHUNK_BYTES),
    # Whole bounds, not their first 16 characters: then a file tells by its metadata which shard it holds.
    f"write.metadata.metrics.column.{RUN}": "full",
    "write.metadata.metrics.column.shard": "full",
}


class Iceberg:
    """`iceberg://CATALOG/NAMESPACE.TABLE`; the catalog is configured where pyiceberg looks.

    That is `.pyiceberg.yaml` (in PYICEBERG_HOME, the home folder or the current one) or PYICEBERG_CATALOG__<NAME>__URI
    and the like.
    """

    def __init__(self, place: str, partition_by: Sequence[str] = (), *, step: Step = no_step) -> None:
        self.target = f"iceberg://{place}"
        self._catalog_name, _, self._name = place.partition("/")
        self._partition_by = list(partition_by)
        self._step = step
        self._catalog: Catalog | None = None
        problems = []
        namespace, _, name = self._name.rpartition(".")
        if not (self._catalog_name and namespace and name) or "/" in self._name:
            problems.append(f"{self.target} is no table: write iceberg://catalog/namespace.table.")
        if find_spec("pyiceberg") is None:
            problems.append(
                "Publishing to Iceberg needs pyiceberg, which is not installed: pip install 'batch-scorer[lake]'."
            )
        if problems:
            raise SpecError(problems)

    def publish(self, shard: Sealed) -> bool:
        from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, ValidationException

        wanted = lake_schema(shard.schema, ICEBERG)
        for lost in range(TRIES):
            try:
                with self._as_storage_error(shard):
                    return self._publish(shard, wanted)
            except (CommitFailedException, CommitStateUnknownException, ValidationException):
                time.sleep(random.uniform(0, min(2.0, 0.02 * 2**lost)))
        raise StorageError(
            f"{shard.shard} was not published to {self.target}: other writers came first {TRIES} times. Its scores are "
            "stored; the same command publishes them."
        )

    def _publish(self, shard: Sealed, wanted: pa.Schema) -> bool:
        table = self._open(wanted)
        # pyiceberg's own retries would commit these rows beside those of a faster publisher, without looking again.
        # In this copy of the metadata only: nothing of it is written.
        table.properties["commit.retry.num-retries"] = "0"
        before = _published(table, shard)
        if before is not None and not shard.version.is_newer_than(before):
            return False
        new = added(table.schema().as_arrow(), wanted, ICEBERG, self.target)
        same_partitions(_partitions(table), self._partition_by, self.target)
        properties = {
            **_identity(shard),
            "scorer.generation": str(shard.version.generation),
            "scorer.finished": str(shard.version.finished_us),
            "scorer.edition": str(shard.version.edition),
        }
        self._step("write")
        with Stream(shard, wanted, self._step) as rows, table.transaction() as change:
            if new:
                with change.update_schema() as update:
                    update.union_by_name(pa.schema(new))
            if before is not None:
                change.delete(_rows_of(shard), snapshot_properties=properties)
            for part in [rows] if table.spec().is_unpartitioned() else _chunks(rows):
                change.append(part, snapshot_properties=properties)
            self._step("commit")
        self._step("committed")
        return True

    def _open(self, wanted: pa.Schema) -> Table:
        """The current table; creates it and its namespace where they are missing."""
        from pyiceberg.catalog import load_catalog
        from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError

        if self._catalog is None:
            try:
                self._catalog = _created(lambda: load_catalog(self._catalog_name))
            except (ValueError, ImportError, ModuleNotFoundError) as error:
                raise SpecError(
                    [
                        f"{self.target}: the catalog {self._catalog_name} is not configured ({error}). Describe it in "
                        f".pyiceberg.yaml, or by PYICEBERG_CATALOG__{self._catalog_name.upper()}__URI and the like."
                    ]
                ) from error
        try:
            return self._catalog.load_table(self._name)
        except NoSuchTableError:
            check_partitions(self._partition_by, wanted, self.target)
            catalog, namespace = self._catalog, self._name.rpartition(".")[0]
            _created(lambda: catalog.create_namespace_if_not_exists(namespace))
            self._step("create")
            try:
                with catalog.create_table_transaction(self._name, wanted, properties=PROPERTIES) as made:
                    if self._partition_by:
                        with made.update_spec() as spec:
                            for name in self._partition_by:
                                spec.add_identity(name)
            except TableAlreadyExistsError:
                pass  # another publisher made it in this moment
            return catalog.load_table(self._name)

    @contextmanager
    def _as_storage_error(self, shard: Sealed) -> Iterator[None]:
        """Turns what catalogs and storage raise into a sentence."""
        from pyiceberg.exceptions import NoSuchIcebergTableError, RESTError
        from requests import RequestException

        down: tuple[type[Exception], ...] = (RESTError, RequestException, OSError, *_sql_errors())
        try:
            yield
        except NoSuchIcebergTableError as error:
            raise SpecError([f"{self.target} is no Iceberg table ({error}). Give another name."]) from error
        except down as error:
            self._catalog = None
            said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise StorageError(
                f"{shard.shard} was not published to {self.target}: {said}. Its scores are stored; the same command "
                "publishes them."
            ) from error


def _sql_errors() -> tuple[type[Exception], ...]:
    """What catalogs in SQL databases raise."""
    if find_spec("sqlalchemy") is None:
        return ()
    from sqlalchemy.exc import SQLAlchemyError

    return (SQLAlchemyError,)


def _created(make: Callable[[], T]) -> T:
    """The result of `make`, which creates something where it is missing.

    A catalog in an SQL database checks and then writes. Where another publisher creates the same thing meanwhile, one
    of the two fails, and finds it at the second attempt.
    """
    try:
        return make()
    except _sql_errors():
        return make()


# --- what is published ------------------------------------------------------------------------------------------------


def _identity(shard: Sealed) -> dict[str, str]:
    return {"scorer.run": shard.run, "scorer.shard": shard.shard}


def _rows_of(shard: Sealed) -> BooleanExpression:
    from pyiceberg.expressions import And, EqualTo, Reference

    run, name = EqualTo(Reference(RUN), shard.run), EqualTo(Reference("shard"), shard.shard)  # type: ignore[call-arg,arg-type]
    return And(run, name)


def _published(table: Table, shard: Sealed) -> Version | None:
    """The shard's version in the table; None where the table lacks the shard."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return None
    identity = _identity(shard)
    kept = {one.snapshot_id: one for one in table.snapshots()}
    while snapshot is not None:
        properties = snapshot.summary.additional_properties if snapshot.summary is not None else {}
        if all(properties.get(key) == value for key, value in identity.items()):
            names = ("scorer.generation", "scorer.finished", "scorer.edition")
            return Version(*(int(properties.get(name) or 0) for name in names))
        # Not a missing parent: where that expired, pyiceberg says that there was none.
        if snapshot.sequence_number == FIRST:
            return None
        snapshot = kept.get(snapshot.parent_snapshot_id or 0)
    return _published_by_rows(table, shard)


def _published_by_rows(table: Table, shard: Sealed) -> Version | None:
    """The shard's version by its rows: older snapshots have expired."""
    import pyarrow.compute as pc

    scan = table.scan(row_filter=_rows_of(shard), selected_fields=("generation", "finished_at"))
    found = None
    for batch in scan.to_arrow_batch_reader():
        if batch.num_rows:
            generation = pc.max(batch.column("generation")).as_py()
            finished_us = pc.max(batch.column("finished_at").cast("timestamp[us]").cast("int64")).as_py()
            before = found or Version(0, 0)
            found = Version(max(generation, before.generation), max(finished_us, before.finished_us))
    return found


def _partitions(table: Table) -> list[str]:
    return [table.schema().find_column_name(field.source_id) or field.name for field in table.spec().fields]


def _chunks(rows: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Tables of about CHUNK_BYTES: pyiceberg takes a stream into a table without partitions only."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in rows:
        held.append(batch)
        size += batch.nbytes
        if size >= CHUNK_BYTES:
            yield pa.Table.from_batches(held)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held)
