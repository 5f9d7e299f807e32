"""Promise: a run exceeds its cap by at most a few requests, whatever the judge bills and reports.

The judges here are hostile: they add prompts, ignore limits, and tell less than they bill, or nonsense. Each run is the
real `Job` in virtual time; `Hostile` keeps the true bill. `tests/soak/test_overspend_command.py` has the real command.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline, now, run
from support.inprocess_workers import in_this_process
from support.transport import FakeTransport

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.errors import BudgetSpent
from scorer.files.local_files import LocalFiles
from scorer.job.distributed_scoring import MakeLauncher
from scorer.job.job import Job
from scorer.limits.bills import OPENING
from scorer.output import ledger
from scorer.output.ledger_totals import Totals
from scorer.types import Call, Reply

PRICE = (1.0, 4.0)
"""USD per million tokens of prompt and reply; so many pico-dollars a token, in millions."""
LIMIT = 16
StatedUsage = Callable[[int, int, int], Any]
"""The usage that a reply tells, of the true prompt and completion and the number of the request."""


def honest(prompt: int, completion: int, _: int) -> Any:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def zeros(*_: int) -> Any:
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def thoughts_in_total(prompt: int, completion: int, _: int) -> Any:
    return {"prompt_tokens": prompt, "completion_tokens": 3, "total_tokens": prompt + completion}


def nonsense(prompt: int, completion: int, number: int) -> Any:
    lies = [{}, None, "free", {"prompt_tokens": -9, "completion_tokens": 1}, {"prompt_tokens": 10**12}, [1]]
    return lies[number % 6] if number % 7 else honest(prompt, completion, number)


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about what a disk keeps: its syncs, one a wave of requests, would be most of the time."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)


class Hostile(FakeTransport):
    """A transport that is the judge: prompts cost `hidden` tokens more, replies have what `completion` says."""

    def __init__(
        self,
        stated: StatedUsage = honest,
        *,
        hidden: int = 0,
        completion: Callable[[dict[str, Any], int], int] = lambda _body, _number: 3,
        seconds: float = 1.0,
    ) -> None:
        super().__init__()
        self._stated, self._hidden, self._completion, self._seconds = stated, hidden, completion, seconds
        self.bills: list[tuple[int, int]] = []

    async def reply(self, call: Call, number: int) -> Reply:
        body = orjson.loads(call.body)
        prompt = len(call.body) // 4 + self._hidden
        completion = self._completion(body, number)
        self.bills.append((prompt, completion))
        await asyncio.sleep(self._seconds)
        choice = {"message": {"role": "assistant", "content": "Score: 4"}, "finish_reason": "stop"}
        choices = [{"index": place, **choice} for place in range(body.get("n", 1))]
        reply = {"model": "m", "choices": choices, "usage": self._stated(prompt, completion, number)}
        return Reply(200, {}, orjson.dumps(reply))

    @property
    def tokens(self) -> int:
        return sum(map(sum, self.bills))

    @property
    def pico(self) -> int:
        return sum(self.price(*bill) for bill in self.bills)

    @staticmethod
    def price(prompt: int, completion: int) -> int:
        return round((prompt * PRICE[0] + completion * PRICE[1]) * 10**6)

    @property
    def worst(self) -> tuple[int, int]:
        """The largest bill, in tokens and in money."""
        return max(map(sum, self.bills)), max(self.price(*bill) for bill in self.bills)


def start(
    folder: Path,
    judge: Hostile,
    *,
    rows: int = 400,
    extra: dict[str, Any] | None = None,
    workers: tuple[int, MakeLauncher] | None = None,
    **limits: Any,
) -> Totals:
    """One start of a run over so many rows, to its end or to its cap; the ledger's totals then."""
    (folder / "in").mkdir(exist_ok=True)
    ids = pa.array([f"r{number}" for number in range(rows)])
    pq.write_table(pa.table({"id": ids, "response": pa.array(["some words " * 20] * rows)}), folder / "in/a.parquet")
    out = str(folder / "out")
    price = {"input": PRICE[0], "output": PRICE[1]}
    model = {"name": "m", "base_url": "http://127.0.0.1:1/v1", "price": price, "max_output_tokens": LIMIT}
    tree = {
        "input": {"shards": [f"{folder}/in/*.parquet"], "id": "id"},
        "judge": {"prompt": "Rate {id}: {response}", "scale": [1, 5], "attempts": 1},
        "model": {**model, "extra": extra or {}},
        "limits": {"concurrency": 64, "max_failed_share": 1.0, **limits},
        "output": {"path": out},
    }
    count, launcher = workers or (1, None)
    connect = partial(make_client, transport=judge)
    job = Job(check(tree), LocalFiles(), offload=inline, connect=connect, workers=count, launcher=launcher)
    with suppress(BudgetSpent):
        run(job.run())
    return ledger.totals(LocalFiles(), f"{out}/ledger")


