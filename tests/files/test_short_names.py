"""Promise: a file name fits the file system, stays distinct and is printable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.files.filenames import NAME_BYTES, cut, not_utf8, short_name
from scorer.files.local_files import LocalFiles


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\x00"), min_size=1), st.integers(20, 255))
def test_short_name_fits_and_keeps_names_distinct(name: str, most: int) -> None:
    assert len(short_name(name, most).encode()) <= most
    assert short_name(name, most) == name or len(name.encode()) > most
    assert len({short_name(f"{name * 300}{n}", most) for n in range(3)}) == 3
    assert name.startswith(cut(name, most))


@pytest.mark.parametrize("stem", ["x" * 247, "漢" * 82, "🦜" * 61])
def test_create_writes_a_file_with_the_longest_name(tmp_path: Path, stem: str) -> None:
    """A folder of an earlier version holds stems as long as that."""
    path = f"{tmp_path}/{stem}.parquet"
    assert NAME_BYTES - 4 < len(f"{stem}.parquet".encode()) <= NAME_BYTES
    with LocalFiles().create(path) as file:
        file.write(b"whole")
    assert Path(path).read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_not_utf8_gives_a_printable_name() -> None:
    assert not_utf8("in/grüße.parquet") is None
    assert not_utf8(os.fsdecode(b"in/\xff\xc3\xbc.parquet")) == "in/\\xffü.parquet"
