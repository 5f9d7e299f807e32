"""Promise: the bytes in flight of large rows' requests are bounded, and every request is sent in the end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest
from support.clock import now, run
from support.inprocess import Run

from scorer.engine import engine
from scorer.engine.admission import ByteBudget
from scorer.types import Completion, Message, Request


class Counting:
    """A client that takes a second, and knows how many bytes of text it had at once."""

    def __init__(self) -> None:
        self.open = self.most = self.answered = 0

    async def complete(self, request: Request) -> Completion:
        size = sum(len(message.content) for message in request.messages) + len(request.prompt)
        self.open += size
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(1.0)
        finally:
            self.open -= size
        self.answered += 1
        return Completion("4")


def request(size: int) -> Request:
    return Request(messages=(Message("system", "x" * (size // 2)), Message("user", "x" * (size - size // 2))))


@pytest.mark.parametrize("seed", range(5))
def test_byte_budget_bounds_bytes_in_flight_and_completes_every_request(seed: int) -> None:
    draw = Random(seed)
    sizes = [draw.choice([0, 1, 40, 99, 100]) for _ in range(60)]

    async def scenario() -> None:
        client = Counting()
        weighed = ByteBudget(client, 100)
        tasks = [asyncio.ensure_future(weighed.complete(request(size))) for size in sizes]
        await asyncio.sleep(0.5)
        cut = [task for task in draw.sample(tasks, 10) if task.cancel()]
        await asyncio.wait(tasks)
        assert client.answered == 60 - len(cut)
        assert client.most <= 100
        assert weighed._left == 100
        assert now() < 61

    run(scenario())


def test_byte_budget_runs_request_larger_than_budget_alone() -> None:
    async def scenario() -> None:
        client = Counting()
        weighed = ByteBudget(client, 100)
        await asyncio.gather(*(weighed.complete(Request(prompt="x" * 250)) for _ in range(3)))
        assert (client.most, now()) == (250, 3.0)

    run(scenario())


def test_byte_budget_applies_to_requests_of_large_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    complete = ByteBudget.complete

    async def noted(self: ByteBudget, asked: Request) -> Completion:
        seen.append(True)
        return await complete(self, asked)

    monkeypatch.setattr(ByteBudget, "complete", noted)
    (tmp_path / "small").mkdir()
    Run(tmp_path / "small", 3).run()
    assert not seen
    monkeypatch.setattr(engine, "LARGE", 1)
    (tmp_path / "large").mkdir()
    assert Run(tmp_path / "large", 3).run().scored == 3
    assert len(seen) == 3
