"""Asks a provider for batches of a run that the run itself does not know: `scorer verify OUT --remote`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from datetime import UTC, datetime

from scorer.batch.model import BatchModel
from scorer.batch.reconcile import EARLIER_S
from scorer.batch.types import Batch, Gone, NotAccepted
from scorer.build.batch_models import MakeApi, batch_models
from scorer.build.plan import check
from scorer.errors import SetupError, TransientError
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.output.chunk_files import ChunkFiles
from scorer.output.layout import Layout
from scorer.output.manifest import load, no_run
from scorer.output.verify.folder import Verdict
from scorer.processes.event_loop import on_loop, threads
from scorer.types import Offload

PAUSES_S = (1.0, 2.0, 5.0, 10.0)
"""Seconds before a listing that was not answered is asked for again."""


@dataclass(frozen=True, slots=True)
class RemoteBatches:
    """`unknown` are sentences about batches of the run that it does not know, `unchecked` what cannot be said."""

    unknown: tuple[str, ...]
    unchecked: tuple[str, ...]


async def remote_batches(files: Files, out: str, offload: Offload, make_api: MakeApi | None = None) -> RemoteBatches:
    """Lists the provider's batches since the run began. Reads the output folder, writes nothing.

    Raises SpecError where the folder holds no run, SetupError for a wrong key or address, and where the provider does
    not answer.
    """
    layout = Layout(out)
    manifest = load(files, layout)
    if manifest is None:
        raise no_run(files, layout)
    chunks = ChunkFiles(files, layout.batches)
    known = chunks.closed()
    for chunk in chunks.found():
        known.setdefault(chunk.nonce, set()).update({chunk.batch_id, *chunk.twins})
    began = datetime.fromisoformat(manifest.created).timestamp() - EARLIER_S
    unknown: list[str] = []
    unchecked: list[str] = []
    async with AsyncExitStack() as stack:
        models = await batch_models(check(dict(manifest.spec)).spec, offload, stack, make_api)
        for model in models.values():
            batches = await _listed(model, began)
            if model.api.names:
                unknown += [
                    _sentence(batch)
                    for batch in batches
                    if (batch.nonce or "").startswith(f"{manifest.id}-")
                    and batch.id not in known.get(batch.nonce or "", ())
                ]
            else:
                ids = {id for found in known.values() for id in found}
                others = sum(batch.id not in ids for batch in batches)
                unchecked.append(
                    f"batches have no names there: of {len(batches)} since the run began, {others} are not known to "
                    "it, and whether one of them is of this run only its results tell"
                )
    return RemoteBatches(tuple(dict.fromkeys(unknown)), tuple(unchecked))


def asked_remotely(files: Files, out: str, verdict: Verdict) -> Verdict:
    """A verdict with what the provider says. Raises as `remote_batches` does."""

    async def asked() -> RemoteBatches:
        with ExitStack() as stack:
            return await remote_batches(files, out, threads(stack))

    found = on_loop(asked())
    findings, unchecked = (*verdict.findings, *found.unknown), (*verdict.unchecked, *found.unchecked)
    return replace(verdict, findings=findings, unchecked=unchecked)


async def _listed(model: BatchModel, since: float) -> list[Batch]:
    pauses = iter(PAUSES_S)
    while True:
        try:
            return [batch async for batch in model.api.listed(since)]
        except (TransientError, NotAccepted, Gone) as error:
            pause_s = next(pauses, None) if isinstance(error, TransientError) else None
            if pause_s is None:
                raise SetupError(f"The provider's batches could not be listed: {error}") from error
            await asyncio.sleep(pause_s)


def _sentence(batch: Batch) -> str:
    made = datetime.fromtimestamp(batch.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"batch {batch.id} at the provider, made {made} with {batch.requests:,} requests, is of this run "
        f"({batch.nonce}), and the run does not know it: what it cost is not in the ledger"
    )
