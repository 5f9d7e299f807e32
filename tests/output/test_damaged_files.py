"""Promise: `verify` finds any damage to the result files, `run` repairs it, and only lost rows are paid again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import BinaryIO
from unittest import mock

import pyarrow.parquet as pq
import pytest
from support.file_damage import ATTACKS, Attack, cut, flip, of_other_ids
from support.inprocess import Run
from support.stored_rows import rows_in

from scorer.errors import OutputError
from scorer.files.local_files import LocalFiles
from scorer.job.retry import Retry
from scorer.output import segments as seg
from scorer.output.damage import noted
from scorer.output.layout import Layout
from scorer.output.status import status


@pytest.mark.parametrize("attack", ATTACKS)
def test_run_repairs_a_damaged_sealed_file_and_pays_for_its_rows_only(sealed_run: Run, attack: Attack) -> None:
    path = sealed_run.sealed()
    attack(path)
    bytes_then = path.read_bytes()
    verdict = sealed_run.verify()
    assert verdict.damaged == (str(path),)
    assert any(finding.startswith(f"{path}: ") for finding in verdict.findings)
    assert not sealed_run.twice(), "verify asks nothing"
    sealed_run.said.clear()
    assert sealed_run.run().state == "complete"
    assert sealed_run.twice() == set(range(12))
    assert sealed_run.said[0].startswith(f"{path}: ")
    assert "its rows are scored again" in sealed_run.said[0]
    assert Path(sealed_run.out, "damaged", "scores--a.parquet").read_bytes() == bytes_then
    sealed_run.exact()
    assert noted(LocalFiles(), Layout(sealed_run.out)) == []


def test_run_opens_no_sealed_file_at_start(sealed_run: Run) -> None:
    class Watching(LocalFiles):
        def open(self, path: str) -> BinaryIO:
            assert "/scores/" not in path, "a start opened a sealed file"
            return super().open(path)

    cut(sealed_run.sealed())
    sealed_run.add(3)
    with pytest.raises(AssertionError, match="a start opened"):
        sealed_run.run(Watching())  # its last look, `status`, counts the rows of every shard by their metadata
    assert sealed_run.wire.asked.total() == 12 + 9 + 3
    assert sealed_run.sealed("c").exists()
    found = status(LocalFiles(), sealed_run.out)
    assert (found.unreadable, found.pending) == ([str(sealed_run.sealed())], 12)


def test_run_keeps_a_sealed_file_restored_after_verify(sealed_run: Run) -> None:
    path = sealed_run.sealed()
    data = path.read_bytes()
    cut(path)
    assert sealed_run.verify().damaged == (str(path),)
    path.write_bytes(data)
    sealed_run.run()
    assert not sealed_run.twice()
    assert sealed_run.damaged() == []
    sealed_run.exact()


def test_run_scores_again_only_rows_of_the_damaged_part_of_a_sealed_file(tmp_path: Path) -> None:
    with mock.patch.object(seg, "WINDOW", 4), mock.patch.object(seg, "GROUP_BYTES", 1):  # four rows are a part
        made = Run(tmp_path, 12)
        made.run()
        made.run()
        group = pq.read_metadata(made.sealed()).row_group(1).column(0)
        flip(made.sealed(), group.data_page_offset + 2)
        (finding,) = made.verify().findings
        assert finding == f"{made.sealed()}: is damaged: the bytes of 4 of its rows are not what was written"
        made.said.clear()
        made.run()
        assert made.twice() == {4, 5, 6, 7}
        assert made.said[0].endswith("and its rows are scored again, except for 8 intact rows.")
        made.exact()


def test_run_repairs_a_damaged_sealed_file_from_its_segments_at_no_cost(tmp_path: Path) -> None:
    made = Run(tmp_path, 12)
    made.run()
    assert made.segments()
    cut(made.sealed())
    assert made.verify().damaged
    made.run()
    assert not made.twice()
    made.exact()


def test_run_scores_again_the_shard_of_a_missing_sealed_file(sealed_run: Run) -> None:
    sealed_run.sealed("b").unlink()
    assert sealed_run.verify().findings == (f"{sealed_run.root}/in/b.parquet: 9 of 9 rows have no result yet",)
    assert status(LocalFiles(), sealed_run.out).pending == 9
    sealed_run.run()
    assert sealed_run.twice() == set(range(12, 21))
    sealed_run.exact()


def test_verify_reports_a_duplicate_sealed_file_and_run_counts_rows_once(sealed_run: Run) -> None:
    twin = sealed_run.sealed("z")
    shutil.copy(sealed_run.sealed(), twin)
    assert sealed_run.verify().findings == (f"{twin}: belongs to no shard of this run",)
    assert sealed_run.run().rows == 21
    assert not sealed_run.twice()
    twin.unlink()
    sealed_run.exact()


def test_run_replaces_a_sealed_file_copied_from_another_shard(tmp_path: Path) -> None:
    made = Run(tmp_path, 9, 9)
    made.run()
    made.run()
    shutil.copy(made.sealed("b"), made.sealed("a"))
    assert made.verify().findings == (f"{made.sealed()}: holds rows of another shard",)
    made.run()
    assert made.twice() == set(range(9))
    made.exact()


def test_retry_refuses_a_damaged_sealed_file_and_run_repairs_its_rows(tmp_path: Path) -> None:
    made = Run(tmp_path, 8)
    made.wire.refuses = {2, 5}
    made.run()
    made.run()
    cut(made.sealed())
    with pytest.raises(OutputError, match=r"a\.parquet is damaged\. Restore it from a copy; or `scorer run`"):
        made.run(retry=Retry())
    made.wire.refuses = set()
    made.run()
    assert made.twice() == set(range(8))
    made.exact()


@pytest.mark.parametrize("checked", [False, True], ids=["unnoticed", "verified"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_run_repairs_a_damaged_segment_and_pays_for_its_rows_only(
    unfinished_run: Run, attack: Attack, *, checked: bool
) -> None:
    path = unfinished_run.segments("b")[0]
    lost, before = rows_in(path), dict(unfinished_run.wire.asked)
    attack(path)
    if checked:
        assert unfinished_run.verify().damaged == (str(path),)
    unfinished_run.said.clear()
    unfinished_run.run()
    if attack is of_other_ids and not checked:  # a forgery with right sums: only the input's own ids tell
        assert unfinished_run.verify().damaged == (str(unfinished_run.sealed("b")),)
        unfinished_run.run()
    assert unfinished_run.twice() == lost
    assert {n for n in before if unfinished_run.wire.asked[n] > 1} <= lost
    assert any(str(path) in text or unfinished_run.sealed("b").name in text for text in unfinished_run.said)
    unfinished_run.exact()


def test_run_scores_again_only_rows_of_a_missing_segment(unfinished_run: Run) -> None:
    path = unfinished_run.segments("b")[0]
    lost = rows_in(path)
    path.unlink()
    (finding, *_) = unfinished_run.verify().findings
    assert re.search(r"in/b\.parquet: \d+ of 20 rows have no result yet", finding)
    unfinished_run.run()
    assert unfinished_run.twice() == lost
    unfinished_run.exact()


def test_verify_reports_a_duplicate_segment_and_run_counts_rows_once(unfinished_run: Run) -> None:
    path = unfinished_run.segments("b")[0]
    shutil.copy(path, path.with_name(re.sub(r"-(\d+)\.parquet", "-77.parquet", path.name)))
    assert any("rows are in more than one segment" in finding for finding in unfinished_run.verify().findings)
    unfinished_run.run()
    assert not unfinished_run.twice()
    unfinished_run.exact()


def test_run_rejects_a_segment_copied_from_another_shard(tmp_path: Path) -> None:
    made = Run(tmp_path, 8, 8, 8)
    made.wire.refuses = {5, 13}  # so that the shards end in several flushes
    made.stop_after(14)
    mine, others = made.segments("b")[0], made.segments("a")[0]
    lost = rows_in(mine)
    shutil.copy(others, mine)
    assert made.verify().damaged == (str(mine),)
    made.run()
    assert made.twice() == lost
    made.exact()


def test_ledger_torn_tail_changes_no_totals(unfinished_run: Run) -> None:
    (ledger_file,) = Path(unfinished_run.out, "ledger").iterdir()
    reported = status(LocalFiles(), unfinished_run.out)
    with ledger_file.open("ab") as file:
        file.write(b'deadbeef {"settle": [[3, 10, 2')
    after = status(LocalFiles(), unfinished_run.out)
    assert (after.cost_usd, after.requests) == (reported.cost_usd, reported.requests)
    unfinished_run.run()
    assert status(LocalFiles(), unfinished_run.out).requests == unfinished_run.wire.asked.total()
    unfinished_run.exact()
