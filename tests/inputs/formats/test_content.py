"""Promise: a file whose name promises another format than its content is refused with what it looks like."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from support.formats import WRITERS, shard_of, written

from scorer.errors import InputError
from scorer.files.local_files import LocalFiles
from scorer.inputs.formats.content import content_hint
from scorer.inputs.shards import first_look, not_taken

ROW = {"id": "a", "text": "b"}
ARRAY = b'[\n {"id": 1,\n  "text": "a"}\n]'


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("s.json", ARRAY, "one JSON array"),
        ("s.jsonl", ARRAY, "one JSON array"),
        ("s.jsonl", ARRAY + b"\n", "one JSON array"),
        ("s.jsonl", b'[{"id": 1}]', "one JSON array"),
        ("s.json", b'{"id": 1}\n{"id": 2}\n', "JSON: write each object on a line"),
        ("s.jsonl.gz", b'{"id": 1}\n', "JSON: write each object on a line"),
        ("s.jsonl", gzip.compress(b'{"id": 1}\n', mtime=0), "gzip: give it a name that ends in .jsonl.gz"),
        ("s.arrow", WRITERS["parquet"]([ROW]), "Parquet: give it a name"),
        ("s.dat", WRITERS["arrow"]([ROW]), "Arrow: give it a name"),
        ("s.tsv", b"id\ttext\r\n1\ta\r\n", "a table with tabs"),
        ("s.txt", b"id,text\r\n1,a\r\n", "CSV: give it a name"),
        ("s.csv", b"id,text\r1,a\r", "text whose lines end in carriage returns alone"),
        ("s.feather", b"FEA1\0\0\0\0 and more of it", "Feather of version 1"),
        ("s.xlsx", b"PK\x03\x04 and more of it", "a ZIP archive or a spreadsheet"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_it_looks_like(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=f"It looks like {message}"):
        shard_of(written(tmp_path / name, data))


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("s.parquet", b"PAR1 and damage"),
        ("s.jsonl.gz", b"\x1f\x8b and damage"),
        ("s.jsonl", b'{"id": 1'),
        ("s.csv", b"id,text"),
        ("s.csv", b"\xff\xfei\0d\0"),
        ("s.parquet", b""),
    ],
)
def test_a_file_that_looks_as_its_name_says_gets_no_hint(name: str, begins: bytes) -> None:
    assert content_hint(name, begins) is None


def test_a_csv_with_semicolons_and_a_text_in_double_quotes_say_what_to_write(tmp_path: Path) -> None:
    def look(data: bytes, *wanted: str, where: str | None = None) -> None:
        path = written(tmp_path / "s.csv", data)
        stats = LocalFiles().find([str(path)])
        first_look(LocalFiles(), stats, {str(path): "s"}, wanted, where=where, settled=False)

    with pytest.raises(InputError, match="It looks like a table with semicolons between its fields"):
        look(b"id;text\n1;a\n", "text")
    with pytest.raises(InputError, match="a text stands between single quotes: 'it''s'"):
        look(b"id,text\n1,a\n", "text", "it's", where='text = "it\'s"')
    with pytest.raises(InputError, match=r"It has: id, text\.$"):
        look(b"id,text\n1,a\n", "no", where="no = 'it'")


def test_files_of_other_formats_beside_parquet_are_named(tmp_path: Path) -> None:
    lines = written(tmp_path / "in" / "b.jsonl", WRITERS["jsonl"]([ROW]))
    assert not_taken([str(tmp_path / "in")]) == []
    written(tmp_path / "in" / "a.parquet", WRITERS["parquet"]([ROW]))
    (message,) = not_taken([str(tmp_path / "in"), str(lines), "s3://bucket/in"])
    assert f"1 of other formats in it are left out, such as {lines}" in message


def test_a_parquet_file_without_an_end_to_its_name_may_still_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="may still be written"):
        shard_of(written(tmp_path / "part-0", WRITERS["parquet"]([ROW])[:-8]))
