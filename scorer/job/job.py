"""Runs one job from its lock to its last sealed shard: opens the output, starts the services, scores the rows.

The only module that knows the order of these steps, and longer than others because it is one sequence. The store says
which rows to score; scoring.py scores them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, nullcontext
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from scorer.build.assemble import make_client
from scorer.build.endpoints import most_workers
from scorer.build.model_endpoints import check_fleets, check_keys
from scorer.build.open_run import OpenRun
from scorer.build.plan import RunPlan
from scorer.build.row_metrics import make_measure
from scorer.engine import engine
from scorer.engine.background import Service, Watch, served
from scorer.errors import Interrupted, OutputError, ScorerError, SetupError, StorageError
from scorer.files.files import Files
from scorer.frozen import dataclass, replace
from scorer.job import folder
from scorer.job.control import ChangeRecorder, Control, described
from scorer.job.first_answer import FirstAnswer, first_answer_of
from scorer.job.forget import ALL, Choice
from scorer.job.kept_columns import keep_columns
from scorer.job.recovery import repair
from scorer.job.retry import Retry, check_open, revision_of, with_sets
from scorer.job.scoring import Connect, LocalScoring, Range, Scoring
from scorer.job.selecting import select
from scorer.job.start import open_manifest, stored_spec
from scorer.job.stopping import IN_FLIGHT
from scorer.limits.live_settings import LiveSettings
from scorer.output.canary_files import load_state, retried
from scorer.output.chunk_files import ChunkFiles
from scorer.output.counts import SealedCounts
from scorer.output.layout import Layout
from scorer.output.manifest import Change, Manifest, save
from scorer.output.partial_rows import PartialRows
from scorer.output.progress import Progress, RunCounters, Snapshot, Snapshots, note_error
from scorer.output.status import Status, history_of, status, within_share
from scorer.output.store import Store
from scorer.processes.event_loop import shielded, threads
from scorer.types import Offload, Shard, Work

if TYPE_CHECKING:
    from scorer.build.batch_models import MakeApi
    from scorer.canaries.watching import Canaries
    from scorer.job.by_hand import ByHand
    from scorer.job.distributed_scoring import MakeLauncher
    from scorer.job.stopping.running import StopRun
    from scorer.publish.during import Publishing, Tell

MAX_ROUNDS = 3
"""Most passes of one start: another pass scores the rows whose stored results were found damaged while sealing."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The callbacks of a run.

    `watch` gets a snapshot every second. `say` gets a sentence about each repair and warning, on any thread. `tell`
    gets each event (a shard is sealed or published) as a name and its fields. `answered` gets the latency in seconds of
    each request of this process.
    """

    watch: Callable[[Snapshot], None] | None = None
    say: Callable[[str], None] = lambda _: None
    tell: Tell = lambda _name, _fields: None
    answered: Callable[[float], None] | None = None


NO_CALLBACKS = Callbacks()
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
        self.drain = engine.StopFlag()
        self._halt = engine.StopFlag()
        self._stop: StopRun | None = None
        self.plan = plan
        self.layout = Layout(plan.spec.output.path)
        self._files = files
        self._callbacks = callbacks
        self._workers = most_workers(plan.spec, workers)
        self._launcher = launcher
        self._asks_from_here = launcher is None and by_hand is None
        if launcher is None and self._workers > 1:
            from scorer.workers.subprocesses import SubprocessLauncher

            self._launcher = SubprocessLauncher
        self._offload = offload
        self._wall_s = wall_s
        self._connect = connect
        self._make_api = make_api
        self._by_hand = by_hand
        self._publishing: Publishing | None = None
        self._scoring: Scoring | None = None
        self._first: FirstAnswer | None = None
        self._serve_control = serve_control
        self.control = Control(
            plan.spec.limits,
            apply=self._apply,
            concurrency=lambda: Range() if self._scoring is None else self._scoring.concurrency,
            tell=self._changed,
            wall_s=wall_s,
        )
        self._choice = ALL
        self._deadline: float | None = None
        self._recorder: ChangeRecorder | None = None
        self._error: ScorerError | None = None
        self._why: str | None = None
        self._counted: SealedCounts | None = None

    def stop(self) -> None:
        """Starts no further row; rows in flight are finished."""
        self.drain.asked = True
        if self._publishing is not None:
            self._publishing.leave()
        self._begin_no_row()

    def _begin_no_row(self) -> None:
        self._halt.asked = True
        if self._scoring is not None:
            self._scoring.drain()

    def _apply(self, settings: LiveSettings) -> None:
        if self._scoring is not None:
            self._scoring.apply(settings)

    def _changed(self, change: Change) -> None:
        self._callbacks.say(described(change))
        self._callbacks.tell("changed", asdict(change))
        if self._recorder is not None:
            self._recorder.wake()

    def hurry(self) -> None:
        """Shortens the retries of failing storage, in workers too. Called before the job is cancelled on request."""
        if self._scoring is not None:
            self._scoring.hurry()

    async def run(self, retry: Retry | None = None, choice: Choice = ALL) -> Status:
        """Scores the remaining rows and returns the status. `choice` removes shards from the run or adds them again.

        A retry keeps the run's sample. Raises InputError, OutputError, SetupError, BudgetSpent, StorageError,
        TooManyFailed, or Interrupted after `stop`. Finished rows are stored in each case, and also on cancellation,
        even a repeated one.
        """
        self._choice = choice
        with ExitStack() as stack:
            offload = self._offload or threads(stack)
            await self._check_setup()
            lock = await folder.lock(self._files, self.layout, self._callbacks.say)
            stack.callback(lock.release)
            opened = None if retry is None else revision_of(self.plan, retry)
            now = datetime.fromtimestamp(self._wall_s()).astimezone()
            manifest = open_manifest(self.plan, self._files, self.layout, opened, self._callbacks.say, choice, now)
            self._deadline = datetime.fromisoformat(manifest.deadline[1]).timestamp() if manifest.deadline[1] else None
            repair(self._files, self.layout, manifest, self._callbacks.say)
            if retry is not None:
                check_open(manifest, retry, self.layout.out)
            self.plan = replace(self.plan, fingerprint=manifest.fingerprint)
            manifest = keep_columns(self.plan, self._files, self.layout, manifest)
            if retry is None or manifest.selection.stop is None:
                sample = choice.sample if retry is None else manifest.selection.drawn_sample
                manifest = select(self.plan, self._files, self.layout, manifest, sample)
            if self.plan.spec.stop is not None:
                manifest = self._question(manifest, choice.sample)
            async with self._published(manifest) as self._publishing, self._controlled(manifest):
                try:
                    await self._generations(manifest, retry, offload, lock.sure)
                finally:
                    if self._stop is not None:
                        await shielded(self._conclude(self._stop, offload))
                if self._stop is not None and retry is None:
                    await offload(self._stop.select)
            self._note_unpublished()
        found = within_share(
            status(self._files, self.layout.out, self._counted), self.plan.spec.limits.max_failed_share
        )
        if self._publishing is not None:
            self._publishing.check()
        return found

    async def _check_setup(self) -> None:
        """Looks for keys and the replicas of fleets before a folder is made: a run that cannot begin leaves none."""
        if self._asks_from_here and not self._files.find([self.layout.manifest]):
            check_keys(self.plan.spec)
            await check_fleets(self.plan.spec)

    def _question(self, manifest: Manifest, sample: str | None) -> Manifest:
        """The manifest with the question of `[stop]` in it."""
        from scorer.job.stopping import running

        manifest, self._stop = running.begin(
            self.plan, self._files, self.layout, manifest, sample=sample, in_flight=self._in_flight,
            halt=self._begin_no_row, say=self._callbacks.say,
        )  # fmt: skip
        return manifest

    async def _conclude(self, stop: StopRun, offload: Offload) -> None:
        """Writes the answer of the stored results, whatever ended the run."""
        await offload(stop.conclude)

    def _in_flight(self) -> int:
        """How many requests may be in flight. The reader's thread asks."""
        return (self._scoring.places if self._scoring is not None else 0) or IN_FLIGHT

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

    def _controlled(self, manifest: Manifest) -> AbstractAsyncContextManager[None]:
        if self._serve_control is None:
            return nullcontext()
        return self._serve_control(self.control, manifest.id, self.layout.out, self._callbacks.say)

    async def _generations(
        self, manifest: Manifest, retry: Retry | None, offload: Offload, owned: Callable[[], bool]
    ) -> None:
        """The rows of a retry with its own keys first, then those of the run."""
        revision, plan = manifest.open_revision, self.plan
        if revision is not None and revision.sets:
            other = with_sets(plan, revision.sets)
            self.plan = replace(other, fingerprint=revision.judge or manifest.fingerprint)
            changed = replace(manifest, spec=stored_spec(other))
            await self._rounds(changed, Retry(revision.errors, revision.sets), offload, owned)
            manifest, self.plan = replace(manifest.finished(revision.generation), spec=stored_spec(plan)), plan
            self._save(manifest)
        if retry is None or revision is None or not revision.sets:
            await self._rounds(manifest, retry, offload, owned)

    async def _rounds(
        self, manifest: Manifest, retry: Retry | None, offload: Offload, owned: Callable[[], bool]
    ) -> None:
        for _ in range(MAX_ROUNDS):
            if not await self._score(manifest, retry, offload, owned):
                return
        raise OutputError(
            f"{self.layout.out}: {MAX_ROUNDS} times in a row, files that were just written could not be read back. "
            f"Check the disk. The damaged files are in {self.layout.damaged}. The same command resumes."
        )

    # --- scoring ------------------------------------------------------------------------------------------------------

    async def _score(
        self, manifest: Manifest, retry: Retry | None, offload: Offload, owned: Callable[[], bool]
    ) -> bool:
        """Scores the remaining rows. True where damaged results were found, whose rows are then unfinished."""
        plan, spec = self.plan, self.plan.spec
        chunks = ChunkFiles(self._files, self.layout.batches).any()
        chunks = chunks or self._by_hand is not None
        here = self._launcher is None or chunks or spec.batched
        async with AsyncExitStack() as ended_last:
            store = folder.make_store(plan, manifest, self._files, offload, self._callbacks.say)
            store.on_sealed(self._sealed)
            self._counted = store.counted
            revision = manifest.open_revision
            store.open(revision.generation if revision is not None else None)
            stop = self._stop if retry is None else None
            if stop is not None:
                stop.restart()
                store.on_row = stop.finished
                if revision is None and not chunks and stop.early.over and not stop.finished_shards(store):
                    return False
                self._halt.asked = self.drain.asked or (chunks and stop.early.over)
            doubted = spec.canary is not None and load_state(self._files, self.layout).standing is not None
            if revision is None and not chunks and not doubted and all(map(store.sealed, manifest.shards)):
                return False
            if self._asks_from_here:
                check_keys(spec)  # before anything is written
            if here:
                store.measure_with(make_measure(spec, ended_last, say=self._callbacks.say))
            ledger = folder.open_ledger(
                plan, manifest, self._files, offload=offload, wall_s=self._wall_s, say=self._callbacks.say
            )
            partial = PartialRows(self._files, self.layout.partial, plan.fingerprint, say=self._callbacks.say)
            await offload(partial.open)
            opened = OpenRun(
                plan, manifest, self._files, self.layout, store, ledger, partial, offload,
                wall_s=self._wall_s, owned=owned, say=self._callbacks.say,
            )  # fmt: skip
            canaries = await self._canaries_of(opened)

            def lost() -> bool:
                return bool(store.unread or scoring.unread)

            batches = chunks or spec.batched
            scoring = self._scoring = (
                self._batch_scoring(opened, canaries, stop, lost) if batches else self._scoring_of(opened, canaries)
            )
            scoring.apply(self.control.settings)
            recorder = self._recorder = ChangeRecorder(
                self.control, self._files, self.layout, offload=offload, owned=owned, say=self._callbacks.say
            )
            first = self._first = first_answer_of(opened, scoring)
            snapshots = Snapshots(
                self._counters(opened, scoring),
                rows_total=manifest.rows,
                wall_s=self._wall_s,
                say=self._callbacks.say,
                history=history_of(self._files, self.layout),
            )
            progress = Progress(
                snapshots, self._files, self.layout.progress, offload=offload, watch=self._callbacks.watch
            )
            state = "stopped"

            try:
                async with AsyncExitStack() as stack:
                    scored, checks = await scoring.begin(self._work(store, manifest, retry, lost, waves=batches), stack)
                    if self.drain.asked:
                        scoring.drain()
                    services: list[Service] = [store, ledger, progress, recorder]
                    if stop is not None:
                        services.append(stop.writer(offload))
                        checks = [*checks, stop.check]
                    if canaries is not None:
                        services.append(canaries)
                        store.on_room(canaries.wake)  # a kill costs canaries no more than rows
                    await served(scored, [*services, Watch([*checks, owned, first.check])])
                if canaries is not None:
                    canaries.check()
                if stop is not None:
                    stop.check()
                unread = {**store.unread, **scoring.unread}
                state = "interrupted" if self.drain.asked else "stopped" if unread else "complete"
            except (asyncio.CancelledError, Interrupted):
                state = "interrupted"
                raise
            except ScorerError as error:
                self._error = error
                self._why = str(error) if isinstance(error, SetupError) else None
                raise
            finally:
                if canaries is not None:
                    await shielded(canaries.close())
                await shielded(folder.close(opened, partial, recorder, progress, state), failure_first=True)
        if self.drain.asked:
            raise Interrupted("Stopped on request. Finished rows are stored; the same command resumes.")
        if unread:
            raise OutputError("\n".join(unread[path] for path in sorted(unread)) + " All other shards are scored.")
        if revision is not None and not store.lost and not revision.sets:
            self._save(manifest.finished(revision.generation))
            if revision.span is not None:
                retried(self._files, self.layout)
        return store.lost

    def _save(self, manifest: Manifest) -> None:
        """Writes run.json, with the changes of this start in it."""
        save(self._files, self.layout, replace(manifest, changes=(*manifest.changes, *self.control.changes)))

    async def _canaries_of(self, opened: OpenRun) -> Canaries | None:
        """The canaries of this start; None without [canary], and in a rehearsal."""
        canary = self.plan.spec.canary
        if canary is None or opened.manifest.rehearsal:
            return None
        from scorer.canaries.known_rows import known_rows
        from scorer.canaries.watching import Canaries

        known = await opened.offload(known_rows, self.plan, self._files, canary, self._callbacks.say)
        return Canaries(opened, canary, known, self._halt, self._begin_no_row, accept=self._choice.accept_drift)

    def _batch_scoring(
        self, opened: OpenRun, canaries: Canaries | None, stop: StopRun | None, lost: Callable[[], bool]
    ) -> Scoring:
        from scorer.job.batch_scoring import BatchScoring

        def next_wave(batched: bool) -> Iterator[Work] | None:
            return None if stop is None else stop.wave(opened.store, lost, batched=batched)

        return BatchScoring(
            opened,
            self.drain,
            self._halt,
            next_wave=next_wave,
            connect=self._connect,
            answered=self._callbacks.answered,
            waiting=self._choice.waiting,
            deadline=self._deadline,
            submits=self.plan.spec.batched,
            make_api=self._make_api,
            by_hand=self._by_hand,
            canaries=canaries,
        )

    def _scoring_of(self, opened: OpenRun, canaries: Canaries | None) -> Scoring:
        if self._launcher is None:
            return LocalScoring(
                opened, self._halt, connect=self._connect, answered=self._callbacks.answered, mixed=canaries
            )
        from scorer.job.distributed_scoring import DistributedScoring

        return DistributedScoring(
            opened,
            self._launcher,
            workers=self._workers,
            gather_s=folder.gather_s(self.layout),
            canaries=canaries,
            connect=self._connect,
            drain=self._halt,
        )

    def _sealed(self, shard: Shard) -> None:
        self._callbacks.tell("sealed", {"shard": shard.path, "rows": shard.rows})
        if self._publishing is not None:
            self._publishing.sealed(shard)

    def _counters(self, opened: OpenRun, scoring: Scoring) -> Callable[[], RunCounters]:
        store, declared = opened.store, self.plan.spec.declared_limits
        rows_of = opened.manifest.selection.rows_of
        before = sum(rows_of(shard) for shard in opened.manifest.shards if store.sealed(shard))

        def counters() -> RunCounters:
            load, publishing = scoring.load, self._publishing
            return RunCounters(
                counts=store.counts,
                totals=scoring.totals,
                load=load,
                found=before + store.found,
                answered=self._first is not None and self._first.answered,
                why=self._why or load.why,
                to_publish=publishing.pending if publishing is not None else 0,
                publish_problem=publishing.problem if publishing is not None else None,
                limits={**declared, **{name.removeprefix("limits."): cap for name, cap in self.control.caps.items()}},
                last_change=self.control.last,
                last_change_at=self.control.last_at,
                error=self._error,
                batches=scoring.batches,
            )

        return counters

    def _work(
        self, store: Store, manifest: Manifest, retry: Retry | None, lost: Callable[[], bool], *, waves: bool
    ) -> Iterator[Work]:
        """The rows to score; with `waves` those of the question come later."""
        revision = manifest.open_revision
        again: Iterator[Work] = iter(())
        if revision is not None:
            again = store.again(manifest.shards, revision.generation, revision.errors, revision.span)
        if retry is not None:
            return again
        if self._stop is None:
            return chain(again, store.work(manifest.shards))
        return chain(again, self._stop.opened(store) if waves else self._stop.work(store, lost))
