"""Promise: a pattern matches in a bucket as on a local disk."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest

from scorer.files.object_globs import Glob

NAMES = ["a.parquet", "b1.parquet", "b2.parquet", ".hidden.parquet", "x/a.parquet", "x/y/a.parquet", "x/y/[v1].parquet",
         "x/.dot/a.parquet", "x1/a.txt", "x+1/a.parquet"]  # fmt: skip


@pytest.mark.parametrize(
    "pattern",
    ["*.parquet", "b?.parquet", "b[12].parquet", "b[!1].parquet", "*/*.parquet", "x/*/a.parquet", "**/*.parquet",
     "x/**/a.parquet", "x*/a.*", "x/y/*", "x/y/[[]v1].parquet", "**/y/*", "x+?/*.parquet"],
)  # fmt: skip
def test_glob_matches_as_on_a_local_disk(tmp_path: Path, pattern: str) -> None:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = glob.glob(pattern, root_dir=tmp_path, recursive=True)
    on_disk = {name for name in found if (tmp_path / name).is_file()}
    assert on_disk
    assert {name for name in NAMES if Glob(pattern).matches(name)} == on_disk


def test_glob_fixed_part_ends_at_the_first_wildcard() -> None:
    assert Glob("data/2026/*/x.parquet").fixed == "data/2026"
    assert Glob("data/a.parquet").fixed == "data/a.parquet"
    assert not Glob("data/a.parquet").wild
    assert Glob("data/**/a.parquet").deep
