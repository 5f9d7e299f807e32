"""`scorer publish`, and a run that publishes while it goes on: by the real command, with tables that fail."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from publish.lakes import DeltaLake, IcebergLake, Lake
from support.command import Ended, ended, own_score, run_file, scorer, scores, shard, standing, started, wait_until
from support.raw_server import held_port

from scorer.cli.app import _exit_code
from scorer.rehearsal.process import RehearsalProcess

pytestmark = pytest.mark.slow


def lines(said: Ended) -> list[dict[str, object]]:
    """The JSON lines on stderr; a line that is none fails."""
    return [json.loads(line) for line in said.err.splitlines()]


def test_run_publishes_each_shard_as_it_is_sealed(tmp_path: Path, lake: Lake, judge: RehearsalProcess) -> None:
    """Slow: real processes. The second start finds everything published, and a third table by hand."""
    for number in range(3):
        shard(tmp_path / f"in/{number}.parquet", 20, 20 * number)
    run = run_file(tmp_path, judge.url, output={"publish": lake.address, "partition_by": ["scorer_run"]})
    first = scorer("run", run, "--log-format", "json", **lake.environment)
    assert first.code == 0, first.err
    events = [(line["event"], line.get("shard")) for line in lines(first)]
    paths = [f"{tmp_path}/in/{number}.parquet" for number in range(3)]
    assert {path for event, path in events if event == "sealed"} == set(paths)
    assert {path for event, path in events if event == "published"} == set(paths)
    assert events[0][0] == "started"
    assert events[-1][0] == "finished"
    rows = lake.library().to_pylist()
    assert {row["id"]: row["score"] for row in rows} == {f"r{n}": own_score(f"r{n}") for n in range(60)}
    assert len(rows) == 60
    assert lake.partitions() == ["scorer_run"]
    again = scorer("run", run, "--log-format", "json", **lake.environment)
    assert again.code == 0
    assert [line["event"] for line in lines(again)] == ["started", "finished"]
    assert sum(lake.commits()) == 3
    done = scorer("publish", tmp_path / "out", "--json", **lake.environment)
    assert done.json() == {"target": lake.address, "sealed": 3, "committed": 0, "rows": 0, "unsealed": 0}


def test_run_loses_no_row_where_the_table_fails_and_publishes_when_repeated(
    tmp_path: Path, judge: RehearsalProcess
) -> None:
    """Slow: real processes. A folder that holds something else is in the way until it is taken away."""
    lake = DeltaLake(tmp_path)
    place = Path(lake.place)
    place.mkdir(parents=True)
    (place / "other.txt").write_text("mine")
    shard(tmp_path / "in/a.parquet", 20)
    run = run_file(tmp_path, judge.url, output={"publish": lake.address})
    failed = scorer("run", run)
    assert failed.code == 7
    assert "Every row is scored and stored, but 1 shards were not published" in failed.err
    assert "holds something else than a Delta table" in failed.err
    assert "Traceback" not in failed.err
    assert [row["score"] for row in scores(tmp_path)] == [own_score(f"r{n}") for n in range(20)]
    standing_now = standing(tmp_path)
    assert standing_now is not None
    assert (standing_now.state, standing_now.requests) == ("complete", 20)
    watched = scorer("watch", tmp_path / "out")
    assert watched.code == 7
    assert "The run was stopped: Every row is scored and stored, but 1 shards were not published" in watched.out
    (place / "other.txt").unlink()
    mended = scorer("run", run, "--json")
    assert mended.code == 0
    assert mended.json()["requests"] == 20, "nothing was asked again"
    assert lake.library().num_rows == 20


def test_run_killed_while_it_publishes_leaves_each_row_once(
    tmp_path: Path, lake: Lake, judge: RehearsalProcess
) -> None:
    """Slow: real processes; kill -9 as soon as the first shard is sealed."""
    for number in range(6):
        shard(tmp_path / f"in/{number}.parquet", 10, 10 * number)
    run = run_file(tmp_path, judge.url, output={"publish": lake.address}, limits={"concurrency": 4})
    with pytest.MonkeyPatch.context() as environment:
        for name, value in lake.environment.items():
            environment.setenv(name, value)
        with started("run", run) as process:
            wait_until(lambda: any((tmp_path / "out/scores").glob("*.parquet")))
            assert ended(process, signal.SIGKILL).code in (0, -signal.SIGKILL)
    assert scorer("run", run, **lake.environment).code == 0
    assert sorted(row["id"] for row in lake.library().to_pylist()) == sorted(f"r{n}" for n in range(60))


def test_retry_publishes_the_rows_that_it_scored(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: real processes."""
    lake = DeltaLake(tmp_path)
    shard(tmp_path / "in/a.parquet", 6, response=None)
    run = run_file(tmp_path, judge.url, output={"publish": lake.address}, limits={"max_failed_share": 1.0})
    assert scorer("run", run).code == 0
    assert lake.library().column("error").to_pylist() == ["BadRow"] * 6
    assert scorer("retry", tmp_path / "out", "--error", "BadRow").code == 0
    rows = lake.library()
    assert (rows.num_rows, set(rows.column("generation").to_pylist())) == (6, {1})


