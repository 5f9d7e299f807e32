"""Output folders in any state of a run, made by the real store without a judge."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from support.clock import inline

from scorer.errors import ROW_ERRORS
from scorer.files.files import Files
from scorer.files.local_files import LocalFiles
from scorer.inputs.identity import look
from scorer.output.layout import Layout
from scorer.output.ledger import Ledger
from scorer.output.manifest import Manifest, Revision, load, save
from scorer.output.run_files import RunFiles
from scorer.output.schema import (
    result_schema,
)
from scorer.output.store import Store
from scorer.types import (
    Result,
    Row,
    Score,
    Shard,
)
from scorer.usage import (
    Usage,
)

FINGERPRINT = "0123456789abcdef"
SCHEMA = result_schema(id_field=pa.field("id", pa.string()), kept=[pa.field("task", pa.string())])
USAGE = Usage(10, 2, 1)
FINISHED_AT_US = 1_700_000_000_000_000


class Output:
    """A run over shards of `sizes` rows, named a, b, ... in `root`/in; its output is `root`/out."""

    def __init__(self, root: Path, *sizes: int, files: Files | None = None) -> None:
        self.files = files or LocalFiles()
        self.layout = Layout(f"{root}/out")
        (root / "in").mkdir()
        self.shards = tuple(_shard(root / "in", "abcdefgh"[n], size) for n, size in enumerate(sizes))
        save(self.files, self.layout, Manifest(FINGERPRINT, {}, {}, "2026-11-24T00:00:00+00:00", self.shards, kept=()))
        self.start = 0

    def store(self, revision: int | None = None, **options: Any) -> Store:
        """The store of the next start, opened."""
        options = {"flush_rows": 10**6, "flush_s": 10**6, "files": self.files, **options}
        manifest = load(self.files, self.layout)
        files, schema = options.pop("files"), options.pop("schema", SCHEMA)
        store = Store(
            RunFiles(files, self.layout, manifest.id if manifest else "", FINGERPRINT, lambda _: schema),
            offload=options.pop("offload", inline),
            **options,
        )
        store.open(revision)
        return store

    async def score(self, rows: Mapping[int, Iterable[int]], *, error: str | None = None, **fields: Any) -> Store:
        """A start that scores some rows of some shards and ends. `fields` go into each result."""
        store = self.store()
        list(store.work(self.shards))
        for shard, numbers in rows.items():
            await publish(store, [result(self.shards[shard], number, error=error, **fields) for number in numbers])
        await store.close()
        return store

    async def retry(
        self, errors: Sequence[str] | None = None, *, error: str | None = None, only: int | None = None
    ) -> list[int]:
        """A start that scores failed rows again, in each shard `only` the first of them where it is then killed.

        Returns the numbers of the rows to score.
        """
        manifest = load(self.files, self.layout)
        assert manifest is not None
        revision = manifest.open_revision or Revision(1 + len(manifest.revisions), "retry", None)
        if manifest.open_revision is None:
            manifest = replace(manifest, revisions=(*manifest.revisions, revision))
            save(self.files, self.layout, manifest)
        store, asked = self.store(revision.generation), []
        for work in store.again(self.shards, revision.generation, errors):
            assert work.todo is not None
            numbers = work.todo.nonzero()[0].tolist()
            asked += numbers
            again = [result(work.shard, n, generation=revision.generation, error=error) for n in numbers[:only]]
            await publish(store, again)
        if only is None:
            save(self.files, self.layout, manifest.finished(revision.generation))
        return asked

    async def pay(self, requests: int, *, lost: int = 0) -> None:
        """A ledger of so many answered requests, and of some whose bill nobody knows."""
        self.start += 1
        ledger = Ledger(self.files, self.layout.ledger, f"{self.start}", offload=inline, strict=True)
        ledger.open()
        for _ in range(requests):
            ledger.settle(ledger.reserve(20, 0), USAGE, 5_000_000)
        for _ in range(lost):
            ledger.unknown(ledger.reserve(20, 7_000_000))
        await ledger.close()

    def segments_folder(self, shard: int = 0) -> Path:
        return Path(self.layout.segments, self.shards[shard].stem)

    def segments(self, shard: int = 0) -> list[Path]:
        """The segment files of a shard, in the order of their names."""
        folder = Path(self.layout.segments, self.shards[shard].stem)
        return sorted(folder.iterdir()) if folder.exists() else []

    def sealed(self, shard: int = 0) -> Path:
        return Path(self.layout.sealed(self.shards[shard].stem))

    def rows(self, shard: int = 0) -> list[dict[str, Any]]:
        """The rows of a sealed shard."""
        found: list[dict[str, Any]] = pq.read_table(self.sealed(shard)).to_pylist()
        return found


def _shard(folder: Path, stem: str, size: int) -> Shard:
    path = folder / f"{stem}.parquet"
    table = {"id": [f"{stem}{n}" for n in range(size)], "task": ["t"] * size, "response": ["said"] * size}
    pq.write_table(pa.table(table, pa.schema([(name, pa.string()) for name in table])), path)
    (stat,) = LocalFiles().find([str(path)])
    rows, footer, _ = look(LocalFiles(), stat)
    return Shard(str(path), stem, stat.size, stat.version, rows, footer)


def result(
    shard: Shard,
    number: int,
    *,
    generation: int = 0,
    error: str | None = None,
    value: float | None = None,
    finished_at: int = FINISHED_AT_US,
    tier: str | None = None,
) -> Result:
    """A row's result: its own number as its score, or a typed error; as if one request had brought it."""
    row = Row(shard.path, number, {}, kept=(f"{shard.stem}{number}", "t"), generation=generation)
    score = Score(float(number) if value is None else value, method="number") if error is None else None
    return Result(
        row=row,
        score=score,
        error=None if error is None else ROW_ERRORS[error](f"row {number}"),
        raw=("4",),
        model="judge",
        finish_reason="stop",
        usage=replace(USAGE, tier=tier),
        cost_pico=5_000_000,
        attempts=1,
        waited_s=0.0,
        answered_s=1.0,
        finished_at=finished_at,
    )


async def publish(store: Store, results: Iterable[Result]) -> None:
    """One segment for each shard and generation of the results; shards that are finished are sealed."""
    for one in results:
        store.add(one)
    await store.close()


class Crash(BaseException):
    """The process dies here."""


class Crashing(LocalFiles):
    """A disk whose process dies at its `step`-th change: just before it is there, or right after."""

    def __init__(self, step: int, *, after: bool) -> None:
        super().__init__()
        self._steps, self._after = step, after

    def _die(self, *, after: bool) -> None:
        if self._after is after:
            self._steps -= 1
            if self._steps < 0:
                raise Crash

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        with super().create(path) as file:
            yield file
            self._die(after=False)
        self._die(after=True)

    def link(self, path: str, name: str) -> bool:
        self._die(after=False)
        linked = super().link(path, name)
        self._die(after=True)
        return linked

    def delete(self, path: str) -> None:
        self._die(after=False)
        super().delete(path)
        self._die(after=True)
