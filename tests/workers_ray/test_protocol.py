"""Promise: a run in Ray's actors scores each row once, replaces an actor that dies, and says why one cannot work.

Owner, launcher, actors and workers are the real ones; only Ray is not. `tests/soak/test_ray.py` has a real cluster.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from support.command import run_file, shard, whole
from support.fake_ray import ActorDiedError, FakeRay, OutOfMemoryError

import scorer
from scorer.build.plan import check
from scorer.config.loader import read_toml
from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.callbacks import Callbacks
from scorer.job.job import Job
from scorer.processes import memory
from scorer.rehearsal.process import RehearsalProcess
from scorer.workers.broker_client import FRESH_S
from scorer.workers.ray import actor, launcher

ROWS = 60


@pytest.fixture(autouse=True)
def of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an actor sets for its whole process stays as it is."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("keep_memory_flat", "let_idle_threads_sleep", "tune_gc", "stream_from_here"):
        monkeypatch.setattr(memory, name, lambda *_: None)


def run_on(ray: FakeRay, monkeypatch: pytest.MonkeyPatch, folder: Path, url: str, workers: int = 2) -> list[str]:
    """A run to its end. The sentences that the user saw."""
    monkeypatch.setitem(sys.modules, "ray", ray)
    shard(folder / "in/a.parquet", ROWS)
    plan = check(read_toml("run.toml", run_file(folder, url).read_text()))
    said: list[str] = []
    make = launcher.ray_launcher(f"{folder}/out", said.append)
    asyncio.run(Job(plan, LocalFiles(), callbacks=Callbacks(say=said.append), workers=workers, launcher=make).run())
    return said


def test_ray_actors_score_each_row_once(
    judge: RehearsalProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay()
    assert run_on(ray, monkeypatch, tmp_path, judge.url) == []
    whole(tmp_path, ROWS)
    assert judge.stats()["requests"] == ROWS
    assert ray.options == [{"num_cpus": 1, "scheduling_strategy": "SPREAD"}] * 2
    assert all(one.dead for one in ray.actors)


@pytest.mark.parametrize(
    ("call", "cause"), [("look", ActorDiedError), ("begin", ActorDiedError), ("begin", OutOfMemoryError)]
)
def test_ray_actor_that_dies_is_replaced(
    call: str, cause: type[Exception], judge: RehearsalProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "LEAVES_S", -FRESH_S)  # what a worker may write after its last answer
    ray = FakeRay(call, cause=cause)
    said = run_on(ray, monkeypatch, tmp_path, judge.url, workers=1)
    whole(tmp_path, ROWS)
    assert judge.stats()["requests"] == ROWS
    assert len(ray.actors) == 2
    assert len(said) == 1
    assert f"A worker ended early (on {'a node' if call == 'look' else '10.0.0.7'}: The actor died" in said[0]


def test_ray_node_with_another_version_is_named(
    judge: RehearsalProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "__version__", "0.0.9")
    with pytest.raises(SpecError, match=rf"10\.0\.0\.7 has scorer {scorer.__version__}, and this machine 0\.0\.9"):
        run_on(FakeRay(), monkeypatch, tmp_path, judge.url)
    assert judge.stats()["requests"] == 0


def test_ray_node_that_does_not_share_the_output_is_named(
    judge: RehearsalProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "_missing", lambda *_: "No such file")
    with pytest.raises(SpecError, match=r"not shared with node 10\.0\.0\.7.*No such file"):
        run_on(FakeRay(), monkeypatch, tmp_path, judge.url)
    assert judge.stats()["requests"] == 0
    assert not list((tmp_path / "out").glob(".partial-*"))


def test_ray_actor_searches_the_folder_of_the_driver_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sys.path.insert(0, str(tmp_path))
    actor.RayWorker(str(tmp_path), [str(tmp_path / "elsewhere")])
    assert sys.path[-1] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1
    assert str(tmp_path / "elsewhere") in sys.path
