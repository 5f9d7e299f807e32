"""Promise: a bucket on a real S3 server keeps the contract of Files, and only the requested ranges are read."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline
from support.outputs import SCHEMA
from support.proxy import BadDay
from support.seaweed import Weed
from test_files import FilesContract

from scorer.errors import StorageError
from scorer.files.append_parts import MOST_PARTS
from scorer.files.files import Files, read, replace
from scorer.files.router import AnyFiles
from scorer.output import segments as seg
from scorer.output.layout import Layout
from scorer.output.ledger import Ledger, damaged, totals
from scorer.types import (
    Shard,
)
from scorer.usage import (
    Usage,
)

pytestmark = pytest.mark.slow


class TestObjectFiles(FilesContract):
    """Slow: every step is a request to a real server, and a held lock is renewed each second."""

    @pytest.fixture
    def files(self) -> Files:
        return AnyFiles(lease_s=6.0)


@pytest.fixture
def day(root: str, weed: Weed, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadDay]:
    """A proxy that counts, without a fault so far; the environment leads to it."""
    with BadDay(weed.port) as day:
        monkeypatch.setenv("AWS_ENDPOINT_URL", day.url)
        yield day


@pytest.fixture
def wide(root: str, day: BadDay) -> str:
    """A shard of 6 MB whose column `text` takes nearly all of it."""
    rng = np.random.default_rng(1)
    table = pa.table({"n": list(range(20_000)), "text": [rng.bytes(150).hex() for _ in range(20_000)]})
    path = f"{root}/wide.parquet"
    with AnyFiles().create(path) as file:
        pq.write_table(table, file, row_group_size=5_000, compression="none")
    day.bytes_sent = 0
    day.seen.clear()
    return path


def test_object_reader_reads_only_the_requested_columns(day: BadDay, wide: str) -> None:
    """Slow: a real server."""
    with AnyFiles().open(wide) as file, pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as parquet:
        numbers = [n for batch in parquet.iter_batches(256, columns=["n"]) for n in batch.column("n").to_pylist()]
    assert numbers == list(range(20_000))
    assert day.bytes_sent < 800_000
    with AnyFiles().open(wide) as file, pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as parquet:
        day.bytes_sent = 0
        next(parquet.iter_batches(256, columns=["text"]))
        assert day.bytes_sent < 3_000_000


def test_object_reader_raises_storage_error_in_an_outage(day: BadDay, wide: str) -> None:
    """Slow: a real server. Damage would set a segment aside and score its rows again."""
    places = AnyFiles(patience_s=0.3)
    with places.open(wide) as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
        day.errors = {503: 1.0}
        with pytest.raises(StorageError, match="the store answered 503"), seg.broken(wide):
            parquet.read(["text"])
        day.errors = {}


def test_object_reader_never_mixes_two_versions(day: BadDay, wide: str) -> None:
    """Slow: a real server."""
    places = AnyFiles()
    with places.open(wide) as file:
        assert file.read(4) == b"PAR1"
        replace(places, wide, os.urandom(7_000_000))
        with pytest.raises(OSError, match="was replaced while it was read"):
            file.read(4)


def test_create_uploads_a_large_file_in_parts(day: BadDay, root: str) -> None:
    """Slow: 20 MB to a real server, with a fault in one of its parts."""
    data = os.urandom(20_000_000)
    day.errors = {500: 0.4}  # of the draws the first one already is a fault, in whatever order the parts come
    with AnyFiles().create(f"{root}/large.parquet") as file:
        file.write(data)
    assert any("partNumber=3" in line for line in day.seen)
    assert day.faults
    day.errors = {}
    assert read(AnyFiles(), f"{root}/large.parquet") == data


_DIES = """
import os, sys
from scorer.files.router import AnyFiles
with AnyFiles().create(sys.argv[1]) as file:
    file.write(b"x" * 20_000_000)
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_create_leaves_nothing_when_its_process_dies(root: str) -> None:
    """Slow: a process of its own."""
    subprocess.run([sys.executable, "-c", _DIES, f"{root}/half.parquet"])
    assert AnyFiles().listing(root) == []


def test_append_keeps_a_file_in_few_objects(root: str, day: BadDay) -> None:
    """Slow: 300 appends to a real server."""
    places, path, whole = AnyFiles(), f"{root}/ledger/1-2", b""
    for number in range(2 * MOST_PARTS + 44):
        line = b"line %d\n" % number
        places.append(path, line)
        whole += line
        if number % 50 == 0:
            assert read(AnyFiles(), path) == whole
    day.seen.clear()
    assert read(AnyFiles(), path) == whole
    assert len(day.seen) < MOST_PARTS
    (stat,) = AnyFiles().listing(f"{root}/ledger")
    assert (stat.path, stat.size) == (path, len(whole))
    another = AnyFiles()
    another.append(path, b"from another process")
    assert read(places, path) == whole + b"from another process"
    another.delete(path)
    assert AnyFiles().listing(f"{root}/ledger") == []


def test_ledger_in_a_bucket_adds_up_across_killed_owners(root: str) -> None:
    """Slow: many appends to a real server."""

    async def owner(name: str, settled: int, lost: int) -> None:
        ledger = Ledger(AnyFiles(), f"{root}/ledger", name, offload=inline, strict=True)
        ledger.open()
        for _ in range(settled):
            number = ledger.reserve(20, 100)
            await ledger.written()
            ledger.settle(number, Usage(10, 2, 0), 50)
        for _ in range(lost):
            ledger.reserve(20, 100)
        await ledger.written()  # and no close: it was killed

    for name in ("1", "2", "3"):
        asyncio.run(owner(name, settled=40, lost=2))
    found = totals(AnyFiles(), f"{root}/ledger")
    assert (found.requests, found.maybe_requests) == (3 * 40, 3 * 2)
    assert (found.tokens, found.money_pico) == (3 * (40 * 12 + 2 * 20), 3 * (40 * 50 + 2 * 100))
    assert damaged(AnyFiles(), f"{root}/ledger") is None


def test_resume_lists_three_folders_however_many_shards_are_sealed(root: str, day: BadDay, tmp_path: Path) -> None:
    """Slow: a real server."""
    from scorer.output.run_files import RunFiles
    from scorer.output.store import Store

    layout, places = Layout(f"{root}/out"), AnyFiles()
    shards = [Shard(f"in/{n}.parquet", f"{n}", 1, "v", 3, "f") for n in range(30)]
    for shard in shards[:-1]:
        replace(places, layout.sealed(shard.stem), b"sealed, and not opened")
    store = Store(
        RunFiles(AnyFiles(), layout, "r", "f", lambda _: SCHEMA),
        offload=inline,
        flush_rows=10,
        flush_s=10.0,
    )
    day.seen.clear()
    store.open()
    (work,) = store.work(shards)
    assert work.shard == shards[-1]
    assert sum("list-type=2" in line for line in day.seen) == len(day.seen) <= 3
