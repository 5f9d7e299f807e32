"""Promise: all workers together never commit more than a cap, and stop only where nothing else is left."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import run
from together import Mate, broker_of, mate, now

from scorer.errors import BudgetSpent
from scorer.limits import Asked, Billing, Demand, Outcome, RateLimits
from scorer.limits.bills import KEPT
from scorer.output.ledger_totals import Totals
from scorer.types import (
    Shard,
    Work,
)
from scorer.usage import (
    Usage,
)
from scorer.workers.broker import Broker
from scorer.workers.messages import Failure, Order, Pace, Published, Report, Spendings, answer, packed, report

RATES = RateLimits(concurrency=4)
SILENT = Report(Spendings({}))


def need(worst: int, pico: int = 0) -> Demand:
    return Demand(0, 0, worst_tokens=worst, worst_pico=pico)


def final(one: Mate) -> Totals:
    """What its ledger's file says once it is dead: what was in flight may be billed."""
    ledger = one.ledger
    return ledger.totals + Totals(maybe_tokens=ledger.open_tokens, maybe_pico=ledger.open_pico)


def committed(mates: list[Mate]) -> int:
    return sum(one.ledger.totals.tokens + one.ledger.open_tokens for one in mates)


_ASKED = st.tuples(
    st.integers(0, 2),  # the worker
    st.sampled_from([0.0, 0.05, 0.5]),  # comes so long after the one before
    st.integers(1, 300),  # the most it may take
    st.floats(0, 1),  # the share of it that it takes
    st.sampled_from([0.0, 0.3, 2.0]),  # is answered so long after it was sent
    st.booleans(),  # whether the answer tells the usage
)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    cap=st.integers(100, 3000),
    asked=st.lists(_ASKED, min_size=1, max_size=30),
    dies=st.none() | st.floats(0, 3),
    strict=st.booleans(),
)
def test_broker_never_exceeds_cap_for_any_mix_of_workers(
    cap: int, asked: list[tuple[int, float, int, float, float, bool]], dies: float | None, strict: bool
) -> None:
    """Slow: twenty-five nights of three workers with a beat every tenth of a second."""

    async def scenario() -> None:
        broker = broker_of(RATES, workers=3, max_tokens=cap)
        async with AsyncExitStack() as stack:
            mates = [
                await stack.enter_async_context(mate(broker, n + 1, RATES, tokens_capped=True, strict=strict))
                for n in range(3)
            ]
            refused: list[int] = []

            async def ask(one: Mate, worst: int, share: float, answer_s: float, known: bool) -> None:
                try:
                    permit = await one.limits[0].admit(need(worst))
                except BudgetSpent:
                    living = [other for other in mates if not other.cut]
                    assert not sum(other.ledger.open_tokens for other in living), "something might come out cheaper"
                    refused.append(worst)
                    return
                assert committed(mates) <= cap
                await asyncio.sleep(answer_s)
                if one.cut:
                    return
                usage = Usage(int(worst * share), 0)
                outcome = Outcome(Billing.KNOWN, usage=usage, alive=True) if known else Outcome(Billing.UNKNOWN)
                one.limits[0].settle(permit, outcome)

            async def die() -> None:
                await asyncio.sleep(dies or 0.0)
                mates[0].cut = True
                await asyncio.sleep(0.5)
                broker.lost(1, final(mates[0]))

            dying = None if dies is None else asyncio.create_task(die())
            asking = []
            for which, gap, worst, share, answer_s, known in asked:
                await asyncio.sleep(gap)
                asking.append((which, asyncio.create_task(ask(mates[which], worst, share, answer_s, known))))
            await asyncio.gather(*(task for which, task in asking if which or dies is None))
            if dying is not None:
                await dying
            assert committed(mates) <= cap
            if refused:  # and it would not have fitted: nothing is held back that nobody uses
                assert committed(mates) + max(refused) > cap
            for _, task in asking:
                task.cancel()

    run(scenario())


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 500), st.integers(0, 900), st.booleans(), st.sampled_from("rrrel")),
        max_size=40,
    )
)
def test_broker_sums_are_those_of_all_workers_after_any_reports_ends_and_deaths(
    turns: list[tuple[int, int, int, bool, str]],
) -> None:
    """The sums follow each change; here they are added up anew."""
    broker = Broker(
        [RATES], workers=4, before=Totals(prompt_tokens=7), max_tokens=5000, max_usd=None, clock=lambda: 0.0
    )
    spent = dict.fromkeys(range(1, 5), 0)
    for worker, more, keep, lacks, what in turns:
        spent[worker] += more
        totals = {"requests": 1, "prompt_tokens": spent[worker], "pico": spent[worker] * 3}
        if what == "l":
            broker.lost(worker, Totals(**totals))
        elif worker not in broker._fenced:
            said = Spendings(
                totals, keep_tokens=spent[worker] + keep, lacks_budget=lacks, next_tokens=50, wish_tokens=80
            )
            broker.exchange(worker, Report(said, ended=what == "e"))
        known = broker._ledgers.workers.values()
        assert broker.totals.prompt_tokens == 7 + sum(one.totals.prompt_tokens for one in known)
        assert broker.totals.pico == sum(one.totals.pico for one in known)
        assert broker._ledgers.open_tokens == sum(max(0, one.tokens - one.totals.tokens) for one in known)


