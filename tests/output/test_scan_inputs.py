"""Promise: each input row stands under its own shard and number, however many files there are and of which formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.output.scan_inputs import INPUT_KEY, scan_inputs
from scorer.types import Shard


def written(folder: Path, name: str, values: Sequence[object], kind: pl.DataType) -> Shard:
    """A file of one column `n`, which runs know by another path than its place."""
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame({"n": values}, schema={"n": kind})
    frame.write_ndjson(place) if name.endswith(".jsonl") else frame.write_parquet(place)
    return Shard(f"then/{name}", name, 0, "", len(values), "", at=str(place))


FILES = st.lists(
    st.tuples(
        st.sampled_from(["a{}.parquet", "model=x/b{}.parquet", "c{}.jsonl"]),
        st.integers(0, 4),
        st.sampled_from([pl.Int64(), pl.Int32(), pl.String()]),
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(FILES)
def test_scan_inputs_gives_each_row_its_own_key(files: list[tuple[str, int, pl.DataType]]) -> None:
    with TemporaryDirectory() as folder:
        shards, wanted, n = [], set(), 0
        for number, (name, rows, kind) in enumerate(files):
            values = [f"{n + row}" if kind == pl.String() else n + row for row in range(rows)]
            shards.append(written(Path(folder), name.format(number), values, kind))
            wanted |= {(shards[-1].path, row, f"{n + row}") for row in range(rows)}
            n += rows
        found = scan_inputs(shards)
        assert (found is None) == (not n)
        if found is not None:
            frame = found.select(*INPUT_KEY, pl.col("n").cast(pl.String)).collect()
            assert frame.height == n
            assert set(frame.rows()) == wanted
            later = found.filter(pl.col(INPUT_KEY[1]) > 0).select(*INPUT_KEY, pl.col("n").cast(pl.String)).collect()
            assert set(later.rows()) == {row for row in wanted if row[1] > 0}


def test_scan_inputs_reads_a_place_that_two_shards_share_for_both(tmp_path: Path) -> None:
    one = written(tmp_path, "a.parquet", [1, 2], pl.Int64())
    other = Shard("then/link.parquet", "link", 0, "", 2, "", at=one.at)
    found = scan_inputs([one, other])
    assert found is not None
    assert sorted(found.select(*INPUT_KEY, "n").collect().rows()) == [
        ("then/a.parquet", 0, 1), ("then/a.parquet", 1, 2), ("then/link.parquet", 0, 1), ("then/link.parquet", 1, 2)
    ]  # fmt: skip


def test_scan_inputs_reads_files_of_equal_columns_in_one_scan(tmp_path: Path) -> None:
    found = scan_inputs([written(tmp_path, f"{n}.parquet", [n], pl.Int64()) for n in range(20)])
    assert found is not None
    assert found.explain().count("Parquet SCAN") == 1


def test_scan_inputs_leaves_out_a_column_whose_types_no_type_holds(tmp_path: Path) -> None:
    shards = []
    for name, zone in (("a.parquet", None), ("b.parquet", "UTC"), ("c.parquet", "UTC")):
        frame = pl.DataFrame({"n": [1], "at": [0]}).with_columns(pl.col("at").cast(pl.Datetime("us", zone)))
        frame.write_parquet(tmp_path / name)
        shards.append(Shard(name, name, 0, "", 1, "", at=str(tmp_path / name)))
    found = scan_inputs(shards)
    assert found is not None
    assert found.select(INPUT_KEY[0], "n").collect().rows() == [("a.parquet", 1), ("b.parquet", 1), ("c.parquet", 1)]
    assert "at" not in found.collect_schema()
    alike = scan_inputs(shards[1:])
    assert alike is not None
    assert "at" in alike.collect_schema()
