"""Promise: `verify` finds a row that is out twice, or out and finished; `--remote` a batch that nobody knows."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.batch_provider import BatchProvider, Made
from support.batch_runs import BatchRun
from support.clock import inline
from support.clock import run as in_virtual_time

from scorer.errors import BatchesOut, SetupError
from scorer.files.local_files import LocalFiles
from scorer.job.remote_batches import RemoteBatches, remote_batches


@pytest.fixture
def run(tmp_path: Path) -> BatchRun:
    """A run whose two batches are out."""
    made = BatchRun(tmp_path, 20)
    with pytest.raises(BatchesOut):
        made.run(waiting="no-wait")
    return made


def findings(run: BatchRun) -> str:
    return "\n".join(found for found in run.verify().findings if "no result yet" not in found)


def test_verify_has_nothing_to_say_of_batches_that_are_out(run: BatchRun) -> None:
    assert findings(run) == ""


def test_verify_finds_a_row_that_is_in_two_batches_and_one_that_the_ledger_lacks(run: BatchRun) -> None:
    one = sorted(Path(run.out, "batches").glob("*.parquet"))[0]
    for path in one.parent.glob(f"{one.stem}.*"):
        shutil.copy(path, path.with_name(path.name.replace(one.stem, "another-0123456789abcdef")))
    said = findings(run)
    assert "is in another batch, too" in said
    assert "the ledger does not have another-0123456789abcdef" in said


def test_verify_finds_a_row_that_is_out_and_finished(run: BatchRun, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(Path(run.out, "batches"), kept)
    run.run()
    shutil.copytree(kept, Path(run.out, "batches"), dirs_exist_ok=True)
    assert "is in a batch and has a result" in findings(run)


def test_remote_finds_a_batch_of_the_run_that_it_does_not_know(run: BatchRun) -> None:
    def asked() -> RemoteBatches:
        return in_virtual_time(remote_batches(LocalFiles(), run.out, inline, run.batches.make))

    assert asked() == RemoteBatches((), ())
    run.run()
    assert asked() == RemoteBatches((), ()), "finished batches are known"
    twin = next(iter(run.batches.made.values()))
    run.batches.made["b9"] = replace(twin, id="b9")
    run.batches.made["b10"] = Made("b10", "somebody-else", twin.at, [], twin.at)
    (said,) = asked().unknown
    assert "batch b9 at the provider" in said
    assert "b10" not in said


def test_remote_says_what_it_cannot_where_batches_have_no_names(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 10, provider=BatchProvider(names=False))
    run.run()
    found = in_virtual_time(remote_batches(LocalFiles(), run.out, inline, run.batches.make))
    assert found.unknown == ()
    assert "of 1 since the run began, 0 are not known" in found.unchecked[0]


def test_remote_asks_again_where_the_provider_is_busy(run: BatchRun) -> None:
    run.batches.busy = 4
    assert in_virtual_time(remote_batches(LocalFiles(), run.out, inline, run.batches.make)).unknown == ()
    run.batches.busy = 5
    with pytest.raises(SetupError, match="could not be listed"):
        in_virtual_time(remote_batches(LocalFiles(), run.out, inline, run.batches.make))
