"""A Delta table on a real S3 server: the environment that leads to it is the same as for `output.path = "s3://..."`."""

from __future__ import annotations

from pathlib import Path

import pytest
from publish.runs import expected, output
from support.seaweed import BUCKET, Weed

from scorer.errors import StorageError
from scorer.files.local_files import LocalFiles
from scorer.publish.publish import publish

pytest.importorskip("deltalake")
pytestmark = pytest.mark.slow


def test_delta_on_s3_is_published_and_read_without_the_right_to_write(
    tmp_path: Path, weed: Weed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: a real server."""
    from deltalake import DeltaTable

    made = output(tmp_path / "a", 3, 4)
    address = f"delta://s3://{BUCKET}/tables/scores"
    for name, value in weed.variables("reader").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match=r"were not published to delta://s3://.*Their scores are stored"):
        publish(LocalFiles(), made.layout.out, address)
    for name, value in weed.variables().items():
        monkeypatch.setenv(name, value)
    assert publish(LocalFiles(), made.layout.out, address).committed == 2
    assert publish(LocalFiles(), made.layout.out, address).committed == 0
    table = DeltaTable(address.removeprefix("delta://"), storage_options={"allow_http": "true"}).to_pyarrow_table()
    columns = [table.column(name).to_pylist() for name in ("scorer_run", "shard", "row")]
    assert sorted(zip(*columns, strict=True)) == expected(made)