def hidden() -> Hostile:
    """A gateway with a prompt of its own."""
    return Hostile(hidden=50_000)


def ignores() -> Hostile:
    """A server without limits: replies of 1,000 to 4,000 tokens."""
    return Hostile(completion=lambda _body, number: 1000 + 7919 * number % 3000)


def thinks() -> Hostile:
    """Thoughts that stand in total_tokens alone."""
    return Hostile(thoughts_in_total, completion=lambda _body, number: 500 + 7919 * number % 3000)


def thinks_at_times() -> Hostile:
    """One reply in ten has thoughts."""
    return Hostile(thoughts_in_total, completion=lambda _body, number: 3 if number % 10 else 4000)


JUDGES = [hidden, ignores, thinks, thinks_at_times]


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("cap", ["tokens", "usd"])
def test_cap_is_exceeded_by_a_few_requests_where_the_judge_bills_more_than_was_reserved(
    judge: Callable[[], Hostile], cap: str, tmp_path: Path
) -> None:
    hostile = judge()
    limits = {"max_tokens": 60_000} if cap == "tokens" else {"max_usd": 0.06}
    totals = start(tmp_path, hostile, **limits)
    tokens, pico = hostile.worst
    assert (totals.tokens, totals.money_pico) == (hostile.tokens, hostile.pico)
    if cap == "tokens":
        assert hostile.tokens <= 60_000 + OPENING * tokens
    else:
        assert hostile.pico <= 0.06 * 10**12 + OPENING * pico


@pytest.mark.parametrize("judge", JUDGES)
def test_cap_counts_earlier_starts_and_every_start_has_an_opening(judge: Callable[[], Hostile], tmp_path: Path) -> None:
    hostile, before = judge(), 0
    for cap in (300_000, 600_000, 600_000):
        totals = start(tmp_path, hostile, max_tokens=cap)
        assert totals.tokens == hostile.tokens
        assert hostile.tokens <= max(before, cap) + OPENING * hostile.worst[0]
        before = hostile.tokens


@pytest.mark.parametrize("stated", [zeros, nonsense, lambda *_: None])
def test_cap_counts_the_reservation_where_the_judge_reports_no_usage(stated: StatedUsage, tmp_path: Path) -> None:
    hostile = Hostile(stated)
    totals = start(tmp_path, hostile, max_tokens=20_000)
    assert hostile.tokens <= totals.tokens <= 20_000
    assert totals.maybe_requests > 0


@pytest.mark.parametrize(
    "extra",
    [
        {"max_tokens": 2000},
        {"max_completion_tokens": 2000},
        {"n": 8},
        {"n": 3, "best_of": 8},
        {"max_tokens": 500, "n": 4},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"description": "x " * 7500}}}},
        {"tools": [{"type": "function", "function": {"name": "f", "description": "y " * 7500}}]},
        {"generation_config": {"max_output_tokens": 2000}},
    ],
)
def test_cap_reserves_the_output_that_extra_asks_for(extra: dict[str, Any], tmp_path: Path) -> None:
    def fills(body: dict[str, Any], _: int) -> int:
        inner = body.get("generation_config", {}).get("max_output_tokens", 0)
        limit = max(body.get("max_tokens", 0), body.get("max_completion_tokens", 0), inner)
        return int(limit) * max(body.get("n", 1), body.get("best_of", 1))

    hostile = Hostile(completion=fills)
    totals = start(tmp_path, hostile, extra=extra, max_tokens=30_000, max_usd=0.03)
    assert (totals.tokens, totals.money_pico) == (hostile.tokens, hostile.pico)
    assert hostile.tokens <= 30_000
    assert hostile.pico <= 0.03 * 10**12
    assert len(hostile.bills) > 2