def finished(tmp_path: Path, judge: RehearsalProcess) -> Path:
    shard(tmp_path / "in/a.parquet", 4)
    assert scorer("run", run_file(tmp_path, judge.url)).code == 0
    return tmp_path / "out"


def test_publish_explains_an_unusable_target_in_a_paragraph(
    tmp_path: Path, judge: RehearsalProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slow: real processes. 2 where the address is wrong for good, 7 where the place is not to be had now.

    A process of its own has what needs its environment; the rest is asked of the command in this one.
    """

    def here(*arguments: object) -> Ended:
        capsys.readouterr()
        code = _exit_code([str(argument) for argument in arguments])
        return Ended(code, *capsys.readouterr())

    out = finished(tmp_path, judge)
    file = tmp_path / "file"
    file.write_text("x")
    with held_port() as taken:
        port = taken.getsockname()[1]
        cases = [
            (["--to", "delta:/x"], {}, 2, 'is no address of a table. It begins with one of delta://, iceberg://'),
            (["--to", "hudi://x"], {}, 2, 'is no address of a table'),
            (["--to", ""], {}, 2, '"" is no address of a table'),
            (["--to", "no.such.module:Name://x"], {}, 2, "cannot be imported"),
            (["--to", "delta://~no-such-user/x"], {}, 2, "leads to no home folder"),
            (["--to", "delta://"], {}, 2, "needs the place of a table behind it"),
            (["--to", "iceberg://catalog"], {}, 2, "write iceberg://catalog/namespace.table"),
            (["--to", f"delta://{file}"], {}, 2, "is a file, not a table"),
            ([], {}, 2, "has no output.publish: say where to"),
            (["--to", "iceberg://nope/ns.t"], {}, 2, "the catalog nope is not configured"),
            (
                ["--to", "iceberg://far/ns.t"],
                {"PYICEBERG_CATALOG__FAR__URI": f"http://127.0.0.1:{port}", "PYICEBERG_CATALOG__FAR__TYPE": "rest"},
                7,
                "was not published to iceberg://far/ns.t",
            ),
            (
                ["--to", "iceberg://far/ns.t"],
                {"PYICEBERG_CATALOG__FAR__URI": f"sqlite:///{tmp_path}/no/such.db"},
                7,
                "unable to open database file",
            ),
        ]  # fmt: skip
        for arguments, environment, code, words in cases:
            command = ("publish", out, *arguments)
            said = scorer(*command, **environment) if environment else here(*command)
            assert (said.code, said.out) == (code, ""), (arguments, said.err)
            assert words in said.err, (arguments, said.err)
            assert "Traceback" not in said.err, (arguments, said.err)
            assert len(said.err.splitlines()) == 1, said.err
    assert here("publish", tmp_path).code == 2


def test_run_refuses_a_wrong_publish_address_before_anything_is_sent(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: a real process."""
    shard(tmp_path / "in/a.parquet", 4)
    said = scorer("run", run_file(tmp_path, judge.url, output={"publish": "iceberg://x", "flush_rows": 0}))
    assert said.code == 2
    assert "output.publish: iceberg://x is no table" in said.err
    assert "output.flush_rows" in said.err, "every mistake at once"
    alone = scorer("run", run_file(tmp_path, judge.url, output={"partition_by": ["task"]}))
    assert (alone.code, alone.err) == (2, "output.partition_by needs output.publish.\n")
    assert not (tmp_path / "out").exists()


def test_publish_names_the_missing_package(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: real processes, in which the libraries cannot be imported."""
    out = finished(tmp_path, judge)
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('deltalake', 'pyiceberg') else found(name, *a)\n"
    )
    for address in ("delta://x", "iceberg://c/n.t"):
        said = scorer("publish", out, "--to", address, PYTHONPATH=str(blocked))
        assert (said.code, said.out) == (2, "")
        assert "pip install 'batch-scorer[lake]'" in said.err


def test_rehearsal_publishes_nothing(tmp_path: Path) -> None:
    """Slow: a real process. Its scores mean nothing."""
    lake = DeltaLake(tmp_path)
    shard(tmp_path / "in/a.parquet", 4)
    said = scorer("rehearse", run_file(tmp_path, "http://127.0.0.1:9", output={"publish": lake.address}))
    assert said.code == 0, said.err
    assert not Path(lake.place).exists()


def test_publish_counts_unfinished_shards(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: real processes. A budget ends the run; what is sealed then is in the table."""
    lake = IcebergLake(tmp_path)
    for number in range(3):
        shard(tmp_path / f"in/{number}.parquet", 10, 10 * number)
    run = run_file(tmp_path, judge.url, output={"publish": lake.address}, limits={"concurrency": 1, "max_tokens": 550})
    stopped = scorer("run", run, **lake.environment)
    assert stopped.code == 3, stopped.err
    sealed = len(list((tmp_path / "out/scores").glob("*.parquet")))
    value = scorer("publish", tmp_path / "out", "--json", **lake.environment).json()
    assert value == {"target": lake.address, "sealed": sealed, "committed": 0, "rows": 0, "unsealed": 3 - sealed}
    assert 0 < sealed < 3
    assert lake.library().num_rows == 10 * sealed
