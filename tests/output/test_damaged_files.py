"""Promise: `verify` finds any damage to the files, `run` repairs it, and only lost rows are paid again.

Over 300 lines: one table of attacks on files; each attack with its sentence.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import run as in_virtual_time
from support.inprocess import Run
from support.stored_rows import rows_in

from scorer.errors import InputError, OutputError, SpecError, StorageError
from scorer.files.local_files import LocalFiles
from scorer.job.retry import Retry
from scorer.output import segments as seg
from scorer.output.damage import noted
from scorer.output.layout import Layout
from scorer.output.manifest import load
from scorer.output.status import status
from scorer.output.verify.folder import verify

Attack = Callable[[Path], None]

# --- what is done to a file -------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def not_parquet(path: Path) -> None:
    path.write_text("<html>Not Parquet</html>")


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"row": [0, 1], "mine": ["x", "y"]}), path)


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def _chunk(path: Path, column: str) -> Any:
    group = pq.read_metadata(path).row_group(0)
    return next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == column)


def flipped_row_number(path: Path) -> None:
    chunk = _chunk(path, "row")
    _flip(path, (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 3)


def flipped_value(path: Path) -> None:
    chunk = _chunk(path, "score")
    _flip(path, (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 3)


def flipped_page_header(path: Path) -> None:
    """Where Parquet's own checksums do not look."""
    _flip(path, _chunk(path, "method").data_page_offset + 3)


def flipped_footer(path: Path) -> None:
    """A letter of a column's name, or of a type: what is read changes, and Parquet does not notice."""
    data = path.read_bytes()
    _flip(path, data.rindex(b"finish_reason") + 3)


def of_another_run(path: Path) -> None:
    table = pq.read_table(path)
    about, _ = seg.read_about(LocalFiles(), str(path))
    with path.open("wb") as file:
        seg.write(file, iter([table]), table.schema.remove_metadata(), {**about, "fingerprint": "e" * 16})


def of_other_ids(path: Path) -> None:
    """Every sum is right, and the ids stand one row further down."""
    table = pq.read_table(path)
    about, _ = seg.read_about(LocalFiles(), str(path))
    ids = table.column("id").to_pylist()
    place = table.schema.get_field_index("id")
    table = table.set_column(place, table.field("id"), pa.array([*ids[1:], ids[0]], pa.string()))
    with path.open("wb") as file:
        seg.write(file, iter([table]), table.schema.remove_metadata(), about)


ATTACKS = [
    cut, emptied, zeroed, not_parquet, foreign, flipped_row_number, flipped_value, flipped_page_header, flipped_footer,
    of_another_run, of_other_ids,
]  # fmt: skip


@pytest.fixture
def whole(tmp_path: Path) -> Run:
    """Two sealed shards of 12 and 9 rows, as the next start leaves them."""
    made = Run(tmp_path, 12, 9)
    made.run()
    made.run()
    assert made.segments() == made.segments("b") == []
    made.exact()
    return made


@pytest.fixture
def half(tmp_path: Path) -> Run:
    """A sealed shard, and one of 20 rows of which at least 4 are stored in segments and some are not scored yet."""
    made = Run(tmp_path, 8, 20)
    made.stop_after(16)
    assert made.sealed().exists()
    assert len(made.segments("b")) >= 2
    assert not made.sealed("b").exists()
    return made


# --- sealed files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ATTACKS)
def test_run_repairs_a_damaged_sealed_file_and_pays_for_its_rows_only(whole: Run, attack: Attack) -> None:
    path = whole.sealed()
    attack(path)
    bytes_then = path.read_bytes()
    verdict = whole.verify()
    assert verdict.damaged == (str(path),)
    assert any(finding.startswith(f"{path}: ") for finding in verdict.findings)
    assert not whole.twice(), "verify asks nothing"
    whole.said.clear()
    assert whole.run().state == "complete"
    assert whole.twice() == set(range(12))
    assert whole.said[0].startswith(f"{path}: ")
    assert "its rows are scored again" in whole.said[0]
    assert Path(whole.out, "damaged", "scores--a.parquet").read_bytes() == bytes_then
    whole.exact()
    assert noted(LocalFiles(), Layout(whole.out)) == []


