"""`input.keep` may change between starts: stored results are rewritten from themselves and the input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import run as in_virtual_time
from support.inprocess import Run, own_score
from support.outputs import Crash, Crashing

from scorer import scan_scores
from scorer.config.fingerprint import fingerprint
from scorer.errors import InputError, Interrupted, OutputError
from scorer.files.local_files import LocalFiles
from scorer.inputs.shards import kept_types
from scorer.job.reread import reread
from scorer.job.retry import Retry
from scorer.output import segments as seg
from scorer.output.layout import Layout
from scorer.output.manifest import load

MORE = {"length": pa.int16(), "tags": pa.list_(pa.string()), "model": pa.string()}


def with_columns(run: Run) -> Run:
    """The same shards with three columns more, before anything is scored."""
    for path, rows in run.shards.items():
        table = pq.read_table(path)
        table = table.append_column("length", pa.array([n % 100 for n in rows], pa.int16()))
        table = table.append_column("tags", pa.array([[f"t{n}", None] for n in rows], pa.list_(pa.string())))
        table = table.append_column("model", pa.array([f"m{n % 3}" for n in rows]))
        pq.write_table(table, path)
    return run


def keep(run: Run, *names: str) -> None:
    run._keep = list(names)


def asked_again(run: Run) -> bool:
    return bool(run.twice())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = with_columns(Run(tmp_path, 30, 50))
    keep(run, "length")
    return run


def check(run: Run, *names: str) -> None:
    """Every row has the kept columns with the input's values and types, and its own score."""
    for path, rows in run.shards.items():
        given, found = pq.read_table(path), pq.read_table(run.sealed(Path(path).stem))
        assert found.column_names[2 : 3 + len(names)] == ["id", *names]
        for name in names:
            assert found.schema.field(name).type == given.schema.field(name).type
            assert found.column(name).equals(given.column(name))
        assert found.column("score").to_pylist() == [own_score(n) for n in rows]
    assert run.verify().findings == ()


def test_sealed_files_get_the_columns_that_keep_names_now_and_no_row_is_asked(run: Run) -> None:
    run.run()
    before = pq.read_table(run.sealed())
    keep(run, "tags", "length", "model")
    found = run.run()

    assert found.state == "complete"
    assert run.wire.asked.total() == 80
    check(run, "tags", "length", "model")
    after = pq.read_table(run.sealed())
    same = ["row", "score", "finished_at", "generation", "judge", "raw"]
    assert after.select(same).equals(before.select(same))
    keep(run)
    run.run()
    check(run)
    assert run.wire.asked.total() == 80


def test_segments_of_a_stopped_run_get_them_too(run: Run) -> None:
    run.stop_after(45)
    assert run.segments("b")
    keep(run, "model", "tags")
    job = run.job()
    job.drain.asked = True  # ends before it asks for anything
    with pytest.raises(Interrupted):
        in_virtual_time(job.run())
    found = scan_scores(run.out).collect()
    assert found["model"].to_list() == [f"m{int(name[1:]) % 3}" for name in found["id"]]
    run.run()
    check(run, "model", "tags")
    assert not asked_again(run)


def test_shards_without_results_have_the_types_of_the_new_columns_too(run: Run) -> None:
    run.stop_after(20)
    assert not run.segments("b")
    keep(run, "model", "tags")
    job = run.job()
    job.drain.asked = True
    with pytest.raises(Interrupted):
        in_virtual_time(job.run())
    manifest = load(LocalFiles(), Layout(run.out))
    assert manifest is not None
    given = {shard.path: kept_types(pq.read_schema(shard.path), ["id", "model", "tags"]) for shard in manifest.shards}
    assert {shard.path: shard.types for shard in manifest.shards} == given


def test_first_start_with_other_columns_and_workers_of_a_retry_write_the_same(run: Run) -> None:
    run.wire.refuses = {3, 40}
    run.run()
    keep(run, "tags")
    run.wire.refuses = set()
    run.run(retry=Retry())
    check(run, "tags")


@pytest.mark.parametrize(("step", "after"), [*((step, False) for step in range(7)), (6, True)])
def test_crash_at_any_step_loses_nothing(run: Run, step: int, after: bool) -> None:
    run.stop_after(60)
    stored = scan_scores(run.out).select("id", "score").collect()
    keep(run, "tags", "model")
    with contextlib.suppress(Crash):
        run.run(Crashing(step, after=after))
    now = dict(scan_scores(run.out).select("id", "score").collect().iter_rows())
    assert dict(stored.iter_rows()).items() <= now.items()
    run.run()
    check(run, "tags", "model")
    assert not set(stored["id"]) & {f"r{n}" for n in run.twice()}


def test_column_that_a_shard_lacks_is_refused_before_anything_is_touched(run: Run) -> None:
    run.run()
    before = {path: path.read_bytes() for path in Path(run.out, "scores").iterdir()}
    keep(run, "nothing")
    with pytest.raises(InputError, match="has no column 'nothing'"):
        run.run()
    assert {path: path.read_bytes() for path in Path(run.out, "scores").iterdir()} == before
    assert run.verify().findings == ()
    keep(run, "length")
    run.run()
    check(run, "length")
    assert run.wire.asked.total() == 80


