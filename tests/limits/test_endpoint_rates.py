"""Promise: each declared limit is charged the tokens it counts, corrected by the bill; others cost nothing."""

from __future__ import annotations

import asyncio

import pytest
from support.clock import nothing, run

from scorer.errors import TooLong
from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, Demand, LocalLimiter, Outcome, Permit, RateLimits
from scorer.limits.cooldown import Cooldown
from scorer.limits.endpoint_rates import EndpointRates, local_rates
from scorer.limits.rate_limits import TokenBucket
from scorer.output.ledger import Ledger
from scorer.usage import Usage

DEMAND = Demand(tokens=100, output_tokens=20, worst_tokens=200)


def test_endpoint_rates_charge_nothing_without_declared_rate() -> None:
    async def whole() -> None:
        assert local_rates(RateLimits(concurrency=3), asyncio.get_running_loop().time) is None
        ledger = Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False)
        limits = LocalLimiter(RateLimits(), Budget(ledger))
        permit = await limits.admit(Demand(10**9, 10**9, worst_tokens=2 * 10**9))
        assert permit.charge is None
        limits.settle(permit, Outcome(Billing.NOTHING, alive=True))

    run(whole())


@pytest.mark.parametrize(
    ("name", "charged", "billed"),
    [("tokens", 120.0, 90.0), ("input_tokens", 100.0, 70.0), ("output_tokens", 20.0, 20.0)],
)
def test_endpoint_rates_count_for_each_limit_its_own_tokens(name: str, charged: float, billed: float) -> None:
    """Unused output is refunded nowhere until the provider is seen to refund it."""
    now = 0.0
    bucket = TokenBucket(60_000, 1.0, lambda: now)
    full = bucket.level
    rates = EndpointRates({name: bucket}, None, lambda: now)
    assert rates.amounts(DEMAND) == {name: charged}
    assert rates.wait(DEMAND) is None
    charge = rates.take(DEMAND)
    assert bucket.level == full - charged
    answer = Outcome(Billing.KNOWN, usage=Usage(70, 5), alive=True)
    rates.settle(Permit(DEMAND, 0.0, charge=charge), answer, Cooldown())
    assert bucket.level == full - billed


def test_endpoint_rates_take_what_the_wait_just_before_found_and_another_demand_by_itself() -> None:
    rates = EndpointRates({"tokens": TokenBucket(60_000, 1.0, lambda: 0.0)}, None, lambda: 0.0)
    assert rates.wait(DEMAND) is None
    permit = Permit(DEMAND, 0.0, charge=rates.take(DEMAND))
    larger = Demand(tokens=200, output_tokens=30, worst_tokens=400)
    assert rates.take(larger).amounts == [230.0]
    rates.settle(permit, Outcome(Billing.KNOWN, usage=Usage(50, 5), alive=True), Cooldown())  # half of the estimate
    assert rates.wait(DEMAND) is None
    assert rates.take(DEMAND).amounts == list(rates.amounts(DEMAND).values()) == [70.0]


def test_endpoint_rates_name_first_exhausted_limit_with_its_wait() -> None:
    now = 0.0
    large, small = TokenBucket(60_000, 1.0, lambda: now), TokenBucket(600, 1.0, lambda: now)
    rates = EndpointRates({"tokens": large, "output_tokens": small}, None, lambda: now)
    while (hold := rates.wait(DEMAND)) is None:
        rates.take(DEMAND)
    assert hold[0] == "output_tokens_per_minute"
    assert 0 < hold[1] < 3
    with pytest.raises(TooLong, match=r"takes about 700 tokens; limits\.output_tokens_per_minute = 600"):
        rates.check_size(Demand(0, 700, worst_tokens=700))