def test_run_opens_no_sealed_file_at_start(whole: Run) -> None:
    class Watching(LocalFiles):
        def open(self, path: str) -> BinaryIO:
            assert "/scores/" not in path, "a start opened a sealed file"
            return super().open(path)

    cut(whole.sealed())
    whole.add(3)
    with pytest.raises(AssertionError, match="a start opened"):
        whole.run(Watching())  # its last look, `status`, counts the rows of every shard by their metadata
    assert whole.wire.asked.total() == 12 + 9 + 3
    assert whole.sealed("c").exists()
    found = status(LocalFiles(), whole.out)
    assert (found.unreadable, found.pending) == ([str(whole.sealed())], 12)


def test_run_keeps_a_sealed_file_restored_after_verify(whole: Run) -> None:
    path = whole.sealed()
    data = path.read_bytes()
    cut(path)
    assert whole.verify().damaged == (str(path),)
    path.write_bytes(data)
    whole.run()
    assert not whole.twice()
    assert whole.damaged() == []
    whole.exact()


def test_run_scores_again_only_rows_of_the_damaged_part_of_a_sealed_file(tmp_path: Path) -> None:
    with mock.patch.object(seg, "WINDOW", 4), mock.patch.object(seg, "GROUP_BYTES", 1):  # four rows are a part
        made = Run(tmp_path, 12)
        made.run()
        made.run()
        group = pq.read_metadata(made.sealed()).row_group(1).column(0)
        _flip(made.sealed(), group.data_page_offset + 2)
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


def test_run_scores_again_the_shard_of_a_missing_sealed_file(whole: Run) -> None:
    whole.sealed("b").unlink()
    assert whole.verify().findings == (f"{whole.root}/in/b.parquet: 9 of 9 rows have no result yet",)
    assert status(LocalFiles(), whole.out).pending == 9
    whole.run()
    assert whole.twice() == set(range(12, 21))
    whole.exact()


def test_verify_reports_a_duplicate_sealed_file_and_run_counts_rows_once(whole: Run) -> None:
    twin = whole.sealed("z")
    shutil.copy(whole.sealed(), twin)
    assert whole.verify().findings == (f"{twin}: belongs to no shard of this run",)
    assert whole.run().rows == 21
    assert not whole.twice()
    twin.unlink()
    whole.exact()


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


# --- segments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checked", [False, True], ids=["unnoticed", "verified"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_run_repairs_a_damaged_segment_and_pays_for_its_rows_only(half: Run, attack: Attack, *, checked: bool) -> None:
    path = half.segments("b")[0]
    lost, before = rows_in(path), dict(half.wire.asked)
    attack(path)
    if checked:
        assert half.verify().damaged == (str(path),)
    half.said.clear()
    half.run()
    if attack is of_other_ids and not checked:  # a forgery with right sums: only the input's own ids tell
        assert half.verify().damaged == (str(half.sealed("b")),)
        half.run()
    assert half.twice() == lost
    assert {n for n in before if half.wire.asked[n] > 1} <= lost
    assert any(str(path) in text or half.sealed("b").name in text for text in half.said)
    half.exact()


def test_run_scores_again_only_rows_of_a_missing_segment(half: Run) -> None:
    path = half.segments("b")[0]
    lost = rows_in(path)
    path.unlink()
    (finding, *_) = half.verify().findings
    assert re.search(r"in/b\.parquet: \d+ of 20 rows have no result yet", finding)
    half.run()
    assert half.twice() == lost
    half.exact()


def test_verify_reports_a_duplicate_segment_and_run_counts_rows_once(half: Run) -> None:
    path = half.segments("b")[0]
    shutil.copy(path, path.with_name(re.sub(r"-(\d+)\.parquet", "-77.parquet", path.name)))
    assert any("rows are in more than one segment" in finding for finding in half.verify().findings)
    half.run()
    assert not half.twice()
    half.exact()


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


