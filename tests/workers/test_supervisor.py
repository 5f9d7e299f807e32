"""Promise: workers that end once no row is left end no run, and nothing is said of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.clock import run

from scorer.errors import WorkersLost
from scorer.workers.messages import Order
from scorer.workers.supervisor import STRIKES, Supervisor


class Crew:
    """An owner and a launcher whose workers die; `last` of them after the last row was stored."""

    def __init__(self, *, last: bool) -> None:
        self.broker = SimpleNamespace(order=Order.SCORE, rows=SimpleNamespace(done=False, left=1))
        self.workers = STRIKES if last else 1
        self.said: list[str] = []
        self._last = last

    def hello(self, index: int) -> Any:
        return SimpleNamespace(worker=index)

    async def feed(self, work: Any) -> None: ...

    async def lost(self, worker: int) -> None: ...

    def check(self) -> None: ...

    async def run_worker(self, hello: Any) -> str:
        self.broker.rows.done = self._last
        return "was killed"


def supervised(crew: Crew) -> None:
    owner: Any = crew
    run(Supervisor(owner, owner, crew.said.append).run(iter(())))


def test_workers_that_die_after_the_last_row_end_no_run() -> None:
    crew = Crew(last=True)
    supervised(crew)
    assert crew.said == []


def test_workers_that_die_before_any_row_end_the_run() -> None:
    crew = Crew(last=False)
    with pytest.raises(WorkersLost):
        supervised(crew)
    assert len(crew.said) == STRIKES
