"""Promise: runs over the same input read as one table, with each row once and each run's results under its name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from support.clock import run
from support.outputs import Output

from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.output.manifest import load, save
from scorer.output.scan import scan_scores


def outputs(root: Path, *sizes: int) -> tuple[Output, Output]:
    """Two runs over files of the same bytes at different paths."""
    for name in ("a", "b"):
        (root / name).mkdir()
    return Output(root / "a", *sizes), Output(root / "b", *sizes)


def folders(*of: Output) -> list[str]:
    return [output.layout.out for output in of]


def test_scan_scores_of_two_folders_matches_shards_by_footer_and_joins_in_full(tmp_path: Path) -> None:
    a, b = outputs(tmp_path, 3, 2)
    run(a.score({0: [0, 1], 1: [0]}, value=1.0))
    run(b.score({0: [1, 2]}, value=2.0))
    found = scan_scores(folders(a, b)).collect()
    path = {shard.path: shard.stem for shard in a.shards}
    rows = [(path[shard], *rest) for shard, *rest in found.select("shard", "row", "id", "a.score", "b.score").rows()]
    assert rows == [
        ("a", 0, "a0", 1.0, None),
        ("a", 1, "a1", 1.0, 2.0),
        ("a", 2, "a2", None, 2.0),
        ("b", 0, "b0", 1.0, None),
    ]
    assert {"a.error", "b.error", "a.finished_at", "b.judge"} <= set(found.columns)
    assert not {"score", "error", "a.row", "a.id"} & set(found.columns)


def test_scan_scores_of_two_folders_has_the_input_once(tmp_path: Path) -> None:
    a, b = outputs(tmp_path, 3)
    for shard in (*a.shards, *b.shards):
        frame = pl.read_parquet(shard.path).with_columns(score=pl.Series([7, 8, 9]), human=pl.Series([1.0, 2.0, 3.0]))
        frame.write_parquet(shard.path)
    run(a.score({0: [0]}))
    run(b.score({0: [2]}))
    found = scan_scores(folders(a, b), join_input=True).collect()
    assert found.select("row", "human", "input_score", "task").rows() == [(0, 1.0, 7, "t"), (2, 3.0, 9, "t")]
    shutil.rmtree(tmp_path / "a" / "in")  # the other run's copy serves
    assert scan_scores(folders(a, b), join_input=True).collect().equals(found)


def test_scan_scores_takes_names_from_a_dict_and_one_folder_under_a_name(tmp_path: Path) -> None:
    a, b = outputs(tmp_path, 2)
    run(a.score({0: range(2)}))
    found = scan_scores({"gpt": a.layout.out, "haiku": b.layout.out}).collect()
    assert found["gpt.score"].to_list() == [0.0, 1.0]
    assert found["haiku.score"].to_list() == [None, None]
    assert scan_scores([f"only={a.layout.out}"]).collect()["only.score"].to_list() == [0.0, 1.0]


def test_scan_scores_of_equal_shards_matches_them_by_path_and_then_in_order(tmp_path: Path) -> None:
    """Two files of the same bytes are two shards of either run."""
    a, b = outputs(tmp_path, 1, 1)
    for output in (a, b):
        twins = tuple(replace(shard, footer="same") for shard in output.shards)
        manifest = load(LocalFiles(), output.layout)
        assert manifest is not None
        save(LocalFiles(), output.layout, replace(manifest, shards=twins))
        output.shards = twins
    run(a.score({0: [0], 1: [0]}, value=1.0))
    run(b.score({0: [0], 1: [0]}, value=2.0))
    found = scan_scores(folders(a, b)).collect()
    assert found.select("a.score", "b.score").rows() == [(1.0, 2.0)] * 2
    assert found["id"].to_list() == ["a0", "b0"]


def test_scan_scores_refuses_folders_without_a_common_input(tmp_path: Path) -> None:
    a, b = outputs(tmp_path, 2)
    manifest = load(LocalFiles(), b.layout)
    assert manifest is not None
    save(LocalFiles(), b.layout, replace(manifest, shards=tuple(replace(s, footer="other") for s in b.shards)))
    with pytest.raises(SpecError, match="no input file in common") as raised:
        scan_scores(folders(a, b))
    assert len(raised.value.problems) == 2


def test_scan_scores_of_a_shard_that_one_run_alone_has_keeps_its_rows(tmp_path: Path) -> None:
    a, b = outputs(tmp_path, 2, 1)
    manifest = load(LocalFiles(), b.layout)
    assert manifest is not None
    changed = replace(b.shards[1], footer="other", path=a.shards[1].path)  # one path, another file
    save(LocalFiles(), b.layout, replace(manifest, shards=(b.shards[0], changed)))
    b.shards = (b.shards[0], changed)
    run(a.score({0: range(2), 1: [0]}))
    run(b.score({0: range(2), 1: [0]}))
    found = scan_scores(folders(a, b)).collect()
    assert found.height == 4
    assert found["shard"].to_list()[2:] == [a.shards[1].path, f"{a.shards[1].path} (b)"]
