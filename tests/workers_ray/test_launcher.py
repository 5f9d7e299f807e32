"""When a worker on Ray is declared dead: never while it may still write."""

from __future__ import annotations

import asyncio
import time

import pytest

from scorer.workers.broker_client import FRESH_S
from scorer.workers.ray.actor import Place
from scorer.workers.ray.launcher import LEAVES_S, _process_ended


@pytest.mark.slow
async def test_launcher_declares_worker_dead_at_once_only_if_ray_saw_its_process_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slow: Ray is imported."""
    ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    nodes = [{"NodeID": "up", "Alive": True}, {"NodeID": "down", "Alive": False}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    died = ray.exceptions.ActorDiedError()
    away = ray.exceptions.ActorUnavailableError("no wire", None)
    await _process_ended(died, None, 100.0)  # it never worked
    await _process_ended(died, Place("up", "host", "1", None), 100.0)
    assert waited == []
    await _process_ended(died, Place("down", "host", "1", None), 99.0)  # perhaps only cut off
    await _process_ended(away, Place("up", "host", "1", None), 100.0)
    await _process_ended(died, Place("down", "host", "1", None), 10.0)
    assert waited == [FRESH_S + LEAVES_S - 1.0, FRESH_S + LEAVES_S, 0.0]