# --- run.json ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [cut, emptied, zeroed, not_parquet, Path.unlink])
@pytest.mark.parametrize("state", ["whole", "half"])
def test_run_rebuilds_a_damaged_or_missing_run_json_with_its_run_id(
    attack: Attack, state: str, request: pytest.FixtureRequest
) -> None:
    made: Run = request.getfixturevalue(state)
    layout, before = Layout(made.out), load(LocalFiles(), Layout(made.out))
    assert before is not None
    attack(Path(layout.manifest))
    with pytest.raises((OutputError, SpecError), match=r"run\.json") as caught:
        made.verify()
    with pytest.raises((OutputError, SpecError), match=r"run\.json"):
        status(LocalFiles(), made.out)
    assert "`scorer run` with the" in str(caught.value)
    assert "makes it anew" in str(caught.value)
    made.said.clear()
    made.run()
    assert made.said[0].startswith(f"{layout.manifest} was {'gone' if attack is Path.unlink else 'damaged'}: rebuilt")
    after = load(LocalFiles(), layout)
    assert after is not None
    assert (after.shards, after.spec, after.fingerprint) == (before.shards, before.spec, before.fingerprint)
    assert after.id == before.id, "the files tell it, so that a published table takes no row again"
    assert not made.twice()
    made.exact()


def test_run_json_rebuilt_from_files_without_run_id_gets_a_new_id(whole: Run) -> None:
    layout = Layout(whole.out)
    for path in map(Path, (layout.sealed("a"), layout.sealed("b"))):
        table = pq.read_table(path)
        about, _ = seg.read_about(LocalFiles(), str(path))
        with path.open("wb") as file:
            seg.write(file, iter([table]), table.schema.remove_metadata(), {k: about[k] for k in about if k != "run"})
    Path(layout.manifest).unlink()
    whole.run()
    after = load(LocalFiles(), layout)
    assert after is not None
    assert len(after.id) == 16
    assert not whole.twice()
    whole.exact()


def test_run_json_is_not_rebuilt_from_a_damaged_footer(whole: Run) -> None:
    """A bit of a name or a value in there: Parquet reads it, and it says something else, or nothing."""
    layout, before = Layout(whole.out), load(LocalFiles(), Layout(whole.out))
    assert before is not None
    path = Path(layout.sealed("a"))
    intact = path.read_bytes()
    for word in (b"scorer.fingerprint", b"scorer.run", before.fingerprint.encode(), before.id.encode()):
        path.write_bytes(intact)
        _flip(path, intact.rindex(word) + len(word) - 1)
        Path(layout.manifest).unlink()
        whole.run()
        after = load(LocalFiles(), layout)
        assert after is not None
        assert (after.fingerprint, after.id) == (before.fingerprint, before.id), word
        whole.exact()


def test_run_json_is_not_rebuilt_for_another_judge(whole: Run) -> None:
    cut(Path(whole.out, "run.json"))
    with pytest.raises(OutputError, match="holds scores of another run: their fingerprint is"):
        whole.run(scale=[1, 9])
    whole.run()
    assert not whole.twice()
    whole.exact()


def test_run_json_of_a_later_version_is_refused_and_unchanged(whole: Run) -> None:
    path = Path(whole.out, "run.json")
    later = path.read_bytes().replace(b'"format": 2', b'"format": 3')
    path.write_bytes(later)
    with pytest.raises(OutputError, match="has format 3, and this version of scorer reads 1 and 2"):
        whole.run()
    assert path.read_bytes() == later


def test_run_json_is_not_rebuilt_for_a_changed_shard(whole: Run) -> None:
    Path(whole.out, "run.json").unlink()
    path = whole.root / "in" / "a.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(OutputError, match=r"in/a\.parquet has changed since this run first read it"):
        whole.run()


