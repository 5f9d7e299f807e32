"""Promise: a judge that breaks off each row's first request costs that request, with a cap or without."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.inprocess import ROW, Run, Wire

from scorer.errors import Unreachable
from scorer.types import Call, Reply

ROWS = 120


class ResetsFirst(Wire):
    """Each row's first request is reset after it was sent; then it may be billed."""

    async def reply(self, call: Call, number: int) -> Reply:
        found = ROW.search(call.body)
        assert found is not None
        if self.asked[int(found[1])] == 0:
            self.asked[int(found[1])] += 1
            raise Unreachable("the connection was reset", billed=True)
        return await super().reply(call, number)


@pytest.mark.parametrize("cap", [None, 10**9])
def test_row_in_flight_gets_the_probe_of_an_outage_before_new_rows(tmp_path: Path, cap: int | None) -> None:
    run = Run(tmp_path, ROWS)
    run.wire = ResetsFirst()
    run.limits = {"concurrency": 16, "max_tokens": cap}
    status = run.run()
    assert status.maybe_billed_usd > 0
    assert (run.wire.asked.total(), run.wire.billed) == (2 * ROWS, ROWS)
    assert run.wire.sent_at[-1] < 30, "seconds: each outage that is none ends with its first probe"
    run.exact()
