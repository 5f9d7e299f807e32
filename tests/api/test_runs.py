"""The front door from Python does what the commands do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import scorer
from scorer.errors import SpecError
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.process import RehearsalProcess

pytestmark = pytest.mark.slow
"""Slow: each test runs the whole path against a real server on loopback."""

JUDGE = {"kind": "rating", "prompt": "[row:{x}] {text} Score from 1 to 5?"}
ANY_SHARE = {"max_failed_share": 1.0}
FRAME = pl.DataFrame({"text": ["a", "b", None, "d"], "x": [1, 2, 3, 4], "model": ["m", "m", "n", "n"]})


@pytest.fixture(scope="module")
def judge() -> Iterator[RehearsalProcess]:
    with RehearsalProcess(RehearsalConfig(latency_median_s=0.0)) as process:
        yield process


def spec(judge: RehearsalProcess, folder: Path) -> scorer.Spec:
    FRAME.write_parquet(folder / "in.parquet")
    return scorer.Spec(
        input={"shards": [str(folder / "in.parquet")], "keep": ["model"]},  # type: ignore[arg-type]
        judge=JUDGE,  # type: ignore[arg-type]
        model={"name": "m", "base_url": judge.url},  # type: ignore[arg-type]
        limits={"max_failed_share": 1.0},  # type: ignore[arg-type]
        output={"path": str(folder / "out")},  # type: ignore[arg-type]
    )


def test_run_and_score_frame_work_inside_a_running_loop(judge: RehearsalProcess, tmp_path: Path) -> None:
    wanted = spec(judge, tmp_path)

    async def cell() -> tuple[scorer.Status, pl.DataFrame]:
        frame = scorer.score_frame(FRAME, judge=JUDGE, model={"name": "m", "base_url": judge.url}, limits=ANY_SHARE)
        return scorer.run(wanted), frame

    with pytest.warns(UserWarning, match="1 of 4 rows failed"):
        done, frame = asyncio.run(cell())
    assert (done.state, done.scored) == ("complete", 3)
    assert [score is None for score in frame.get_column("score").to_list()] == [False, False, True, False]


def test_plan_run_and_scan_scores_work_inside_a_running_loop(judge: RehearsalProcess, tmp_path: Path) -> None:
    wanted = spec(judge, tmp_path)
    assert (scorer.plan(wanted).rows, scorer.plan(wanted).requests) == (4, 3)  # a null row asks nothing
    done = scorer.run(wanted)
    assert (done.state, done.rows, done.scored, done.errors) == ("complete", 4, 3, {"BadRow": 1})
    asked = judge.stats()["requests"]

    async def again() -> scorer.Status:
        return await scorer.run_async(wanted)

    from scorer.processes.event_loop import on_loop

    assert on_loop(again()).state == "complete"
    assert judge.stats()["requests"] == asked
    frame = scorer.scan_scores(str(tmp_path / "out"), join_input=True).collect()
    assert frame.get_column("text").to_list() == ["a", "b", None, "d"]
    assert frame.get_column("model").to_list() == ["m", "m", "n", "n"]
    assert [score is None for score in frame.get_column("score").to_list()] == [False, False, True, False]


def test_scan_scores_reads_shards_with_different_kept_types_as_one_table(
    judge: RehearsalProcess, tmp_path: Path
) -> None:
    wanted = spec(judge, tmp_path)
    texts = {"text": ["a", "b"], "x": [1, 2]}
    for name, id_type, model in (
        ("0", pl.Int32, [1, 2]),
        ("1", pl.Int64, [0.5, None]),
        ("2", pl.String, [None, None]),
        ("3", pl.Int32, [3, 4]),
    ):
        frame = pl.DataFrame({**texts, "id": [7, 8], "model": model}).with_columns(pl.col("id").cast(id_type))
        frame.write_parquet(tmp_path / f"in{name}.parquet")
    shards = tuple(str(tmp_path / f"in{name}.parquet") for name in range(4))
    given = wanted.input.model_copy(update={"shards": shards, "id": "id"})
    assert scorer.run(wanted.model_copy(update={"input": given})).scored == 8
    frame = scorer.scan_scores(str(tmp_path / "out")).sort("shard", "row").collect()
    assert frame.get_column("id").to_list() == ["7", "8"] * 4
    assert frame.get_column("model").to_list() == [1.0, 2.0, 0.5, None, None, None, 3.0, 4.0]
    assert frame.get_column("score").null_count() == 0


def test_run_takes_a_run_file_a_dict_or_a_spec(judge: RehearsalProcess, tmp_path: Path) -> None:
    tree = spec(judge, tmp_path).model_dump(exclude_unset=True)
    assert scorer.run(tree).state == "complete"
    file = tmp_path / "run.toml"
    file.write_text(
        f'[input]\nshards = ["{tmp_path}/in.parquet"]\nkeep = ["model"]\n[judge]\nkind = "rating"\n'
        f'prompt = "{JUDGE["prompt"]}"\n[model]\nname = "m"\nbase_url = "{judge.url}"\n'
        f'[limits]\nmax_failed_share = 1.0\n[output]\npath = "{tmp_path}/out"\n'
    )
    assert scorer.run(file).state == "complete"
    with pytest.raises(SpecError, match="does not exist"):
        scorer.run(tmp_path / "none.toml")
