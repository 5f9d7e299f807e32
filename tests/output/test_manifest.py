"""Promise: a folder never mixes the scores of two runs, and a refusal says what changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scorer.errors import OutputError
from scorer.files.files import Stat, read
from scorer.files.local_files import LocalFiles
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest, Revision, check_fingerprint, check_shards, load, save
from scorer.types import Shard

SHARDS = (Shard("in/a.parquet", "a", 100, "v1", 10, "f1"), Shard("in/b.parquet", "b", 200, "v1", 5, "f2"))
MANIFEST = Manifest(
    "f" * 16,
    {"judge": {"kind": "rating", "scale": [1, 5]}, "input": {"keep": ["task"]}},
    {"output": {"path": "out"}},
    "2026-11-24T00:00:00+00:00",
    SHARDS,
    (Revision(1, "retry", ("Unavailable",), open=False), Revision(2, "retry", None)),
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path))


def test_manifest_round_trips_through_save_and_load(layout: Layout) -> None:
    files = LocalFiles()
    assert load(files, layout) is None
    save(files, layout, MANIFEST)
    assert load(files, layout) == MANIFEST


def test_manifest_tells_rows_and_open_revision() -> None:
    assert MANIFEST.rows == 15
    assert MANIFEST.open_revision == Revision(2, "retry", None)
    closed = MANIFEST.finished(2)
    assert closed.open_revision is None
    assert [r.open for r in closed.revisions] == [False, False]


def test_manifest_truncated_anywhere_is_damaged(layout: Layout) -> None:
    files = LocalFiles()
    save(files, layout, MANIFEST)
    whole = read(files, layout.manifest)
    for cut in range(0, len(whole) - 1, 7):
        Path(layout.manifest).write_bytes(whole[:cut])
        with pytest.raises(OutputError, match=r"run\.json is damaged"):
            load(files, layout)


@pytest.mark.parametrize("data", [b"[]", b"{}", b"null", b'{"format": 1, "shards": 3}', b'"format"'])
def test_manifest_load_refuses_json_of_another_shape(layout: Layout, data: bytes) -> None:
    Path(layout.manifest).write_bytes(data)
    with pytest.raises(OutputError, match=r"run\.json is damaged"):
        load(LocalFiles(), layout)


def test_manifest_load_refuses_another_format_version(layout: Layout) -> None:
    Path(layout.manifest).write_bytes(b'{"format": 3}')
    with pytest.raises(OutputError, match="has format 3, and this version of scorer reads 1 and 2"):
        load(LocalFiles(), layout)


def test_check_fingerprint_names_each_changed_key() -> None:
    check_fingerprint(MANIFEST, MANIFEST.fingerprint, {}, "out")
    now = {"judge": {"kind": "rating", "scale": [1, 10], "prompt": "p" * 200}, "input": {"keep": ["task"]}}
    with pytest.raises(OutputError) as caught:
        check_fingerprint(MANIFEST, "e" * 16, now, "out")
    said = str(caught.value)
    assert "out holds the scores of another run" in said
    assert "judge.scale was [1,5] and is now [1,10]" in said
    assert "judge.prompt was not set and is now " in said
    assert "keep" not in said
    assert "kind" not in said
    assert len(said) < 500
    assert "another output.path" in said


def stat(shard: Shard, **changed: object) -> Stat:
    return Stat(shard.path, **{"size": shard.size, "version": shard.version, **changed})  # type: ignore[arg-type]


def test_check_shards_matches_by_size_and_version_and_returns_new_ones() -> None:
    new = Stat("in/c.parquet", 1, "v")
    found = check_shards(SHARDS, [stat(SHARDS[1]), new, stat(SHARDS[0])], same=lambda *_: pytest.fail("it was opened"))
    assert found == [new]


def test_check_shards_accepts_a_touched_shard() -> None:
    asked = []

    def same(shard: Shard, _: Stat) -> bool:
        asked.append(shard.path)
        return True

    assert check_shards(SHARDS, [stat(SHARDS[0], version="v2"), stat(SHARDS[1])], same) == []
    assert asked == ["in/a.parquet"]


def test_check_shards_refuses_all_changed_and_missing_shards_at_once() -> None:
    with pytest.raises(OutputError) as caught:
        check_shards(SHARDS, [stat(SHARDS[0], size=101)], same=lambda *_: False)
    changed, gone = str(caught.value).splitlines()
    assert changed.startswith("in/a.parquet has changed since this run first read it")
    assert gone.startswith("in/b.parquet belongs to this run and is gone")


def test_check_fingerprint_names_only_the_key_of_a_model_that_changed() -> None:
    before = replace(MANIFEST, covered={"judge": {"kind": "rating"}, "models": [{"name": "m", "keys": ["id"]}]})
    same = {"judge": {"kind": "rating"}, "models": [{"name": "m", "keys": ("id",)}]}
    check_fingerprint(before, "e" * 16, same, "out")
    with pytest.raises(OutputError) as caught:
        check_fingerprint(before, "e" * 16, {**same, "models": [{"name": "other", "keys": ("id",)}]}, "out")
    assert 'another run: model.name was "m" and is now "other". ' in str(caught.value)
    with pytest.raises(OutputError, match=r"models\[1\]\.name was not set and is now"):
        check_fingerprint(before, "e" * 16, {**same, "models": [*same["models"], {"name": "n"}]}, "out")
