"""Promise: what workers spent in a folder that was deleted is said at the end, and counted by the next start."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest
from support.inprocess import Run, Wire
from support.inprocess_workers import in_this_process

from scorer.files import local_lock
from scorer.files.local_files import LocalFiles
from scorer.files.local_lock import FolderGone
from scorer.output import ledger
from scorer.types import Call, Reply

SPENT = re.compile(r"Spent until then: ([0-9,]+) tokens, .*, and possibly ([0-9,]+) tokens")
TOKENS = 12
"""The bill of a request."""


class SlowWire(Wire):
    """Bills a request as it comes, and answers a second later."""

    async def reply(self, call: Call, number: int) -> Reply:
        reply = await super().reply(call, number)
        await asyncio.sleep(1.0)
        return reply


@pytest.mark.parametrize("limits", [{}, {"max_tokens": None}], ids=["capped", "uncapped"])
def test_what_workers_spent_in_a_deleted_folder_is_said_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int | None]
) -> None:
    monkeypatch.setattr(local_lock, "LOOK_S", 0.0)
    run = Run(tmp_path, 80)
    run.limits, run.wire = {"concurrency": 8, **limits}, SlowWire()
    run.workers = in_this_process(monkeypatch, run.wire)

    def delete() -> None:
        if run.wire.asked.total() == 50:
            shutil.rmtree(run.out)

    run.wire.then = delete
    with pytest.raises(FolderGone) as ended:
        run.run()
    said = SPENT.search(str(ended.value))
    assert said is not None
    known, possible = (int(figure.replace(",", "")) for figure in said.groups())
    assert run.wire.billed < 80
    assert 0 < known < TOKENS * run.wire.billed, "some requests were in flight"
    assert TOKENS * run.wire.billed <= known + possible
    booked = ledger.totals(LocalFiles(), f"{run.out}/ledger")
    assert (booked.prompt_tokens + booked.completion_tokens, booked.maybe_tokens) == (known, possible)
    run.wire.then, run.workers = lambda: None, None
    run.run()
    run.exact()
    assert ledger.totals(LocalFiles(), f"{run.out}/ledger").tokens >= TOKENS * run.wire.billed
