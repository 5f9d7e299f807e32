"""One pass over the rows without a result: opens the store and the ledger, starts the services, scores, closes.

`Job` decides which passes there are, make_scoring.py how their rows are scored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from itertools import chain
from typing import TYPE_CHECKING

from scorer.build.model_endpoints import check_keys
from scorer.build.open_run import OpenRun
from scorer.build.plan import RunPlan
from scorer.build.row_metrics import make_measure
from scorer.config.model_prices import tariff
from scorer.engine.background import Service, Watch, served
from scorer.errors import Interrupted, OutputError, ScorerError, SetupError
from scorer.files.files import Files
from scorer.files.local_lock import LOOK_S, FolderGone
from scorer.frozen import dataclass
from scorer.job import folder
from scorer.job.callbacks import Callbacks
from scorer.job.control import ChangeRecorder, Control
from scorer.job.current_pass import CurrentPass
from scorer.job.first_answer import FirstAnswer, first_answer_of
from scorer.job.forget import Choice
from scorer.job.make_scoring import ScoringMaker
from scorer.job.scoring import Scoring
from scorer.output.canary_files import load_state
from scorer.output.chunk_files import ChunkFiles
from scorer.output.layout import Layout
from scorer.output.ledger_totals import Totals
from scorer.output.manifest import Manifest
from scorer.output.partial_rows import PartialRows
from scorer.output.progress import Progress, RunCounters, Snapshots
from scorer.output.status import history_of
from scorer.processes.event_loop import shielded
from scorer.types import Offload, Shard, Work

if TYPE_CHECKING:
    from scorer.canaries.watching import Canaries
    from scorer.job.stopping.running import StopRun
    from scorer.publish.during import Publishing


@dataclass(frozen=True, slots=True)
class StartedJob:
    """What all passes of a start share. `deadline` is in seconds since 1970; `owned` is that of `OpenRun`.

    `stop` is the question of `[stop]`, and `publishing` that of `output.publish`; None without.
    """

    files: Files
    layout: Layout
    offload: Offload
    wall_s: Callable[[], float]
    owned: Callable[[], bool]
    callbacks: Callbacks
    choice: Choice
    deadline: float | None
    scorings: ScoringMaker
    current_pass: CurrentPass
    control: Control
    stop: StopRun | None
    publishing: Publishing | None

    def sealed(self, shard: Shard) -> None:
        """Tells of a shard that was sealed, and publishes it."""
        self.callbacks.tell("sealed", {"shard": shard.path, "rows": shard.rows})
        if self.publishing is not None:
            self.publishing.sealed(shard)


class ScoringPass:
    """Scores the rows of `manifest` that have no result, those of an open generation first. `run` may be called once.

    `again_only`: scores those of the open generation and no others.
    """

    def __init__(self, plan: RunPlan, manifest: Manifest, job: StartedJob, *, again_only: bool) -> None:
        self._plan = plan
        self._manifest = manifest
        self._job = job
        self._again_only = again_only
        self._stop = None if again_only else job.stop
        self._store = folder.make_store(plan, manifest, job.files, job.offload, job.callbacks.say)
        self._error: ScorerError | None = None
        self.counted = self._store.counted
        """Counts of the sealed shards, by their files."""

    async def run(self) -> bool:
        """Scores the rows. True where stored results were found damaged, whose rows are then unfinished.

        Raises Interrupted where the run is to stop, OutputError for shards that could not be read, and what a run
        raises. Finished rows are stored in each case.
        """
        job, store, spec = self._job, self._store, self._plan.spec
        store.on_sealed(job.sealed)
        revision = self._manifest.open_revision
        store.open(revision.generation if revision is not None else None)
        out = ChunkFiles(job.files, job.layout.batches).any() or job.scorings.by_hand is not None
        if not self._rows_left(out):
            return False
        batches = out or spec.batched
        if job.scorings.asks_from_here:
            check_keys(spec)  # before anything is written
        async with AsyncExitStack() as ended_last:
            if job.scorings.in_this_process(batches=batches):
                store.measure_with(make_measure(spec, ended_last, say=job.callbacks.say))
            unread = await self._score(batches=batches)
        if job.current_pass.drain.asked:
            raise Interrupted("Stopped on request. Finished rows are stored; the same command resumes.")
        if unread:
            raise OutputError("\n".join(unread[path] for path in sorted(unread)) + " All other shards are scored.")
        return store.lost

    def _rows_left(self, out: bool) -> bool:
        """True where something is left to do. `out`: rows are in batches of a provider or of a person."""
        job, store, stop = self._job, self._store, self._stop
        again = self._manifest.open_revision is not None
        if stop is not None:
            stop.restart()
            store.on_row = stop.finished
            if not again and not out and stop.early.over and not stop.finished_shards(store):
                return False
            job.current_pass.halt.asked = job.current_pass.drain.asked or (out and stop.early.over)
        if again or out or not all(map(store.sealed, self._manifest.shards)):
            return True
        return self._plan.spec.canary is not None and load_state(job.files, job.layout).standing is not None

    async def _score(self, *, batches: bool) -> dict[str, str]:
        """Scores, and closes what it opened. Returns why shards could not be read, by their paths."""
        job, store, stop = self._job, self._store, self._stop
        ledger = folder.open_ledger(
            self._plan, self._manifest, job.files, offload=job.offload, wall_s=job.wall_s, say=job.callbacks.say
        )
        store.write_after(ledger.costs_written)
        partial = PartialRows(job.files, job.layout.partial, self._plan.fingerprint, say=job.callbacks.say)
        await job.offload(partial.open)
        opened = OpenRun(
            self._plan, self._manifest, job.files, job.layout, store, ledger, partial, job.offload,
            wall_s=job.wall_s, owned=job.owned, say=job.callbacks.say,
        )  # fmt: skip
        canaries = await self._canaries(opened)

        def lost() -> bool:
            return bool(store.unread or scoring.unread)

        def next_wave(batched: bool) -> Iterator[Work] | None:
            return None if stop is None else stop.wave(store, lost, batched=batched)

        scoring = job.current_pass.scoring = job.scorings.make(
            opened, job.current_pass, job.choice,
            batches=batches, deadline=job.deadline, next_wave=next_wave, canaries=canaries,
        )  # fmt: skip
        scoring.apply(job.control.settings)
        recorder = ChangeRecorder(
            job.control, job.files, job.layout, offload=job.offload, owned=job.owned, say=job.callbacks.say
        )
        job.control.on_change = recorder.wake
        first = first_answer_of(opened, scoring)
        progress = self._progress(opened, scoring, first)
        state = "stopped"
        try:
            async with AsyncExitStack() as stack:
                scored, checks = await scoring.begin(self._work(lost, waves=batches), stack)
                if job.current_pass.drain.asked:
                    scoring.drain()
                services: list[Service] = [store, ledger, progress, recorder]
                if stop is not None:
                    services.append(stop.writer(job.offload))
                    checks = [*checks, stop.check]
                if canaries is not None:
                    services.append(canaries)
                    store.on_room(canaries.wake)  # a kill costs canaries no more than rows
                await served(scored, [*services, Watch([*checks, job.owned, first.check])])
            if canaries is not None:
                canaries.check()
            if stop is not None:
                stop.check()
            unread = {**store.unread, **scoring.unread}
            state = "interrupted" if job.current_pass.drain.asked else "stopped" if unread else "complete"
            return unread
        except (asyncio.CancelledError, Interrupted):
            state = "interrupted"
            raise
        except ScorerError as error:
            self._error = error
            await self._check_folder(scoring)
            raise
        finally:
            if canaries is not None:
                await shielded(canaries.close())
            try:
                await shielded(folder.close(opened, partial, recorder, progress, state), failure_first=True)
            except ScorerError:
                await self._check_folder(scoring)
                raise

    async def _check_folder(self, scoring: Scoring) -> None:
        """Raises FolderGone, with what was spent, where the folder was deleted: another failure may come of that."""
        await asyncio.sleep(LOOK_S)  # so that the lock looks again
        try:
            self._job.owned()
        except FolderGone as error:
            self._error = FolderGone(f"{error} {_spent(scoring.totals)} The next start in this folder counts it.")
            raise self._error from error
        except ScorerError:
            pass

    def _work(self, lost: Callable[[], bool], *, waves: bool) -> Iterator[Work]:
        """The rows to score; with `waves` those of the question come later."""
        store, shards, revision = self._store, self._manifest.shards, self._manifest.open_revision
        again: Iterator[Work] = iter(())
        if revision is not None:
            again = store.again(shards, revision.generation, revision.errors, revision.span)
        if self._again_only:
            return again
        if self._stop is None:
            return chain(again, store.work(shards))
        return chain(again, self._stop.opened(store) if waves else self._stop.work(store, lost))

    async def _canaries(self, opened: OpenRun) -> Canaries | None:
        """The canaries of this start; None without [canary], and in a rehearsal."""
        canary, job = self._plan.spec.canary, self._job
        if canary is None or opened.manifest.rehearsal:
            return None
        from scorer.canaries.known_rows import known_rows
        from scorer.canaries.watching import Canaries

        known = await job.offload(known_rows, self._plan, job.files, canary, job.callbacks.say)
        current_pass = job.current_pass
        return Canaries(
            opened, canary, known, current_pass.halt, current_pass.begin_no_row, accept=job.choice.accept_drift
        )

    # --- progress -----------------------------------------------------------------------------------------------------

    def _progress(self, opened: OpenRun, scoring: Scoring, first: FirstAnswer) -> Progress:
        job = self._job
        snapshots = Snapshots(
            self._counters(scoring, first),
            rows_total=self._manifest.rows,
            wall_s=job.wall_s,
            say=job.callbacks.say,
            history=history_of(job.files, job.layout),
        )
        return Progress(snapshots, job.files, job.layout.progress, offload=job.offload, watch=job.callbacks.watch)

    def _counters(self, scoring: Scoring, first: FirstAnswer) -> Callable[[], RunCounters]:
        store, control, publishing = self._store, self._job.control, self._job.publishing
        declared, rows_of = self._plan.spec.declared_limits, self._manifest.selection.rows_of
        priced = all(tariff(model) is not None for model in self._plan.spec.all_models)
        before = sum(rows_of(shard) for shard in self._manifest.shards if store.sealed(shard))

        def counters() -> RunCounters:
            load, error = scoring.load, self._error
            return RunCounters(
                counts=store.counts,
                totals=scoring.totals,
                load=load,
                found=before + store.found,
                answered=first.answered,
                why=str(error) if isinstance(error, SetupError) else load.why,
                to_publish=publishing.pending if publishing is not None else 0,
                publish_problem=publishing.problem if publishing is not None else None,
                limits={**declared, **{name.removeprefix("limits."): cap for name, cap in control.caps.items()}},
                last_change=control.last,
                last_change_at=control.last_at,
                error=error,
                batches=scoring.batches,
                priced=priced,
            )

        return counters


def _spent(totals: Totals) -> str:
    return (
        f"Spent until then: {totals.known_tokens:,} tokens, {totals.pico / 10**12:.6f} USD, and possibly "
        f"{totals.maybe_tokens:,} tokens, {totals.maybe_pico / 10**12:.6f} USD more."
    )
