"""Promise: an owner that may have been replaced sends no request, and stops once it knows."""

from __future__ import annotations

import asyncio

import pytest
from support import clock
from support.clock import inline

from scorer.errors import OutputError
from scorer.files.local_files import LocalFiles
from scorer.limits import Budget, LocalLimiter
from scorer.limits.rate_limits import RateLimits
from scorer.limits.types import Billing, Demand, Outcome
from scorer.output.ledger import Ledger

NEED = Demand(tokens=10, output_tokens=10, worst_tokens=20, worst_pico=0, first=True)


class Lock:
    """A lock whose holder is sure of it, is not, or has lost it."""

    def __init__(self) -> None:
        self.holds: bool | None = True

    def sure(self) -> bool:
        if self.holds is None:
            raise OutputError("taken over")
        return self.holds


@pytest.mark.parametrize("capped", [True, False])
def test_limiter_admits_nothing_while_the_lock_is_unsure(capped: bool, tmp_path: object) -> None:
    async def night() -> None:
        lock = Lock()
        ledger = Ledger(LocalFiles(), f"{tmp_path}/ledger", "me", offload=inline, strict=capped)
        limits = LocalLimiter(
            RateLimits(concurrency=2), Budget(ledger, max_tokens=10**6 if capped else None, owned=lock.sure)
        )
        sent = [await limits.admit(NEED) for _ in range(2)]
        waiting = [asyncio.ensure_future(limits.admit(NEED)) for _ in range(3)]
        await asyncio.sleep(1)  # capped, those wait behind the ledger already
        lock.holds = False
        for permit in sent:
            limits.settle(permit, Outcome(Billing.NOTHING))
        await asyncio.sleep(60)
        assert not any(one.done() for one in waiting)
        assert limits.waits.shares()["lock"] == pytest.approx(1.0, abs=0.05)
        lock.holds = True
        await asyncio.sleep(1)
        assert [one.done() for one in waiting] == [True, True, False]
        lock.holds = None
        limits.settle(waiting[0].result(), Outcome(Billing.NOTHING))
        with pytest.raises(OutputError, match="taken over"):
            await waiting[2]
        with pytest.raises(OutputError, match="taken over"):
            await limits.admit(NEED)

    clock.run(night())
