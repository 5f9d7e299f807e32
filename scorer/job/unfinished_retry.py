"""Ends a retry before it has scored all of its rows: another one replaces it, or its rows all fail alike.

What it stored counts; the rows that it did not reach keep the result that they had.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from contextlib import ExitStack

from scorer.build.plan import RunPlan
from scorer.errors import OutputError
from scorer.files.files import Files
from scorer.job.folder import make_store
from scorer.job.scoring_pass import StartedJob
from scorer.output.chunk_files import ChunkFiles
from scorer.output.manifest import Manifest, Revision
from scorer.processes.event_loop import run_blocking, threads
from scorer.types import Offload, Shard


async def replaced(plan: RunPlan, manifest: Manifest, asked: Revision, job: StartedJob) -> Manifest:
    """The manifest, not saved, with `asked` open instead of an unfinished retry of other rows or keys; else as it is.

    Raises OutputError where rows of the unfinished one may be in batches, and what `ended` raises.
    """
    unfinished, out = manifest.open_revision, job.layout.out
    if unfinished is None or not _replaces(asked, unfinished):
        return manifest
    if has_batches(job):
        raise OutputError(
            f"{out}: generation {unfinished.generation} of an earlier retry is not finished, and its batches are out. "
            f"Finish it first: `scorer retry {out}`, without --error, --set and --suspect."
        )
    say = job.callbacks.say
    manifest = await ended(plan, manifest, job.files, offload=job.offload, say=say, on_sealed=job.sealed)
    say(replaced_by(out, unfinished, "this one"))
    return manifest.opening(asked)


def replaced_by(out: str, unfinished: Revision, other: str) -> str:
    """The sentence that an unfinished retry is not finished any more, with its command."""
    return (
        f"The retry that was not finished (scorer retry {out}{_options(unfinished)}) is replaced by {other}. What it "
        "scored is kept; the rows that it did not reach keep the results that they had."
    )


def has_batches(job: StartedJob) -> bool:
    """Whether rows are in batches of a provider or of a person."""
    return ChunkFiles(job.files, job.layout.batches).any()


async def ended(
    plan: RunPlan,
    manifest: Manifest,
    files: Files,
    *,
    offload: Offload,
    say: Callable[[str], None],
    on_sealed: Callable[[Shard], None] = lambda _: None,
) -> Manifest:
    """The manifest, not saved, with its open generation closed: what that stored is in the sealed files. Sends nothing.

    `on_sealed` is called with each shard that is sealed. Raises OutputError for shards that could not be read.
    """
    revision, lost = manifest.open_revision, True
    if revision is None:
        return manifest
    while lost:  # a file that cannot be read back was set aside: the next look does without it
        store = make_store(plan, manifest, files, offload, say)
        store.on_sealed(on_sealed)
        store.open(revision.generation)
        again = store.again(manifest.shards, revision.generation, errors=())
        while (work := await offload(next, again, None)) is not None:
            if work.pause_s:
                await asyncio.sleep(work.pause_s)
        await store.close()
        if store.unread:
            raise OutputError("\n".join(store.unread[path] for path in sorted(store.unread)))
        lost = store.lost
    return manifest.finished(revision.generation)


def end_now(plan: RunPlan, manifest: Manifest, files: Files, say: Callable[[str], None]) -> None:
    """`ended`, blocking, for a command without an event loop."""

    async def on_threads() -> None:
        with ExitStack() as stack:
            await ended(plan, manifest, files, offload=threads(stack), say=say)

    run_blocking(on_threads())


def _replaces(asked: Revision, unfinished: Revision) -> bool:
    """Whether a retry asks for other rows or other keys than the unfinished one. Without options it finishes that."""
    if asked.errors is None and not asked.sets and asked.span is None:
        return False
    return _rows_and_keys(asked) != _rows_and_keys(unfinished)


def _rows_and_keys(revision: Revision) -> tuple[object, ...]:
    """What two retries are compared by. Not by their spans: while an alarm stands, one ends at the command's time."""
    errors = None if revision.errors is None else frozenset(revision.errors)
    return errors, revision.sets, revision.span is None


def _options(revision: Revision) -> str:
    """The options of the command that began a retry, each after a space."""
    suspect = ["--suspect"] if revision.span is not None else []
    pairs = [*(("--error", name) for name in revision.errors or ()), *(("--set", item) for item in revision.sets)]
    words = [*suspect, *(word for pair in pairs for word in pair)]
    return "".join(f" {shlex.quote(word)}" for word in words)
