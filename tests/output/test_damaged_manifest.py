"""Promise: a damaged or lost run.json is rebuilt from the result files, for the same judge and shards only."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.clock import run as in_virtual_time
from support.file_damage import Attack, cut, emptied, flip, not_parquet, zeroed
from support.inprocess import Run

from scorer.errors import OutputError, SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.retry import Retry
from scorer.output import segments as seg
from scorer.output.layout import Layout
from scorer.output.manifest import load
from scorer.output.status import status


@pytest.mark.parametrize("attack", [cut, emptied, zeroed, not_parquet, Path.unlink])
@pytest.mark.parametrize("state", ["sealed_run", "unfinished_run"])
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


def test_run_json_rebuilt_from_files_without_run_id_gets_a_new_id(sealed_run: Run) -> None:
    layout = Layout(sealed_run.out)
    for path in map(Path, (layout.sealed("a"), layout.sealed("b"))):
        table = pq.read_table(path)
        about, _ = seg.read_about(LocalFiles(), str(path))
        with path.open("wb") as file:
            seg.write(file, iter([table]), table.schema.remove_metadata(), {k: about[k] for k in about if k != "run"})
    Path(layout.manifest).unlink()
    sealed_run.run()
    after = load(LocalFiles(), layout)
    assert after is not None
    assert len(after.id) == 16
    assert not sealed_run.twice()
    sealed_run.exact()


def test_run_json_is_not_rebuilt_from_a_damaged_footer(sealed_run: Run) -> None:
    """A bit of a name or a value in there: Parquet reads it, and it says something else, or nothing."""
    layout, before = Layout(sealed_run.out), load(LocalFiles(), Layout(sealed_run.out))
    assert before is not None
    path = Path(layout.sealed("a"))
    intact = path.read_bytes()
    for word in (b"scorer.fingerprint", b"scorer.run", before.fingerprint.encode(), before.id.encode()):
        path.write_bytes(intact)
        flip(path, intact.rindex(word) + len(word) - 1)
        Path(layout.manifest).unlink()
        sealed_run.run()
        after = load(LocalFiles(), layout)
        assert after is not None
        assert (after.fingerprint, after.id) == (before.fingerprint, before.id), word
        sealed_run.exact()


def test_run_json_is_not_rebuilt_for_another_judge(sealed_run: Run) -> None:
    cut(Path(sealed_run.out, "run.json"))
    with pytest.raises(OutputError, match="holds scores of another run: their fingerprint is"):
        sealed_run.run(scale=[1, 9])
    sealed_run.run()
    assert not sealed_run.twice()
    sealed_run.exact()


def test_run_json_of_a_later_version_is_refused_and_unchanged(sealed_run: Run) -> None:
    path = Path(sealed_run.out, "run.json")
    later = path.read_bytes().replace(b'"format": 2', b'"format": 3')
    path.write_bytes(later)
    with pytest.raises(OutputError, match="has format 3, and this version of scorer reads 1 and 2"):
        sealed_run.run()
    assert path.read_bytes() == later


def test_run_json_is_not_rebuilt_for_a_changed_shard(sealed_run: Run) -> None:
    Path(sealed_run.out, "run.json").unlink()
    path = sealed_run.root / "in" / "a.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(OutputError, match=r"in/a\.parquet has changed since this run first read it"):
        sealed_run.run()


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


def test_run_repairs_a_damaged_sealed_file_and_a_lost_run_json_together(sealed_run: Run) -> None:
    cut(sealed_run.sealed())
    cut(Path(sealed_run.out, "run.json"))
    sealed_run.run()
    assert sealed_run.twice() == set(range(12))
    sealed_run.exact()
