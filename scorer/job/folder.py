"""Opens and closes what a start writes to in its output folder: the lock, the store, the ledger."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from scorer.build.open_run import OpenRun
from scorer.build.plan import ResultSchemas, RunPlan
from scorer.errors import StorageError
from scorer.files.files import Files, Lock
from scorer.files.locking import take_on_loop
from scorer.files.router import is_remote
from scorer.job.control import ChangeRecorder
from scorer.output.layout import Layout
from scorer.output.ledger import GATHER_S, Ledger
from scorer.output.lost_ledger import with_recovered_costs
from scorer.output.manifest import Manifest
from scorer.output.partial_rows import PartialRows
from scorer.output.progress import Progress
from scorer.output.run_files import RunFiles
from scorer.output.store import Store
from scorer.types import Offload

REMOTE_GATHER_S = 1.0
"""Interval of ledger writes on object storage, where each write is a paid request; only for entries with no waiter."""


def gather_s(layout: Layout) -> float:
    """Seconds between writes of the ledger."""
    return REMOTE_GATHER_S if is_remote(layout.out) else GATHER_S


async def lock(files: Files, layout: Layout, say: Callable[[str], None]) -> Lock:
    """Takes the folder's lock, in this process's name. Raises OutputError where a living process holds it."""
    owner = f"process {os.getpid()} on {platform.node()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return await take_on_loop(files, layout.lock, owner, say)


def make_store(plan: RunPlan, manifest: Manifest, files: Files, offload: Offload, say: Callable[[str], None]) -> Store:
    """The store of the run's results, not yet open."""
    output = plan.spec.output
    return Store(
        RunFiles(
            files,
            Layout(output.path),
            manifest.id,
            manifest.fingerprint,
            ResultSchemas(plan, files).of,
            selection=manifest.selection,
            edition=manifest.edition,
            judge=plan.fingerprint,
            judges=manifest.judges,
        ),
        offload=offload,
        flush_rows=output.flush_rows,
        flush_s=output.flush_s,
        say=say,
    )


def open_ledger(
    plan: RunPlan,
    manifest: Manifest,
    files: Files,
    *,
    offload: Offload,
    wall_s: Callable[[], float],
    say: Callable[[str], None],
) -> Ledger:
    """The ledger, open in this process's name; strict where there is a cap. Raises StorageError."""
    limits, layout = plan.spec.limits, Layout(plan.spec.output.path)
    owner = f"{int(wall_s() * 1000):013d}-{os.getpid()}"
    capped = limits.max_tokens is not None or limits.max_usd is not None
    ledger = Ledger(files, layout.ledger, owner, offload=offload, strict=capped, gather_s=gather_s(layout))
    ledger.open(with_recovered_costs(files, layout, manifest, say))
    return ledger


async def close(
    opened: OpenRun, partial: PartialRows, recorder: ChangeRecorder, progress: Progress, state: str
) -> None:
    """Stores finished rows and what is known of others, whatever ended the run. Raises StorageError."""
    try:
        await opened.store.close()
        await opened.offload(partial.close)
    finally:
        try:
            await opened.ledger.close()
        finally:
            await recorder.close()
            with suppress(StorageError):  # progress.json is only displayed; the next start writes it again
                await progress.tell(state)