def test_report_costs_the_broker_as_much_with_a_thousand_workers_as_with_ten() -> None:
    """By steps of the interpreter, which no load changes; benchmarks/broker.py has the time, also with a queue."""
    steps = 0

    def counts(frame: object, event: str, _: object) -> object:
        nonlocal steps
        steps += event == "line"
        return counts

    def each(workers: int) -> float:
        nonlocal steps
        at = 0.0
        rates = RateLimits(requests_per_minute=60_000.0 * workers, concurrency=16 * workers)
        broker = Broker([rates], workers=workers, before=Totals(), max_tokens=10**12, max_usd=None, clock=lambda: at)
        pace = Pace(least={"requests": 1.0}, wish={"requests": 9.0}, in_flight=3, places=16)
        for turn in range(3):
            if turn == 2:
                steps = 0
                sys.settrace(counts)
            for worker in range(workers):
                at += 0.1 / workers
                said = Spendings({}, keep_tokens=99, lacks_budget=worker % 10 == 0, next_tokens=9, wish_tokens=99)
                broker.exchange(worker, Report(said, [pace]))
            sys.settrace(None)
        return steps / workers

    assert each(1000) < 1.5 * each(10)


def test_broker_uses_cap_to_last_token_across_workers() -> None:
    async def scenario() -> None:
        broker = broker_of(RATES, max_tokens=1000)
        async with (
            mate(broker, 1, RATES, tokens_capped=True) as one,
            mate(broker, 2, RATES, tokens_capped=True) as two,
        ):
            for turn in range(10):
                which = (one, two)[turn % 2]
                permit = await which.limits[0].admit(need(100))
                which.limits[0].settle(permit, Outcome(Billing.KNOWN, usage=Usage(100, 0), alive=True))
            assert committed([one, two]) == 1000
            with pytest.raises(BudgetSpent, match=r"limits\.max_tokens = 1000 is used up: 1000 tokens .* may take 1\."):
                await two.limits[0].admit(need(1))

    run(scenario())


def test_broker_holds_request_while_another_worker_may_settle_cheaper() -> None:
    async def scenario() -> None:
        broker = broker_of(RATES, max_usd=1e-6)  # a million pico-dollars
        async with mate(broker, 1, RATES, money_capped=True) as one, mate(broker, 2, RATES, money_capped=True) as two:
            dear = await one.limits[0].admit(need(1, 900_000))
            waiting = asyncio.create_task(two.limits[0].admit(need(1, 600_000)))
            await asyncio.sleep(1.0)
            assert not waiting.done()
            one.limits[0].settle(dear, Outcome(Billing.KNOWN, usage=Usage(1, 0), cost_pico=400_000, alive=True))
            await waiting
            assert now() < 1.5
            two.limits[0].settle(waiting.result(), Outcome(Billing.UNKNOWN))
            with pytest.raises(BudgetSpent, match=r"limits\.max_usd = 1e-06 is used up"):
                await one.limits[0].admit(need(1, 1))

    run(scenario())


