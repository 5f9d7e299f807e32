"""Promise: JSON Lines are read row by row, in the variants found in practice, and a bad line fails only its own row."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.formats import json_lines, shard_of, written, zstd

from scorer.errors import InputError
from scorer.files.local_files import LocalFiles
from scorer.inputs.formats import json_lines as module
from scorer.inputs.formats.byte_stream import CHUNK, HashedFile, decompressed, hashed
from scorer.inputs.formats.lines import Lines
from scorer.inputs.source import Columns, Reader
from scorer.types import Row, Work


def rows(path: Path, *read: str, kept: tuple[str, ...] = ()) -> list[Row]:
    columns = Columns(read, read, kept)
    reader = Reader(LocalFiles(), columns, count=lambda texts: [len(text) for text in texts], constant_tokens=0)
    return [row for batch in reader.read(Work(shard_of(path))) for row in batch]


def detail(row: Row) -> str:
    assert row.problem is not None
    assert row.problem.name == "BadRow"
    return row.problem.detail


def test_json_lines_skips_byte_order_mark_carriage_returns_and_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "s.jsonl", b'\xef\xbb\xbf{"t": "a"}\r\n\r\n  \n{"t": "b\\r\\n"}\r\n\n{"t": "c"}')
    assert [(row.number, row.values["t"]) for row in rows(path, "t")] == [(0, "a"), (1, "b\r\n"), (2, "c")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"t": "a"', "The line is not JSON"),
        (b"[1, 2]", "The line is no JSON object"),
        (b'"text"', "The line is no JSON object"),
        (b'{"t": "\xff"}', "The line is not UTF-8"),
        (b'{"t": "a"} {"t": "b"}', "The line is not JSON"),
        (b"[" * 100_000, "The line is not JSON"),
        (b"\0", "The line is not JSON"),
        (b'{"t": ' + b"[" * 101 + b"]" * 101 + b"}", "The line is nested deeper than 100 levels"),
        (b'{"t": ' + b"[" * 300 + b"NaN" + b"]" * 300 + b"}", "The line is nested deeper than 100 levels"),
    ],
)
def test_json_lines_makes_a_line_without_an_object_a_bad_row(tmp_path: Path, line: bytes, why: str) -> None:
    found = rows(written(tmp_path / "s.jsonl", b'{"t": "a"}\n' + line + b'\n{"t": "c"}\n'), "t", kept=("t",))
    assert [row.problem is None for row in found] == [True, False, True]
    assert why in detail(found[1])
    assert (found[1].values, found[1].kept) == ({"t": None}, (None,))


def test_json_lines_makes_a_too_long_line_a_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Lines", lambda stream, **more: Lines(stream, longest=100, chunk=16))
    path = written(tmp_path / "s.jsonl", b'{"t": "a"}\n{"t": "' + b"x" * 500 + b'"}\n{"t": "c"}\n')
    found = rows(path, "t")
    assert [row.problem is None for row in found] == [True, False, True]
    assert "longer than" in detail(found[1])


def test_json_lines_takes_last_duplicate_key_reads_nan_and_replaces_lone_surrogates(tmp_path: Path) -> None:
    text = b'{"t": "a", "t": "b", "x": 1}\n{"t": "NaN", "x": NaN}\n{"t": "\\ud83d!", "x": -Infinity}\n'
    found = rows(written(tmp_path / "s.jsonl", text), "t", "x", kept=("x",))
    assert [row.values["t"] for row in found] == ["b", "NaN", "\ufffd!"]
    assert found[0].kept == (1.0,)
    assert math.isnan(found[1].kept[0])
    assert found[2].kept == (-math.inf,)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None, False], pa.bool_()),
        ([1, None, -(2**63)], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([2**63], pa.float64()),
        ([2**53 + 1, 0.5], pa.string()),
        (["a", None], pa.string()),
        (["a", 1], pa.string()),
        ([1, True], pa.string()),
        ([None, None], pa.string()),
        ([{"a": 1}, {"b": [2]}], pa.string()),
    ],
)
def test_json_lines_infers_kept_types_from_first_values(tmp_path: Path, values: list[Any], kind: pa.DataType) -> None:
    if values == [2**63]:
        kind = pa.string()
    path = written(tmp_path / "s.jsonl", json_lines([{"v": value} for value in values]))
    with path.open("rb") as file:
        assert module.JsonLines().schema(file).field("v").type == kind
    for row, value in zip(rows(path, kept=("v",)), values, strict=True):
        text = pa.types.is_string(kind) and not isinstance(value, str) and value is not None
        assert row.kept == ((json.dumps(value, separators=(",", ":")) if text else value),)


def test_json_lines_makes_a_later_value_of_another_type_a_bad_row(tmp_path: Path) -> None:
    records = [
        *({"v": number} for number in range(1000)),
        {"v": "x"},
        {"v": 2.0},
        {"v": 2.5},
        {"v": 2**64},
        {"v": None},
    ]
    found = rows(written(tmp_path / "s.jsonl", json_lines(records)), kept=("v",))[1000:]
    assert [row.problem is None for row in found] == [False, True, False, False, True]
    assert "column 'v' holds \"x\", and it is int64 by the first 1,000 rows" in detail(found[0])
    assert found[1].kept == (2,)


def test_json_lines_depth_limit_ignores_number_of_braces(tmp_path: Path) -> None:
    nested: Any = [{"a": [n]} for n in range(500)]
    for _ in range(96):
        nested = [nested]
    (row,) = rows(written(tmp_path / "s.jsonl", json_lines([{"t": nested}])), "t", kept=("t",))
    assert row.values["t"] == nested
    assert row.kept == (json.dumps(nested, separators=(",", ":")),)


def test_json_lines_keeps_all_digits_of_long_integers(tmp_path: Path) -> None:
    (row,) = rows(written(tmp_path / "s.jsonl", b'{"v": 123456789012345678901234567890}\n'), "v", kept=("v",))
    assert (row.values["v"], row.kept) == (123456789012345678901234567890, ("123456789012345678901234567890",))


def test_json_lines_reads_nested_values_whole_and_by_path(tmp_path: Path) -> None:
    record = {
        "messages": [{"role": "user", "content": "hi"}],
        "meta": {"x": [1, {"y": 2}]},
        "a.b": "flat",
        "a": {"b": 1},
    }
    path = written(tmp_path / "s.jsonl", json_lines([record, {"messages": []}]))
    first, second = rows(path, "messages", "messages[-1].content", "meta.x[1].y", "a.b")
    assert list(first.values.values()) == [record["messages"], "hi", 2, "flat"]
    assert list(second.values.values()) == [[], None, None, None]


@pytest.mark.parametrize("data", [b"\n", b" \r\n\n", b"\xef\xbb\xbf"])
def test_json_lines_refuses_a_file_without_rows_as_unfinished(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError, match="has no row yet, so it may still be written"):
        shard_of(written(tmp_path / "s.jsonl", data))


def test_json_lines_refuses_a_file_without_json_at_first_look(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of its first 2 lines is a JSON object"):
        shard_of(written(tmp_path / "s.jsonl", b"id,text\n1,a\n"))
    with pytest.raises(InputError, match=r"its only line is no JSON object; the first one is not UTF-8 \(byte 10\)"):
        shard_of(written(tmp_path / "s.jsonl", '{"a": "caf\xe9"}\n'.encode("latin-1")))
    with pytest.raises(InputError, match="it is UTF-16; write it as UTF-8"):
        shard_of(written(tmp_path / "s.jsonl", '{"a": 1}\n'.encode("utf-16")))


LINES = st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=12)


@given(lines=LINES, chunk=st.integers(1, 9), ended=st.booleans(), more=st.integers(0, 12))
def test_lines_are_independent_of_chunk_size(lines: list[bytes], chunk: int, ended: bool, more: int) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return
    longest = chunk + more
    split = Lines(io.BytesIO(data), longest=longest, chunk=chunk)
    found = [line for some in split for line in some] + [split.tail]
    wanted = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert found == [line if len(line) <= longest else None for line in wanted]


@given(
    data=st.binary(max_size=400),
    at=st.integers(0, 400),
    chunk=st.integers(1, 50),
    kind=st.sampled_from(["gzip", "zstd"]),
)
def test_decompressed_joins_several_frames(data: bytes, at: int, chunk: int, kind: str) -> None:
    compress = gzip.compress if kind == "gzip" else zstd
    stream = decompressed(hashed(io.BytesIO(compress(data[:at]) + compress(data[at:]))), kind)
    found = b""
    while part := stream.read(chunk):
        assert len(part) <= chunk
        found += part
    assert found == data


@given(data=st.binary(min_size=1, max_size=300), cut=st.integers(1, 40), kind=st.sampled_from(["gzip", "zstd"]))
def test_decompressed_refuses_a_truncated_frame(data: bytes, cut: int, kind: str) -> None:
    whole = (gzip.compress if kind == "gzip" else zstd)(data)
    given = hashed(io.BytesIO(whole[: max(1, len(whole) - cut)]))
    with pytest.raises(OSError, match="Truncated compressed stream"):
        decompressed(given, kind).read(1 << 16)


class _Remote(io.RawIOBase):
    """A file of which each read is a request."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.requests = 0

    def read(self, size: int = -1) -> bytes:
        self.requests += 1
        return self._data.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._data.seek(offset, whence)


@given(data=st.binary(max_size=300), reads=st.lists(st.integers(-1, 90), max_size=9), at=st.integers(0, 300))
def test_hashed_file_reads_ahead_and_hashes_like_the_plain_file(data: bytes, reads: list[int], at: int) -> None:
    file = HashedFile(_Remote(data))  # type: ignore[arg-type]
    file._ahead = 50
    plain = io.BytesIO(data)
    for size in reads:
        assert file.read(size) == plain.read(size)
        assert file.tell() == plain.tell()
    file.seek(at)
    plain.seek(at)
    assert file.read(20) == plain.read(20)
    file.seek(0)
    assert file.rest() == hashlib.sha256(data).hexdigest() == file.digest(len(data))


def test_decompressed_remote_file_takes_few_requests() -> None:
    remote = _Remote(gzip.compress(os.urandom(9_000_000)))
    stream = decompressed(hashed(remote), "gzip")  # type: ignore[arg-type]
    assert sum(len(part) for part in iter(lambda: stream.read(CHUNK), b"")) == 9_000_000
    assert remote.requests <= 6
