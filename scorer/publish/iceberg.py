"""Publishes to an Iceberg table: one commit for one or several shards.

Iceberg has no application transactions. The published versions are in the properties of the snapshots. They
are read from the metadata that the commit builds on: where another commit came between, the catalog refuses, and they
are read again. Where snapshots have expired, the rows are read. Knows no other format and no run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from scorer.errors import SpecError
from scorer.publish.columns import ICEBERG, added, check_partitions, lake_schema, same_partitions
from scorer.publish.commits import committed, unpublished
from scorer.publish.iceberg_snapshots import Snapshots, rows_of
from scorer.publish.sealed import RUN, Sealed, Step, Stream, newer_than, no_step, properties_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

T = TypeVar("T")

CREATIONS_LOST = 2
"""So often may another publisher be faster to create a part of a catalog or a namespace."""
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
        self._snapshots = Snapshots()
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
        return self.publish_all([shard])[0]

    def publish_all(self, shards: Sequence[Sealed]) -> list[bool]:
        from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, ValidationException

        lost = (CommitFailedException, CommitStateUnknownException, ValidationException)
        return committed(shards, self._attempt, lost, self.target)

    def _attempt(self, shards: Sequence[Sealed]) -> Sequence[Sealed]:
        """See `commits.Commit`."""
        with self._as_storage_error(shards):
            return self._commit(shards, lake_schema(shards[0].schema, ICEBERG))

    def _commit(self, shards: Sequence[Sealed], wanted: pa.Schema) -> Sequence[Sealed]:
        table = self._open(wanted)
        # pyiceberg's own retries would commit these rows beside those of a faster publisher, without looking again.
        # In this copy of the metadata only: nothing of it is written.
        table.properties["commit.retry.num-retries"] = "0"
        published = self._snapshots.published(table, shards)
        newer = newer_than(shards, published)
        if not newer:
            return []
        new = added(table.schema().as_arrow(), wanted, ICEBERG, self.target)
        same_partitions(_partitions(table), self._partition_by, self.target)
        properties = properties_of(newer)
        self._step("write")
        with Stream(newer, wanted, self._step) as rows, table.transaction() as change:
            if new:
                with change.update_schema() as update:
                    update.union_by_name(pa.schema(new))
            if replaced := [shard for shard in newer if shard.shard in published]:
                change.delete(rows_of(replaced), snapshot_properties=properties)
            for part in [rows] if table.spec().is_unpartitioned() else _chunks(rows):
                change.append(part, snapshot_properties=properties)
            self._step("commit")
        self._step("committed")
        return newer

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
    def _as_storage_error(self, shards: Sequence[Sealed]) -> Iterator[None]:
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
            raise unpublished(shards, self.target, said) from error


def _sql_errors() -> tuple[type[Exception], ...]:
    """What catalogs in SQL databases raise."""
    if find_spec("sqlalchemy") is None:
        return ()
    from sqlalchemy.exc import SQLAlchemyError

    return (SQLAlchemyError,)


def _created(make: Callable[[], T]) -> T:
    """The result of `make`, which creates something where it is missing.

    A catalog in an SQL database checks and then writes. Where another publisher creates the same thing meanwhile, one
    of the two fails, and finds it at the next attempt. A catalog has two tables, and either may be lost so.
    """
    for _ in range(CREATIONS_LOST):
        with suppress(*_sql_errors()):
            return make()
    return make()


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