def test_broker_counts_possible_spend_of_dead_worker_as_spent() -> None:
    async def scenario() -> None:
        broker = broker_of(RATES, max_tokens=1000)
        async with (
            mate(broker, 1, RATES, tokens_capped=True) as one,
            mate(broker, 2, RATES, tokens_capped=True) as two,
        ):
            await one.limits[0].admit(need(50))  # of which it was allowed 125
            one.cut = True
            waiting = asyncio.create_task(two.limits[0].admit(need(951)))
            await asyncio.sleep(3.0)
            assert not waiting.done()  # nobody knows yet
            broker.lost(1, final(one))
            with pytest.raises(BudgetSpent, match="50 tokens are spent or may be"):
                await waiting
            two.client.allowance.refused = None  # type: ignore[union-attr]
            await two.limits[0].admit(need(950))

    run(scenario())


def test_broker_counts_all_that_a_dead_worker_was_allowed_where_its_ledger_was_deleted() -> None:
    broker = made(max_tokens=1000)
    spent = {"requests": 2, "prompt_tokens": 30}
    wishing = Spendings(spent, open_tokens=40, keep_tokens=70, lacks_budget=True, next_tokens=50, wish_tokens=50)
    answered = broker.exchange(1, Report(wishing, [Pace(in_flight=3)]))
    assert answered.tokens == 50
    broker.lost(1, Totals(requests=1, prompt_tokens=9))
    assert broker.totals == Totals(**spent, maybe_requests=3, maybe_tokens=90)
    assert broker._ledgers.open_tokens == 0


def test_broker_ignores_reports_of_worker_declared_dead() -> None:
    """Its rows are others' by then: what it reports late neither counts nor gets anything."""
    broker = made()
    broker.offer(Work(Shard("in/a.parquet", "a", 1, "1", 4, "f")), 0)
    broker.rows.close()
    ((leased,),) = broker.exchange(1, Report(Spendings({}), wants=1)).portions
    broker.lost(1, Totals())
    late = Published("in/a.parquet", 0, 0, 3, 0, np.arange(4, dtype=np.int64).tobytes(), 4, {})
    spent = dict.fromkeys(Totals.__slots__, 9)
    failed = Failure("SetupError", "late")
    answered = broker.exchange(1, Report(Spendings(spent), published=[late], wants=2, failure=failed))
    assert (answered.order, answered.portions) == (Order.LEAVE, [])
    assert (broker.published, broker.totals, broker.failure) == ([], Totals(), None)
    ((again,),) = broker.exchange(2, Report(Spendings({}), wants=1)).portions
    assert (again.first, again.stop) == (leased.first, leased.stop)
    assert broker.order is Order.SCORE


# --- what bills teach -------------------------------------------------------------------------------------------------


