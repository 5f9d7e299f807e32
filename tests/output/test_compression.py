"""Promise: a segment that is merged soon is compressed by snappy, and what stays is compressed by zstd."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.clock import run
from support.outputs import Output

from scorer.output import segments as seg


def compression(path: Path | str) -> str:
    return str(pq.read_metadata(path).row_group(0).column(0).compression)


def test_segments_are_snappy_and_their_sealed_file_is_zstd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seg, "SMALL_BYTES", 0)  # else all files of this test are small, and snappy

    async def scenario() -> None:
        output = Output(tmp_path, 40)
        await output.score({0: range(20)})
        (segment,) = output.segments()
        assert compression(segment) == "SNAPPY"
        await output.score({0: range(20, 40)})
        assert compression(output.layout.sealed("a")) == "ZSTD"
        assert [row["row"] for row in output.rows()] == list(range(40))

    run(scenario())


def test_segment_with_all_rows_of_its_shard_is_zstd_as_it_may_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seg, "SMALL_BYTES", 0)

    async def scenario() -> None:
        output = Output(tmp_path, 20)
        await output.score({0: range(20)}, error="Refused")
        await output.retry(only=20)
        (segment,) = output.segments()
        assert compression(segment) == "ZSTD"

    run(scenario())
