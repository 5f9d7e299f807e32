"""Promise: shards whose kept columns cannot stand in one table are refused before anything is asked, and others not."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.inprocess import Run

from scorer import scan_scores
from scorer.cli.app import _exit_code
from scorer.errors import InputError
from scorer.inputs.one_table import uncommon_types

NAIVE, ZONED = pa.timestamp("us"), pa.timestamp("us", "UTC")


def add(run: Run, kind: pa.DataType) -> str:
    """One more shard, with a column `at` of that type."""
    path = run.add(3)
    table = pq.read_table(path)
    pq.write_table(table.append_column("at", pa.array([0, 1, None], pa.int64()).cast(kind)), path)
    return str(path)


@pytest.mark.parametrize(
    ("types", "common"),
    [
        ((NAIVE, ZONED), False),
        ((ZONED, pa.timestamp("us", "Europe/Berlin")), False),
        ((pa.int64(), pa.list_(pa.int64())), False),
        ((NAIVE, pa.timestamp("ns")), True),
        ((pa.int64(), pa.string()), True),
        ((pa.int8(), pa.float64()), True),
        ((pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())), True),
        ((pa.null(), ZONED), True),
        ((pa.uuid(), pa.uuid()), True),
    ],
    ids=str,
)
def test_types_have_a_common_one_where_polars_makes_one_column_of_them(
    types: tuple[pa.DataType, ...], common: bool
) -> None:
    schemas = {f"{place}.parquet": pa.schema([("x", kind)]) for place, kind in enumerate(types)}
    assert (uncommon_types(schemas, ["x"], schemas) == []) == common
    assert uncommon_types(schemas, ["x"], ()) == []
    assert uncommon_types(schemas, [], schemas) == []


def test_a_first_start_and_a_new_shard_are_refused_with_both_shards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path, keep=["at"])
    naive = add(run, NAIVE)
    run.run()
    zoned = add(run, ZONED)
    said = rf"Column 'at' is timestamp\[us, tz=UTC\] in {zoned} and timestamp\[us\] in {naive}\. No type holds both"
    asked = run.wire.asked.total()
    with pytest.raises(InputError, match=said):
        run.run()
    assert run.wire.asked.total() == asked
    other = Run(tmp_path / "other", keep=["at"])
    other.patterns = run.patterns
    with pytest.raises(InputError, match=r"Column 'at' is .* leave it out of input\.keep"):
        other.run()
    assert not Path(other.out, "run.json").exists()
    path = tmp_path / "plan.toml"
    path.write_text(
        f'[input]\nshards = ["{naive}", "{zoned}"]\nkeep = ["at"]\n[judge]\nprompt = "{{response}}"\nscale = [1, 5]\n'
        f'[model]\nname = "m"\n[output]\npath = "{tmp_path}/planned"\n'
    )
    assert _exit_code(["plan", str(path)]) == 2
    assert "No type holds both" in capsys.readouterr().err


def test_a_column_that_is_kept_later_is_checked_before_a_file_is_touched(tmp_path: Path) -> None:
    run = Run(tmp_path)
    add(run, NAIVE), add(run, ZONED)
    run.run()
    before = {path: path.read_bytes() for path in Path(run.out, "scores").iterdir()}
    later = Run(tmp_path, keep=["at"])
    with pytest.raises(InputError, match="No type holds both"):
        later.run()
    assert before == {path: path.read_bytes() for path in Path(run.out, "scores").iterdir()}
    assert scan_scores(run.out).select(pl.len()).collect().item() == 6
