"""Promise: CSV is read as RFC 4180 says, and a record of another shape fails only its own row."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.formats import csv_text, shard_of, written

from scorer.errors import InputError
from scorer.files.local_files import LocalFiles
from scorer.inputs.formats import format_of
from scorer.inputs.shards import first_look
from scorer.inputs.source import Columns, Reader
from scorer.types import Row, Work


def rows(path: Path, *read: str, kept: tuple[str, ...] = ()) -> list[Row]:
    reader = Reader(LocalFiles(), Columns(read, read, kept), count=lambda texts: [0] * len(texts), constant_tokens=0)
    return [row for batch in reader.read(Work(shard_of(path))) for row in batch]


def problems(found: list[Row]) -> list[str | None]:
    return [None if row.problem is None else row.problem.detail for row in found]


def test_csv_reads_quotes_line_feeds_carriage_returns_and_byte_order_mark(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbfid,t\r\n1,"a, ""b""\r\nc"\r\n\r\n2,\r\n3, d \r\n'
    found = rows(written(tmp_path / "s.csv", data), "id", "t")
    assert [tuple(row.values.values()) for row in found] == [("1", 'a, "b"\r\nc'), ("2", ""), ("3", " d ")]


def test_csv_makes_records_of_another_shape_bad_rows(tmp_path: Path) -> None:
    data = b'id,t\n1,a\n2\n3,b,c\n4,"d"e\n5,\xff\n6,f\n'
    found = rows(written(tmp_path / "s.csv", data), "t", kept=("id",))
    assert [row.number for row in found] == list(range(6))
    messages = problems(found)
    assert messages[0] is None
    assert messages[5] is None
    assert "The record has 1 fields, and the header 2" in str(messages[1])
    assert "The record has 3 fields, and the header 2" in str(messages[2])
    assert "The record is no CSV" in str(messages[3])
    assert "The record holds a text that is not UTF-8" in str(messages[4])
    assert [row.kept for row in found] == [(1,), (None,), (None,), (None,), (None,), (6,)]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (["1", "-20", ""], pa.int64()),
        (["1", "2.5", "1e-3"], pa.float64()),
        (["01", "2"], pa.string()),
        (["1", "9007199254740993"], pa.int64()),
        (["18446744073709551557"], pa.string()),
        (["1.5", "9007199254740993"], pa.string()),
        (["", ""], pa.string()),
        (["1", "N/A"], pa.string()),
        (["nan", "inf"], pa.string()),
    ],
)
def test_csv_infers_column_types_from_fields(tmp_path: Path, fields: list[str], kind: pa.DataType) -> None:
    path = written(tmp_path / "s.csv", csv_text([{"v": field, "w": "x"} for field in fields]))
    with path.open("rb") as file:
        assert format_of(str(path)).schema(file).field("v").type == kind
    kept = [row.kept[0] for row in rows(path, kept=("v",))]
    if pa.types.is_string(kind):
        assert kept == fields
    else:
        number = int if pa.types.is_int64(kind) else float
        assert kept == [number(field) if field else None for field in fields]


def test_csv_reads_integers_as_numbers_in_keys_and_as_text_in_prompts(tmp_path: Path) -> None:
    path = written(tmp_path / "s.csv", b"id,n,t\n7,10,a\n,,b\n")
    reader = Reader(LocalFiles(), Columns(("id", "n"), ("n",), ()), count=lambda texts: [0] * 2, constant_tokens=0)
    found = [row for batch in reader.read(Work(shard_of(path))) for row in batch]
    assert [row.values for row in found] == [{"id": 7, "n": "10"}, {"id": None, "n": ""}]


def test_csv_makes_a_later_field_of_another_type_a_bad_row(tmp_path: Path) -> None:
    path = written(tmp_path / "s.csv", csv_text([*({"v": n, "w": ""} for n in range(1000)), {"v": "x", "w": ""}]))
    assert "column 'v' holds \"x\", and it is int64" in str(problems(rows(path, kept=("v",)))[-1])


def test_csv_makes_a_later_integer_that_its_column_cannot_hold_exactly_a_bad_row(tmp_path: Path) -> None:
    numbers = [*(f"{n}.5" for n in range(1000)), "-9007199254740993"]
    path = written(tmp_path / "s.csv", csv_text([{"v": number, "w": ""} for number in numbers]))
    assert "column 'v' holds \"-9007199254740993\", and it is double" in str(problems(rows(path, kept=("v",)))[-1])


@pytest.mark.parametrize("data", [b'id,t\n1,"a\n2,b\n', b"id,t\n1,a\n2,b"])
def test_csv_leaves_out_a_file_with_an_open_quote_or_unfinished_last_record(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path / "s.csv", data)
    look = first_look(LocalFiles(), LocalFiles().find([str(path)]), {str(path): "s"}, ["id"], alone=False)
    assert "ends with" in look.left_out[0]


def test_csv_reads_a_lone_header_as_no_rows_and_refuses_duplicate_names(tmp_path: Path) -> None:
    assert shard_of(written(tmp_path / "s.csv", b"id,t\n")).rows == 0
    path = written(tmp_path / "t.csv", b"id,t,t\n1,a,b\n")
    with pytest.raises(InputError, match="several columns called 't'"):
        first_look(LocalFiles(), LocalFiles().find([str(path)]), {str(path): "t"}, ["t"])


TEXTS = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_csv_round_trips_texts_of_python_csv_writer(tmp_path: Path, texts: list[tuple[str, str]]) -> None:
    data = csv_text([{"a": one, "b": other} for one, other in texts])
    found = rows(written(tmp_path / "s.csv", data), "a", "b")
    assert [(row.values["a"], row.values["b"], row.problem) for row in found] == [(*pair, None) for pair in texts]