def asking(prompt: int = 100, limit: int = 10) -> Demand:
    return Demand(prompt // 4, limit, prompt + limit, asked=Asked(prompt, limit))


def test_broker_shares_learned_bills_with_all_workers() -> None:
    async def scenario() -> None:
        broker = broker_of(RATES, workers=2, max_tokens=10**6)
        async with (
            mate(broker, 1, RATES, tokens_capped=True) as one,
            mate(broker, 2, RATES, tokens_capped=True) as two,
        ):
            permit = await one.limits[0].admit(asking())
            one.limits[0].settle(permit, Outcome(Billing.KNOWN, usage=Usage(5000, 70), alive=True))
            await asyncio.sleep(0.25)  # two beats
            permit = await two.limits[0].admit(asking())
            assert permit.demand.worst_tokens == 100 + 5000 + int(1.5 * 70)
            two.limits[0].settle(permit, Outcome(Billing.NOTHING, alive=True))
            for _ in range(KEPT):  # ordinary again
                permit = await one.limits[0].admit(asking())
                one.limits[0].settle(permit, Outcome(Billing.KNOWN, usage=Usage(25, 3), alive=True))
            await asyncio.sleep(0.25)
            assert (await two.limits[0].admit(asking())).demand.worst_tokens == 110

    run(scenario())


def test_broker_drops_learned_bills_of_lost_worker() -> None:
    broker = made()
    taught = Report(Spendings({}), paces=[Pace(hidden=700, output=90)])
    plain = Report(Spendings({}), paces=[Pace()])
    broker.exchange(1, taught)
    assert [(one.hidden, one.output) for one in broker.exchange(2, plain).grants] == [(700, 90)]
    broker.lost(1, Totals())
    assert [(one.hidden, one.output) for one in broker.exchange(2, plain).grants] == [(0, 0)]


@pytest.mark.parametrize(("workers_in_all", "places"), [(1, 4), (2, 2), (3, 1), (100, 1)])
def test_broker_divides_opening_requests_among_workers(workers_in_all: int, places: int) -> None:
    async def scenario() -> None:
        rates = RateLimits(concurrency=64)
        broker = broker_of(rates, workers=workers_in_all, max_tokens=10**6)
        async with mate(broker, 1, rates, tokens_capped=True, workers=workers_in_all) as one:
            permits = [await one.limits[0].admit(asking()) for _ in range(places)]
            waiting = asyncio.create_task(one.limits[0].admit(asking()))
            await asyncio.sleep(1.0)
            assert not waiting.done()
            for permit in permits:
                one.limits[0].settle(permit, Outcome(Billing.KNOWN, usage=Usage(25, 3), alive=True))
            await waiting
            for _ in range(40):
                await one.limits[0].admit(asking())

    run(scenario())


# --- the messages -----------------------------------------------------------------------------------------------------


def made(max_tokens: int | None = None) -> Broker:
    return Broker([RATES], workers=2, before=Totals(), max_tokens=max_tokens, max_usd=None, clock=lambda: 0.0)


def test_broker_messages_round_trip_through_encoding() -> None:
    broker = made()
    broker.offer(Work(Shard("in/a.parquet", "a", 1, "1", 100, "f")), 3)
    wanting = Report(Spendings({}), wants=1)
    assert report(packed(wanting)) == wanting
    answered = broker.exchange(1, wanting)
    assert answered.portions
    assert answer(packed(answered)) == answered


def test_broker_stops_all_workers_on_failure_and_keeps_first() -> None:
    broker = made()
    broker.exchange(1, Report(Spendings({}), ended=True, failure=Failure("SetupError", "first")))
    broker.exchange(2, Report(Spendings({}), ended=True, failure=Failure("SetupError", "second")))
    assert broker.exchange(3, SILENT).order is Order.LEAVE
    assert broker.failure is not None
    assert broker.failure.text == "first"


def test_broker_leases_no_rows_while_draining() -> None:
    broker = made()
    broker.offer(Work(Shard("in/a.parquet", "a", 1, "1", 100, "f")), 0)
    broker.order = Order.DRAIN
    answered = broker.exchange(1, Report(Spendings({}), wants=2))
    assert (answered.order, answered.portions) == (Order.DRAIN, [])


def test_broker_totals_are_sum_over_workers() -> None:
    broker = made()
    one = Totals(requests=2, prompt_tokens=10, pico=7)
    counts = {name: getattr(one, name) for name in Totals.__slots__}
    broker.exchange(1, Report(Spendings(counts)))
    broker.exchange(2, Report(Spendings(counts)))
    broker.lost(2, replace(one, maybe_tokens=5))
    assert broker.totals == replace(one + one, maybe_tokens=5)


def test_broker_leaves_out_unreadable_shard_and_keeps_reason() -> None:
    async def scenario() -> None:
        broker = broker_of(RATES)
        shard = Shard("in/a.parquet", "a", 1, "1", 100, "f")
        broker.offer(Work(shard), 0)
        broker.rows.close()
        assert broker.exchange(1, Report(Spendings({}), wants=1)).portions
        found = report(packed(Report(Spendings({}), unread={"in/a.parquet": "it is gone"})))
        assert broker.exchange(1, found).done
        assert broker.unread == {"in/a.parquet": "it is gone"}

    run(scenario())
