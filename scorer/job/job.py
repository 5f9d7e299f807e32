"""Runs one job from its lock to its last sealed shard: opens the output folder, decides which rows, passes over them.

The only module that knows the order of these steps. scoring_pass.py has those of one pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext, suppress
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from scorer.build.assemble import make_client
from scorer.build.file_limit_checks import check_file_limit
from scorer.build.first_start import check_first_start
from scorer.build.plan import RunPlan
from scorer.errors import OutputError, StorageError, TooManyFailed
from scorer.files.files import Files
from scorer.frozen import replace
from scorer.job import folder
from scorer.job.callbacks import NO_CALLBACKS, Callbacks
from scorer.job.control import Control, described
from scorer.job.current_pass import CurrentPass
from scorer.job.forget import ALL, Choice
from scorer.job.make_scoring import ScoringMaker
from scorer.job.recovery import repair
from scorer.job.scoring import Connect
from scorer.job.scoring_pass import ScoringPass, StartedJob
from scorer.job.selecting import select
from scorer.job.start import open_manifest, stored_spec
from scorer.job.thread_refusals import thread_refusals
from scorer.output.canary_files import retried
from scorer.output.counts import SealedCounts
from scorer.output.layout import Layout
from scorer.output.manifest import Change, Manifest, Revision, save
from scorer.output.progress import note_error
from scorer.output.status import Status, status, within_share
from scorer.processes.event_loop import shielded, threads
from scorer.types import Offload

if TYPE_CHECKING:
    from scorer.build.batch_models import MakeApi
    from scorer.job.by_hand import ByHand
    from scorer.job.distributed_scoring import MakeLauncher
    from scorer.job.retry import Retry
    from scorer.job.stopping.running import StopRun
    from scorer.publish.during import Publishing

MAX_PASSES = 3
"""Most passes of one start: another pass scores the rows whose stored results were found damaged while sealing."""

ServeControl = Callable[[Control, str, str, Callable[[str], None]], AbstractAsyncContextManager[None]]
"""Serves the control of a run, by its id and its folder, while a block lasts: `control_socket.served`."""


class Job:
    """A plan, its input and its output folder. `run` may be called once.

    With `workers` > 1, or with `launcher`, rows are scored by worker processes; `launcher` says where these run. A
    simulation passes its own `offload`, `wall_s`, `connect` and `make_api`. `drain` is set by `stop`. With `by_hand`
    nothing is sent. `control` changes the run while it goes on; `serve_control` lets others use it while the folder's
    lock is held.
    """

    def __init__(
        self,
        plan: RunPlan,
        files: Files,
        *,
        callbacks: Callbacks = NO_CALLBACKS,
        workers: int = 1,
        launcher: MakeLauncher | None = None,
        offload: Offload | None = None,
        wall_s: Callable[[], float] = time.time,
        connect: Connect = make_client,
        make_api: MakeApi | None = None,
        by_hand: ByHand | None = None,
        serve_control: ServeControl | None = None,
    ) -> None:
        self.plan = plan
        self.layout = Layout(plan.spec.output.path)
        self._files = files
        self._callbacks = callbacks
        self._offload = offload
        self._wall_s = wall_s
        self._serve_control = serve_control
        self._scorings = ScoringMaker(
            plan.spec, workers=workers, launcher=launcher, connect=connect, make_api=make_api, by_hand=by_hand,
            answered=callbacks.answered,
        )  # fmt: skip
        self._current_pass = CurrentPass()
        self.drain = self._current_pass.drain
        self.control = Control(
            plan.spec.limits,
            apply=self._current_pass.apply,
            concurrency=lambda: self._current_pass.concurrency,
            tell=self._changed,
            wall_s=wall_s,
        )
        self._publishing: Publishing | None = None
        self._counted: SealedCounts | None = None

    def stop(self) -> None:
        """Starts no further row; rows in flight are finished."""
        self.drain.asked = True
        if self._publishing is not None:
            self._publishing.leave()
        self._current_pass.begin_no_row()

    def hurry(self) -> None:
        """Shortens the retries of failing storage, in workers too. Called before the job is cancelled on request."""
        self._current_pass.hurry()

    def _changed(self, change: Change) -> None:
        self._callbacks.say(described(change))
        self._callbacks.tell("changed", asdict(change))

    async def run(self, retry: Retry | None = None, choice: Choice = ALL) -> Status:
        """Scores the remaining rows and returns the status. `choice` removes shards from the run or adds them again.

        A retry keeps the run's sample. Raises InputError, OutputError, SetupError, BudgetSpent, StorageError,
        TooManyFailed, or Interrupted after `stop`. Finished rows are stored in each case, and also on cancellation,
        even a repeated one.
        """
        with thread_refusals(), ExitStack() as stack:
            offload = self._offload or threads(stack)
            await self._check_setup()
            lock = await folder.lock(self._files, self.layout, self._callbacks.say)
            stack.callback(lock.release)
            asked = None if retry is None else self._revision(retry)
            manifest = self._opened(asked, choice)
            stop = None
            if self.plan.spec.stop is not None:
                manifest, stop = self._question(manifest, choice.sample)
            async with self._published(manifest) as self._publishing, self._controlled(manifest):
                started = StartedJob(
                    self._files, self.layout, offload, self._wall_s, lock.sure, self._callbacks, choice,
                    datetime.fromisoformat(manifest.deadline[1]).timestamp() if manifest.deadline[1] else None,
                    self._scorings, self._current_pass, self.control, stop, self._publishing,
                )  # fmt: skip
                try:
                    await self._generations(started, manifest, asked)
                finally:
                    if stop is not None:
                        await shielded(_concluded(stop, offload))
                if stop is not None and retry is None:
                    await offload(stop.select)
            self._note_unpublished()
        found = within_share(
            status(self._files, self.layout.out, self._counted), self.plan.spec.limits.max_failed_share
        )
        if self._publishing is not None:
            self._publishing.check()
        return found

    # --- before rows are scored ---------------------------------------------------------------------------------------

    async def _check_setup(self) -> None:
        """Before a folder is made: a run that cannot begin leaves none."""
        if self._scorings.asks_from_here:
            check_file_limit(self.plan.spec, self._scorings.workers)
            if not self._files.find([self.layout.manifest]):
                await check_first_start(self.plan.spec)

    def _revision(self, retry: Retry) -> Revision:
        from scorer.job.retry import revision_of

        return revision_of(self.plan, retry)

    def _opened(self, asked: Revision | None, choice: Choice) -> Manifest:
        """The manifest of this start, written: its shards, its open generation, its kept columns, its selection.

        `asked` is opened unless an earlier retry is not finished.
        """
        plan, files, layout, say = self.plan, self._files, self.layout, self._callbacks.say
        now = datetime.fromtimestamp(self._wall_s()).astimezone()
        manifest = open_manifest(plan, files, layout, asked, say, choice, now)
        repair(files, layout, manifest, say)
        self.plan = plan = replace(plan, fingerprint=manifest.fingerprint)
        if manifest.kept != tuple(plan.spec.input.keep):
            from scorer.job.kept_columns import keep_columns

            manifest = keep_columns(plan, files, layout, manifest)
        if asked is not None and manifest.selection.stop is not None:
            return manifest
        sample = choice.sample if asked is None else manifest.selection.drawn_sample
        return select(plan, files, layout, manifest, sample)

    def _question(self, manifest: Manifest, sample: str | None) -> tuple[Manifest, StopRun]:
        """The manifest with the question of `[stop]` in it, and the question. The reader's thread asks for places."""
        from scorer.job.stopping import IN_FLIGHT, running

        current_pass = self._current_pass
        return running.begin(
            self.plan, self._files, self.layout, manifest, sample=sample,
            in_flight=lambda: current_pass.places or IN_FLIGHT, halt=current_pass.begin_no_row, say=self._callbacks.say,
        )  # fmt: skip

    def _controlled(self, manifest: Manifest) -> AbstractAsyncContextManager[None]:
        if self._serve_control is None:
            return nullcontext()
        return self._serve_control(self.control, manifest.id, self.layout.out, self._callbacks.say)

    # --- publishing ---------------------------------------------------------------------------------------------------

    def _published(self, manifest: Manifest) -> AbstractAsyncContextManager[Publishing | None]:
        """The run's publishing; None where it has no output.publish, and in a rehearsal."""
        output = self.plan.spec.output
        if output.publish is None or manifest.rehearsal:
            return nullcontext()
        from scorer.publish.during import publishing

        return publishing(self._files, self.layout, manifest, output.publish, output.partition_by, self._callbacks.tell)

    def _note_unpublished(self) -> None:
        """Writes to progress.json that shards were not published: its watchers end with its exit code."""
        try:
            if self._publishing is not None:
                self._publishing.check()
        except StorageError as error:
            note_error(self._files, self.layout.progress, error)

    # --- passes -------------------------------------------------------------------------------------------------------

    async def _generations(self, started: StartedJob, manifest: Manifest, asked: Revision | None) -> None:
        """The rows of a retry with its own keys first, then those of the run. `asked` is that of `scorer retry`."""
        again_only, plan = asked is not None, self.plan
        if asked is not None:
            from scorer.job.unfinished_retry import replaced

            before, manifest = manifest, await replaced(plan, manifest, asked, started)
            if manifest is not before:
                self._save(manifest)
        revision = manifest.open_revision
        if revision is not None and revision.sets:
            from scorer.job.retry import with_sets

            other = with_sets(plan, revision.sets)
            other = replace(other, fingerprint=revision.judge or manifest.fingerprint)
            manifest = await self._passes(started, other, replace(manifest, spec=stored_spec(other)), again_only=True)
            if again_only:
                return
        await self._passes(started, plan, manifest, again_only=again_only)

    async def _passes(self, started: StartedJob, plan: RunPlan, manifest: Manifest, *, again_only: bool) -> Manifest:
        """Passes over the rows until all of them have a result that can be read back.

        Returns the manifest, written, without an open generation. Where all rows fail alike, that is closed as well.
        """
        for _ in range(MAX_PASSES):
            scoring_pass = ScoringPass(plan, manifest, started, again_only=again_only)
            self._counted = scoring_pass.counted
            try:
                if not await scoring_pass.run():
                    break
            except TooManyFailed:
                with suppress(OutputError, StorageError):  # else the next start goes on with the generation
                    await shielded(self._end_retry(started, manifest))
                raise
        else:
            raise OutputError(
                f"{self.layout.out}: {MAX_PASSES} times in a row, files that were just written could not be read back. "
                f"Check the disk. The damaged files are in {self.layout.damaged}. The same command resumes."
            )
        revision = manifest.open_revision
        if revision is None:
            return manifest
        manifest = self._closed(manifest.finished(revision.generation))
        if revision.span is not None:
            retried(self._files, self.layout)
        return manifest

    async def _end_retry(self, started: StartedJob, manifest: Manifest) -> None:
        """Closes an open generation early, so that no later start has to go through all of its rows first."""
        from scorer.job.unfinished_retry import ended, has_batches

        if manifest.open_revision is not None and not has_batches(started):
            say, files = self._callbacks.say, self._files
            self._closed(
                await ended(self.plan, manifest, files, offload=started.offload, say=say, on_sealed=started.sealed)
            )

    def _closed(self, manifest: Manifest) -> Manifest:
        """The manifest, written, with the run's keys instead of those of a retry."""
        manifest = replace(manifest, spec=stored_spec(self.plan))
        self._save(manifest)
        return manifest

    def _save(self, manifest: Manifest) -> None:
        """Writes run.json, with the changes of this start in it."""
        save(self._files, self.layout, replace(manifest, changes=(*manifest.changes, *self.control.changes)))


async def _concluded(stop: StopRun, offload: Offload) -> None:
    """Writes the answer of the stored results, whatever ended the run."""
    await offload(stop.conclude)
