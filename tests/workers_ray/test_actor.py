"""A worker behind an actor's methods, called here without Ray."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scorer.workers.messages import Answer as BrokerAnswer
from scorer.workers.messages import Failure, Hello, Order, Report, Spendings, packed, report
from scorer.workers.ray import actor
from scorer.workers.ray.actor import Place, RayWorker
from scorer.workers.ray.launcher import _placed

HELLO = Hello(
    worker=7,
    index=0,
    workers=1,
    spec={"judge": {"prompt": 3}},
    run="run",
    fingerprint="of another world",
    files="f",
    judge="f",
    judges={},
    edition=0,
    owner="owner",
    served={},
    lease_s=0.1,
    strict=False,
    gather_s=0.1,
)


async def test_ray_worker_ends_after_last_answer(tmp_path: Path) -> None:
    worker = RayWorker(str(tmp_path / "not-there"), [])
    last = report(await worker.begin(packed(HELLO)))
    assert last.ended
    assert last.failure is not None
    assert last.failure.kind == "SpecError"
    hearing = asyncio.ensure_future(worker.hear(packed(BrokerAnswer(order=Order.LEAVE))))
    assert await hearing == b""


def test_ray_worker_failure_names_its_node() -> None:
    place = Place("id", "10.0.0.7", "1", None)
    found = Report(Spendings({}), failure=Failure("SetupError", "no key."))
    assert _placed(found, place).failure == Failure("SetupError", "no key. (Said by a worker on node 10.0.0.7.)")
    assert _placed(Report(Spendings({})), place) == Report(Spendings({}))


def test_ray_worker_finds_file_of_owner_or_gives_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "SEES_S", 0.0)
    monkeypatch.setattr(actor, "AGAIN_S", 0.0)
    path = tmp_path / "seen"
    assert "No such file" in str(actor._missing(str(path), b"one"))
    path.write_bytes(b"two")
    assert actor._missing(str(path), b"one") == "another file has its name"
    path.write_bytes(b"one")
    assert actor._missing(str(path), b"one") is None
