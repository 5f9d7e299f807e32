"""Contract of `Admission`: what holds for the limits of one process holds for those of a worker."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from support.clock import inline, run
from together import Never, broker_of, mate, now

from scorer.errors import BudgetSpent, Interrupted, TooLong
from scorer.limits import Billing, Budget, Demand, EndpointDown, LocalLimiter, Outcome, RateLimits
from scorer.limits.types import Permit
from scorer.output.ledger import Ledger
from scorer.usage import (
    Usage,
)

DONE = Outcome(Billing.NOTHING, alive=True)
FAILED = Outcome(Billing.NOTHING, alive=False)


def need(tokens: int = 0, output: int = 0, *, first: bool = False) -> Demand:
    return Demand(tokens, output, worst_tokens=tokens + output, first=first)


class Contract(ABC):
    """The promises of `Admission`. Where a lease is asked for, it takes the wire's two milliseconds."""

    @abstractmethod
    def made(
        self, rates: RateLimits, max_tokens: int | None, strict: bool
    ) -> AbstractAsyncContextManager[LocalLimiter]:
        """Limits of one endpoint that work while the block lasts."""

    def night(
        self,
        test: Callable[[LocalLimiter], Awaitable[None]],
        rates: RateLimits = RateLimits(),  # noqa: B008 - it is frozen
        max_tokens: int | None = None,
        strict: bool = False,
    ) -> None:
        async def whole() -> None:
            async with self.made(rates, max_tokens, strict) as limits:
                await test(limits)

        run(whole())

    def test_limiter_refuses_request_larger_than_one_minute_at_once(self) -> None:
        async def test(limits: LocalLimiter) -> None:
            with pytest.raises(TooLong, match=r"limits\.tokens_per_minute = 1000 could never"):
                await limits.admit(need(1000, 1))

        self.night(test, RateLimits(tokens_per_minute=1000))

    def test_limiter_serves_first_come_first_served(self) -> None:
        async def test(limits: LocalLimiter) -> None:
            order = []

            async def ask(tokens: int) -> None:
                limits.settle(await limits.admit(need(tokens)), Outcome(Billing.UNKNOWN, alive=True))
                order.append(tokens)

            async with asyncio.TaskGroup() as group:
                for tokens in (5000, 4000, 1, 2, 3):
                    group.create_task(ask(tokens))
                    await asyncio.sleep(0)
            assert order == [5000, 4000, 1, 2, 3]
            assert now() > 39  # 5,000 and then 4,000 of 6,000 a minute, less a burst

        self.night(test, RateLimits(tokens_per_minute=6000))

    @pytest.mark.parametrize("strict", [False, True])
    def test_limiter_never_exceeds_concurrency(self, strict: bool) -> None:
        async def test(limits: LocalLimiter) -> None:
            permits = [await limits.admit(need(1)) for _ in range(2)]
            waiter = asyncio.create_task(limits.admit(need(1)))
            await asyncio.sleep(1.0)
            assert (limits.in_flight, limits.waiting, waiter.done()) == (2, 1, False)
            limits.settle(permits[0], DONE)
            limits.settle(await waiter, DONE)
            limits.settle(permits[1], DONE)
            assert (limits.in_flight, limits.waiting) == (0, 0)

        self.night(test, RateLimits(concurrency=2, requests_per_minute=6000), strict=strict)

    def test_limiter_permit_settles_only_once(self) -> None:
        async def test(limits: LocalLimiter) -> None:
            permit = await limits.admit(need())
            limits.settle(permit, DONE)
            with pytest.raises(AssertionError, match="settled twice"):
                limits.settle(permit, DONE)

        self.night(test)

    @pytest.mark.parametrize("strict", [False, True])
    def test_limiter_cancelled_request_reserves_nothing(self, strict: bool) -> None:
        async def test(limits: LocalLimiter) -> None:
            permit = await limits.admit(need(60))
            waiter = asyncio.create_task(limits.admit(need(60)))
            await asyncio.sleep(0.5)
            waiter.cancel()
            await asyncio.wait([waiter])
            limits.settle(permit, DONE)
            limits.settle(await limits.admit(need(100)), DONE)
            assert (limits.in_flight, limits.waiting) == (0, 0)

        self.night(test, max_tokens=100, strict=strict)

    @pytest.mark.parametrize("strict", [False, True])
    def test_limiter_waits_for_budget_and_refuses_only_with_none_in_flight(self, strict: bool) -> None:
        async def test(limits: LocalLimiter) -> None:
            permit = await limits.admit(need(80))
            waiter = asyncio.create_task(limits.admit(need(70)))
            await asyncio.sleep(1.0)
            assert not waiter.done()
            limits.settle(permit, Outcome(Billing.KNOWN, usage=Usage(40, 0), alive=True))
            with pytest.raises(BudgetSpent, match=r"limits\.max_tokens = 100 is used up: 40 tokens .* may take 70\."):
                await waiter
            assert now() < 2.0

        self.night(test, max_tokens=100, strict=strict)

    def test_limiter_drain_refuses_rows_not_yet_started(self) -> None:
        async def test(limits: LocalLimiter) -> None:
            permit = await limits.admit(need())
            begun = asyncio.create_task(limits.admit(need()))
            fresh = asyncio.create_task(limits.admit(need(first=True)))
            await asyncio.sleep(0.1)
            limits.drain()
            with pytest.raises(Interrupted):
                await fresh
            limits.settle(permit, DONE)
            limits.settle(await begun, DONE)

        self.night(test, RateLimits(concurrency=1))

    def test_limiter_sends_one_probe_in_outage_and_lets_others_leave(self) -> None:
        async def test(limits: LocalLimiter) -> None:
            for permit in [await limits.admit(need()) for _ in range(8)]:
                limits.settle(permit, FAILED)
            began = now()
            with pytest.raises(EndpointDown):
                await limits.admit(need(), lambda: True)
            probe = await limits.admit(need())
            assert now() - began >= 0.4
            waiter = asyncio.create_task(limits.admit(need()))
            await asyncio.sleep(2.0)
            assert not waiter.done()
            limits.settle(probe, DONE)
            limits.settle(await waiter, DONE)

        self.night(test, RateLimits(requests_per_minute=60_000))

    def test_limiter_pauses_all_requests_on_429(self) -> None:
        async def test(limits: LocalLimiter) -> None:
            permit = await limits.admit(need())
            limits.settle(permit, Outcome(Billing.NOTHING, throttled=True, retry_after_s=3.0))
            began = now()
            passed: Permit = await limits.admit(need())
            assert 3.0 <= now() - began <= 3.2
            limits.settle(passed, DONE)

        self.night(test, RateLimits(requests_per_minute=6000))


class TestLocal(Contract):
    @asynccontextmanager
    async def made(self, rates: RateLimits, max_tokens: int | None, strict: bool) -> AsyncIterator[LocalLimiter]:
        ledger = Ledger(Never(), "never-written", "me", offload=inline, strict=strict)
        yield LocalLimiter(rates, Budget(ledger, max_tokens=max_tokens))


class TestLeased(Contract):
    @asynccontextmanager
    async def made(self, rates: RateLimits, max_tokens: int | None, strict: bool) -> AsyncIterator[LocalLimiter]:
        broker = broker_of(rates, workers=1, max_tokens=max_tokens)
        async with mate(broker, 1, rates, tokens_capped=max_tokens is not None, strict=strict) as one:
            yield one.limits[0]