def test_nonsense_usage_costs_its_reservation_and_no_time(tmp_path: Path) -> None:
    def once(prompt: int, completion: int, number: int) -> Any:
        return honest(10**12 if number == 30 else 40_000_000 if number == 60 else prompt, completion, number)

    hostile = Hostile(once)
    totals = start(tmp_path, hostile, max_usd=10, tokens_per_minute=2_000_000)
    assert len(hostile.bills) == 400
    assert totals.maybe_requests == 2
    assert totals.tokens < hostile.tokens + 2 * 1000
    assert max(hostile.sent_at) < 30


def test_usage_of_a_whole_context_window_delays_a_rate_by_at_most_a_minute(tmp_path: Path) -> None:
    def once(prompt: int, completion: int, number: int) -> Any:
        return honest(1_900_000 if number == 30 else prompt, completion, number)

    hostile = Hostile(once)
    totals = start(tmp_path, hostile, max_usd=10, tokens_per_minute=100_000)
    assert len(hostile.bills) == 400
    assert totals.requests == 400
    assert totals.tokens == hostile.tokens - hostile.bills[30][0] + 1_900_000
    # At 100,000 tokens a minute 400 rows take a minute; the debt is another.
    assert max(hostile.sent_at) < 4 * 60


def test_opening_lasts_one_round_trip(tmp_path: Path) -> None:
    hostile = Hostile()
    start(tmp_path, hostile, max_usd=10)
    assert [sum(at <= when for at in hostile.sent_at) for when in (0.9, 1.1)] == [OPENING, OPENING + 64]
    uncapped = Hostile()
    (tmp_path / "free").mkdir()
    start(tmp_path / "free", uncapped)
    assert sum(at < 0.9 for at in uncapped.sent_at) == 64


def test_cap_is_exceeded_by_requests_in_flight_where_the_judge_reasons_now_and_then(tmp_path: Path) -> None:
    """The few requests that open the run show nothing of it."""
    hostile = Hostile(thoughts_in_total, completion=lambda _, number: 4000 if number % 10 == 9 else 3)
    totals = start(tmp_path, hostile, max_tokens=30_000)
    assert totals.tokens == hostile.tokens
    assert hostile.tokens <= 30_000 + 64 * hostile.worst[0]
    assert len(hostile.bills) <= OPENING + 2 * 64


def test_cap_is_exceeded_by_requests_in_flight_where_a_gateway_changes_its_prompt(tmp_path: Path) -> None:
    hostile = Hostile()
    loop_at = 5.0

    async def post(call: Call, post: Any = hostile.post) -> Reply:
        hostile._hidden = 20_000 if now() > loop_at else 0
        reply: Reply = await post(call)
        return reply

    hostile.post = post  # type: ignore[method-assign]
    totals = start(tmp_path, hostile, rows=2000, max_tokens=120_000)
    assert totals.tokens == hostile.tokens
    assert hostile.tokens <= 120_000 + 64 * hostile.worst[0]
    dear = [bill for bill in hostile.bills if bill[0] > 20_000]
    assert 0 < len(dear) <= 64


@pytest.mark.parametrize("workers", [2, OPENING + 1])
@pytest.mark.parametrize(
    ("judge", "caps", "beyond"),
    [(hidden, (300_000, 600_000), 1), (lambda: Hostile(zeros), (40_000, 80_000), 0)],
    ids=["hidden", "zeros"],
)
def test_workers_keep_the_bound_of_a_cap_at_every_start(
    judge: Callable[[], Hostile],
    caps: tuple[int, int],
    beyond: int,
    workers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound grows from the fifth worker on. Where no bill is known, reservations count, and nothing is beyond."""
    hostile, before = judge(), 0
    for cap in caps:
        totals = start(tmp_path, hostile, workers=(workers, in_this_process(monkeypatch, hostile)), max_tokens=cap)
        assert before < hostile.tokens <= max(before, cap) + beyond * max(OPENING, workers) * hostile.worst[0]
        assert totals.tokens >= hostile.tokens
        before = hostile.tokens
