"""Promise: a row to label is named by a column of any plain type, and its label finds it by the text in the file."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import scorer
from scorer.analysis.join_labels import join_labels, open_labels
from scorer.analysis.label_keys import key_text
from scorer.cli.app import main
from scorer.errors import SpecError

ROWS = 40
DAY = datetime.date(2026, 1, 1)
NOON = datetime.datetime(2026, 1, 1, 12)
UUIDS = [uuid.UUID(int=2**127 + row) for row in range(ROWS)]
KEYS: dict[str, pl.Series] = {
    "uuid": pl.Series([one.bytes for one in UUIDS], dtype=pl.Binary),
    "short": pl.Series([bytes([row, 255]) for row in range(ROWS)], dtype=pl.Binary),
    "day": pl.Series([DAY + datetime.timedelta(days=row) for row in range(ROWS)]),
    "moment": pl.Series([NOON + datetime.timedelta(seconds=row) for row in range(ROWS)]),
    "zoned": pl.Series([NOON + datetime.timedelta(seconds=row) for row in range(ROWS)]).dt.replace_time_zone("UTC"),
    "clock": pl.Series([datetime.time(1, row) for row in range(ROWS)]),
    "number": pl.Series([row / 4 for row in range(ROWS)]),
    "exact": pl.Series([Decimal(row) / 4 for row in range(ROWS)]),
    "category": pl.Series([f"c{row}" for row in range(ROWS)], dtype=pl.Categorical),
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    scores = {"score": [float(row % 5) for row in range(ROWS)], "said": [f"text {row}" for row in range(ROWS)]}
    nested = {"list": [[row] for row in range(ROWS)], "struct": [{"a": row} for row in range(ROWS)]}
    pl.DataFrame({**scores, **KEYS, **nested}).write_parquet(path)
    return path


def labelled(path: Path) -> Path:
    """The file as a person leaves it: `said` tells which row a label belongs to."""
    filled = pl.read_csv(path, infer_schema=False)
    filled = filled.with_columns(human_label=pl.col("said").str.extract(r"(\d+)"))
    filled.write_csv(path)
    return path


@pytest.mark.parametrize("name", KEYS)
def test_labels_find_their_rows_by_a_column_of_any_plain_type(table: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "labels.csv"
    scorer.label(str(table), file, n=20, on=[name], show=["said", name])
    frame = pl.scan_parquet(table)
    labels = open_labels(labelled(file), frame, [name])
    found = join_labels(frame, labels, [name], ["human_label"]).drop_nulls("human_label").collect()
    assert len(found) == 20
    assert found["human_label"].to_list() == found["said"].str.extract(r"(\d+)").to_list()


@pytest.mark.parametrize("name", ["uuid", "moment", "category"])
def test_labels_are_drawn_again_by_a_column_of_any_plain_type(table: Path, tmp_path: Path, name: str) -> None:
    file, again = tmp_path / "labels.csv", tmp_path / "again.csv"
    scorer.label(str(table), file, n=20, on=[name], show=["said"])
    labelled(file)
    asked = ["label", str(table), "-o", str(again), "--again", str(file), "--n", "5", "--on", name, "--show", "said"]
    with pytest.raises(SystemExit) as ended:
        main(asked)
    assert ended.value.code == 0
    assert set(pl.read_csv(again)["said"]) <= set(pl.read_csv(file)["said"])


def test_a_uuid_stands_in_the_file_as_its_usual_text_also_where_it_is_shown(table: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    scorer.label(str(table), file, n=20, on=["day"], show=["uuid"])
    assert set(pl.read_csv(file)["uuid"]) <= {str(one) for one in UUIDS}


@pytest.mark.parametrize("name", ["list", "struct"])
def test_a_nested_column_names_no_row(table: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match=f"--on {name}: the values of this column are lists or structures"):
        scorer.label(str(table), tmp_path / "labels.csv", on=[name], show=["said"])


def test_keys_of_one_type_are_compared_by_value_and_other_types_refused() -> None:
    days = pl.LazyFrame({"day": KEYS["day"]})
    labels = pl.LazyFrame({"day": KEYS["day"][:3], "human": [1.0, 2.0, 3.0]})
    assert join_labels(days, labels, ["day"], ["human"]).collect()["human"].to_list()[:4] == [1.0, 2.0, 3.0, None]
    with pytest.raises(SpecError, match="Column day is Date in the table and Int64 in the labels file"):
        join_labels(days, pl.LazyFrame({"day": [1], "human": [1.0]}), ["day"], ["human"])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pl.Series([UUIDS[0].bytes]), str(UUIDS[0])),
        (pl.Series([b"plain", None]), "plain"),
        (pl.Series([DAY]), "2026-01-01"),
        (pl.Series([True]), "true"),
        (pl.Series([datetime.time(1, 2)]), "01:02:00"),
    ],
)
def test_key_text(values: Any, text: str) -> None:
    assert key_text(values)[0] == text
