"""Promise: a run takes no result of its own for input, wherever its output folder lies."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.inprocess import Run

from scorer.files.files import Stat
from scorer.inputs.shards import find
from scorer.output.layout import result_folders


class Listed:
    """Stands for the storage: it finds these paths."""

    def __init__(self, *paths: str) -> None:
        self._found = [Stat(path, 1, "1") for path in paths]

    def find(self, _: object) -> list[Stat]:
        return self._found


@pytest.mark.parametrize("out", ["in", "in/out", "in/out-rehearsal", "linked/out"])
def test_a_resume_does_not_score_the_results_below_its_input_folder(tmp_path: Path, out: str) -> None:
    run = Run(tmp_path, 3, 2, keep=["response"])  # the results have every column that the prompt names
    run.patterns = [f"{tmp_path}/in"]
    (tmp_path / "linked").symlink_to(tmp_path / "in")
    run.out = f"{tmp_path}/{out}"
    run.stop_after(2)
    assert run.run().rows == 5
    assert run.run().rows == 5
    assert set(run.wire.asked.values()) == {1}


def test_a_run_does_not_score_the_results_of_its_rehearsal(tmp_path: Path) -> None:
    run = Run(tmp_path, 3, keep=["response"])
    run.patterns = [f"{tmp_path}/in"]
    run.out = f"{tmp_path}/in/out-rehearsal"
    run.run()
    run.out = f"{tmp_path}/in/out"
    assert run.run().rows == 3


def test_results_of_another_run_are_input_where_they_are_named(tmp_path: Path) -> None:
    run = Run(tmp_path, 3, keep=["response"])
    run.run()
    assert not [said for said in run.said if "results" in said]
    run.patterns, run.out = [f"{run.out}/scores/*.parquet"], f"{tmp_path}/second"
    assert run.run().rows == 3
    (told,) = [said for said in run.said if "results" in said]
    assert told.startswith(f"The input has 1 file with results of another run, such as {tmp_path}/out/scores/")


def test_results_in_a_bucket_are_left_out_by_their_folder() -> None:
    files = Listed("s3://b/data/a.parquet", "s3://b/data/scores/a.parquet", "s3://b/data/scores2/a.parquet")
    found = find(files, ["s3://b/data"], result_folders("s3://b/data/"))  # type: ignore[arg-type]
    assert [stat.path for stat in found] == ["s3://b/data/a.parquet", "s3://b/data/scores2/a.parquet"]
