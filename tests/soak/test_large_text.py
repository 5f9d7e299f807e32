"""Promise: a shard whose text is larger than an Arrow column can be is written, merged and read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.clock import run
from support.outputs import SCHEMA, Output, result

from scorer.output import segments as seg


@pytest.mark.slow
def test_store_seals_a_shard_with_more_than_2_gib_of_text(tmp_path: Path) -> None:
    """Slow: 3,600 rows that keep 600 kB each are written, merged and read back: more than an Arrow column can hold."""
    long = "x" * 600_000

    async def scenario() -> None:
        output = Output(tmp_path, 3_600)
        store = output.store(flush_rows=1000, flush_s=100.0)
        list(store.work(output.shards))
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            for n in range(3_600):
                await store.room()
                one = result(output.shards[0], n)
                store.add(replace(one, row=replace(one.row, kept=(f"a{n}", long))))
                if n % 50 == 0:
                    await asyncio.sleep(0)
            store.stop()
        await store.close()
        rows = bytes_of = 0
        with pq.ParquetFile(output.sealed()) as parquet:
            assert parquet.schema_arrow.names == SCHEMA.names
            for number in range(parquet.num_row_groups):
                group_ = parquet.read_row_group(number)
                assert group_.nbytes <= 2 * seg.GROUP_BYTES
                rows, bytes_of = rows + group_.num_rows, bytes_of + group_.nbytes
        assert rows == 3_600
        assert bytes_of > 1 << 31

    run(scenario())