def test_retry_resumes_after_run_json_is_lost(tmp_path: Path) -> None:
    made = Run(tmp_path, 12)
    made.wire.refuses = {1, 4, 7, 10, 11}
    made.run()
    made.run()
    made.wire.refuses = set()
    job, before = made.job(), made.wire.asked.total()
    made.wire.then = lambda: job.stop() if made.wire.asked.total() > before else None
    with pytest.raises(Exception, match="Stopped on request"):
        in_virtual_time(job.run(Retry()))
    made.wire.then = lambda: None
    again = made.twice()
    assert again
    cut(Path(made.out, "run.json"))
    made.run()  # seals in what the retry had scored, asks nothing that it was not asked to
    found = {int(row["id"][1:]): row for row in pq.read_table(made.sealed()).to_pylist()}
    assert {number for number in found if found[number]["generation"] == 1} == again
    assert made.twice() == again
    made.run(retry=Retry())
    made.exact()


def test_run_repairs_a_damaged_sealed_file_and_a_lost_run_json_together(whole: Run) -> None:
    cut(whole.sealed())
    cut(Path(whole.out, "run.json"))
    whole.run()
    assert whole.twice() == set(range(12))
    whole.exact()


# --- the ledger -------------------------------------------------------------------------------------------------------


def test_ledger_torn_tail_changes_no_totals(half: Run) -> None:
    (ledger_file,) = Path(half.out, "ledger").iterdir()
    reported = status(LocalFiles(), half.out)
    with ledger_file.open("ab") as file:
        file.write(b'deadbeef {"settle": [[3, 10, 2')
    after = status(LocalFiles(), half.out)
    assert (after.cost_usd, after.requests) == (reported.cost_usd, reported.requests)
    half.run()
    assert status(LocalFiles(), half.out).requests == half.wire.asked.total()
    half.exact()


# --- folders and shards -----------------------------------------------------------------------------------------------


def test_verify_and_status_read_a_folder_that_cannot_be_written(whole: Run) -> None:
    class ReadOnly(LocalFiles):
        def create(self, path: str) -> Any:
            raise StorageError(f"Cannot write {path}: the disk is read-only")

        def delete(self, path: str) -> None:
            raise StorageError(f"Cannot delete {path}: the disk is read-only")

    assert verify(ReadOnly(), whole.out).findings == ()
    assert status(ReadOnly(), whole.out).state == "complete"
    cut(whole.sealed())
    (_, unnoted) = verify(ReadOnly(), whole.out).findings
    assert "what is damaged cannot be noted for `scorer run`" in unnoted
    assert "Move those files away yourself" in unnoted


def test_run_refuses_a_changed_shard_before_any_request(half: Run) -> None:
    path = half.root / "in" / "b.parquet"
    data, asked = path.read_bytes(), half.wire.asked.total()
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(OutputError, match=r"b\.parquet has changed since this run first read it.*Restore the old file"):
        half.run()
    assert f"{path}: the input shard changed since it was scored" in half.verify().findings
    assert half.wire.asked.total() == asked
    path.write_bytes(data)
    half.run()
    assert not half.twice()
    half.exact()


def test_run_refuses_a_damaged_shard_of_the_same_size(half: Run) -> None:
    path = half.root / "in" / "a.parquet"
    zeroed(path)
    with pytest.raises(OutputError, match=r"a\.parquet has changed since"):
        half.run()


def test_run_refuses_a_removed_shard_and_scores_an_added_one(half: Run) -> None:
    path = half.root / "in" / "b.parquet"
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(OutputError, match=r"b\.parquet belongs to this run and is gone"):
        half.run()
    assert [text for text in half.verify().unchecked if text.startswith(f"{path}: the input is not where it was")]
    path.write_bytes(data)
    half.add(7)
    half.run()
    assert not half.twice()
    assert half.sealed("c").exists()
    half.exact()


def test_run_refuses_an_added_shard_that_is_not_parquet_before_any_request(half: Run) -> None:
    asked = half.wire.asked.total()
    (half.root / "in" / "c.parquet").write_text("mine")
    with pytest.raises(InputError, match=r"c\.parquet is not a readable Parquet file"):
        half.run()
    assert half.wire.asked.total() == asked