def test_change_that_was_killed_half_way_is_no_damage(run: Run) -> None:
    run.run()
    killed_half_way(run)
    verdict = run.verify()
    assert len(verdict.findings) == 1
    assert "input.keep" in verdict.findings[0]
    assert verdict.damaged == ()
    with pytest.raises(OutputError, match="scorer run"):
        reread(LocalFiles(), run.out, ["judge.read=number"])
    assert scan_scores(run.out).collect().height == 80
    run.run()
    check(run, "tags")
    assert run.wire.asked.total() == 80


def test_change_that_was_killed_half_way_is_taken_back(run: Run) -> None:
    run.run()
    killed_half_way(run)
    keep(run, "length")
    run.run()
    check(run, "length")
    assert run.wire.asked.total() == 80


class DiesAtScores(LocalFiles):
    """A disk whose process dies once the first file of `scores` is replaced."""

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        with super().create(path) as file:
            yield file
        if Path(path).parent.name == "scores":
            raise Crash


def killed_half_way(run: Run) -> None:
    """One sealed file has the column `tags` instead of `length`, and the other one not yet."""
    keep(run, "tags")
    with pytest.raises(Crash):
        run.run(DiesAtScores())
    assert sorted(pq.read_schema(path).names[3] for path in Path(run.out, "scores").iterdir()) == ["length", "tags"]


def test_input_that_is_gone_is_refused_before_anything_is_touched(run: Run) -> None:
    run.run()
    before = {path: path.read_bytes() for path in Path(run.out, "scores").iterdir()}
    Path(next(iter(run.shards))).unlink()
    keep(run, "tags")
    with pytest.raises(OutputError, match="is gone") as caught:
        run.run()
    assert caught.value.exit_code == 5
    assert {path: path.read_bytes() for path in Path(run.out, "scores").iterdir()} == before


def test_other_kept_columns_are_a_newer_version_for_a_published_table(run: Run) -> None:
    run.run()
    keep(run, "tags")
    run.run()
    keep(run, "length")
    run.run()
    about, _ = seg.read_about(LocalFiles(), str(run.sealed()))
    assert (about["edition"], about["generation"]) == (2, 0)
    manifest = load(LocalFiles(), Layout(run.out))
    assert manifest is not None
    assert (manifest.edition, manifest.kept) == (2, ("length",))


def test_published_table_gets_the_rows_with_their_other_columns_once(run: Run, tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    from scorer.publish.publish import publish

    run.run()
    target = f"delta://{tmp_path}/table"
    assert publish(LocalFiles(), run.out, target).committed == 2
    keep(run, "tags")
    run.run()
    assert publish(LocalFiles(), run.out, target).committed == 2
    assert publish(LocalFiles(), run.out, target).committed == 0
    rows = pa.table(deltalake.DeltaTable(f"{tmp_path}/table").to_pyarrow_table())
    assert len(rows) == 80
    assert rows.column("tags").null_count == 0
    assert rows.column("length").null_count == 80


def test_lost_run_json_with_other_columns(run: Run) -> None:
    run.run()
    Path(run.out, "run.json").unlink()
    keep(run, "tags")
    run.run()
    check(run, "tags")
    assert run.wire.asked.total() == 80


def test_folder_of_before_keeps_its_fingerprint(run: Run) -> None:
    """Until 0.2.0 the fingerprint covered `input.keep`."""
    run.run()
    path = Path(run.out, "run.json")
    stored = orjson.loads(path.read_bytes())
    covered = {**stored["covered"], "input": {**stored["covered"]["input"], "keep": ["length"]}}
    old = fingerprint(covered)
    text = path.read_bytes().replace(stored["fingerprint"].encode(), old.encode())
    stored = {**orjson.loads(text), "covered": covered}
    del stored["kept"], stored["edition"]
    path.write_bytes(orjson.dumps(stored))
    for sealed in Path(run.out, "scores").iterdir():
        table = pq.read_table(sealed)
        place = table.schema.get_field_index("judge")
        table = table.set_column(place, table.schema.field(place), pa.array([old] * len(table)))
        about, _ = seg.read_about(LocalFiles(), str(sealed))
        with sealed.open("wb") as file:
            seg.write(
                file, iter([table]), table.schema.remove_metadata(), {**about, "fingerprint": old}, group_rows=100
            )
    run.add(5)
    extra = pq.read_table(Path(run.root, "in", "c.parquet"))
    for name, kind in MORE.items():
        extra = extra.append_column(name, pa.nulls(5, kind))
    pq.write_table(extra, Path(run.root, "in", "c.parquet"))
    run.run()
    assert set(scan_scores(run.out).collect()["judge"]) == {old}
    assert run.verify().findings == ()
    keep(run, "model")
    run.run()
    check(run, "model")
    path.unlink()
    keep(run, "length")
    run.run()
    check(run, "length")
    assert run.wire.asked.total() == 85
