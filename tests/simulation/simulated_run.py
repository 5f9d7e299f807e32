"""Simulates one run by its seed: the unchanged `scorer.job.job.Job` over a simulated disk and judge, with crashes.

`SimulatedRun(seed).run()` returns a `Report`; its findings are the broken promises.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from unittest import mock

from simulation.bad_pages import damaged
from simulation.disk import Disk
from simulation.duplicates import twinned
from simulation.json_lines import in_lines
from simulation.loop import Fuse, MortalLoop, PowerCut
from simulation.memory import Counted
from simulation.promises import judge
from simulation.settings import MAX_OUTPUT, OUT, PROMPT, drawn
from simulation.world import EPOCH, Wire, World
from simulation.wrong_usage import lying

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.errors import BudgetSpent, Interrupted, SpecError, StorageError
from scorer.files.local_files import LocalFiles
from scorer.job.callbacks import Callbacks
from scorer.job.job import Job
from scorer.limits import budget
from scorer.output import ledger
from scorer.output import segments as seg
from scorer.output.layout import Layout
from scorer.output.progress import Snapshot
from scorer.output.status import Status
from scorer.output.store import Store
from scorer.types import Result

MOST_STARTS = 80
MOST_SECONDS = 7200.0


@dataclass(frozen=True, slots=True)
class Report:
    """Counts of a simulated run and its broken promises. Equal seeds give equal digests."""

    seed: int
    rows: int
    shards: int
    outages: int
    crashes: int
    changes: int
    starts: int
    seconds: float
    requests: int
    paid_again: int
    fates: dict[str, int]
    findings: tuple[str, ...]
    digest: str


class SimulatedRun:
    """A run as its seed draws it. `say` gets each event with the virtual second.

    With `twins` many rows are duplicates, and the run file has `judge.dedupe`. With `lies` the judge reports wrong
    usage. With `pages` some rows cannot be read. With `lines` the input is JSON Lines. With `pauses` a person pauses
    and resumes the run, and raises its caps.
    """

    def __init__(
        self,
        seed: int,
        say: Callable[[str], None] = lambda _: None,
        *,
        twins: bool = False,
        lies: bool = False,
        pages: bool = False,
        lines: bool = False,
        pauses: bool = False,
    ) -> None:
        setting = twinned(drawn(seed)) if twins else drawn(seed)
        setting = damaged(setting) if pages else setting
        setting = in_lines(setting) if lines else setting
        self._setting = setting = lying(setting) if lies else setting
        self._say = say
        self._draw = Random(f"night of {seed}")
        self._pauses = Random(f"pauses of {seed}") if pauses else None
        self._fuse = Fuse()
        self._disk = Disk(Random(f"disk of {seed}"), self._fuse)
        for path, data in setting.shards.items():
            self._disk.put(path, data)
        self._world = World(setting, self._broken, self._after_good)
        self._caps = dict(setting.caps)
        self._spent_caps: dict[str, float] = {}
        """The caps that the current process found used up; empty until then."""
        self._events = deque(setting.events)
        self._loop: MortalLoop | None = None
        self._now = 0.0
        self._skew = 0.0
        """Seconds that the wall clock is behind, after boots that set it back."""
        self._boots_anew = self._owed = False
        self._full_until = self._slow_until = -1.0
        self._added: set[tuple[str, int]] = set()
        """The rows that the current process has given to its store."""
        self._signalled = 0
        self._stop: Callable[[], object] = lambda: None
        self._leave: Callable[[], object] = lambda: None
        self._snapshot: Snapshot | None = None
        self._status: Status | None = None
        self._findings: list[str] = []
        self._outages = self._crashes = self._changes = self._starts = self._losses = 0

    def run(self) -> Report:
        """Restarts the run until every row is finished or a promise is broken."""
        with (
            self._disk.mounted(),
            mock.patch.object(os, "getpid", lambda: 1 if self._setting.container else 1000 + self._starts),  # noqa: PT008
            mock.patch.object(ledger, "ROTATE_BYTES", self._setting.rotate_bytes),
            mock.patch.object(Store, "add", self._adding(Store.add)),
            mock.patch.object(budget, "BudgetSpent", self._spent),
        ):
            while not self._findings and self._status is None:
                if self._starts == MOST_STARTS or self._now > MOST_SECONDS:
                    self._broken(f"after {self._starts} starts and {self._now:.0f} s the run has not ended")
                self._live()
                self._now += self._draw.uniform(1.5, 20.0)
            if not self._findings:
                self._judge()
        return Report(
            seed=self._setting.seed,
            rows=len(self._setting.texts),
            shards=len(self._setting.shards),
            outages=self._outages,
            crashes=self._crashes,
            changes=self._changes,
            starts=self._starts,
            seconds=round(self._now, 3),
            requests=len(self._world.asked),
            paid_again=self._world.paid_again,
            fates=dict(sorted(self._world.fates.items())),
            findings=tuple(self._findings),
            digest=self._world.digest,
        )

    def _adding(self, add: Callable[[Store, Result], None]) -> Callable[[Store, Result], None]:
        def noted(store: Store, result: Result) -> None:
            self._added.add((result.row.shard, result.row.number))
            add(store, result)

        return noted

    def _spent(self, text: str) -> BudgetSpent:
        """The run is being stopped: who raises a cap from here on raises it for the next start."""
        self._spent_caps = self._spent_caps or dict(self._caps)
        return BudgetSpent(text)

    # --- one process ------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        """From its start to its end, whatever that is."""
        self._starts += 1
        self._boot()
        loop, world = self._loop, self._world
        assert loop is not None
        world.clock, world.caps = loop.time, self._caps
        world.begins()
        self._tell(f"start {self._starts}")
        counted = Counted()
        job = self._job(loop, counted)
        self._added.clear()
        self._spent_caps = {}
        self._signalled = 0
        self._watch(loop)
        if self._pauses is not None:
            loop.call_later(self._pauses.uniform(0.0, 20.0), self._pause, job, loop, self._pauses)
        task = loop.create_task(job.run())
        self._stop, self._leave = job.stop, task.cancel
        try:
            self._status = loop.run_until_complete(task)
            after = self._ended
        except (Interrupted, asyncio.CancelledError) as error:
            if not self._signalled:
                self._broken(f"{type(error).__name__} though nobody asked for it")
            after = self._interrupted
        except PowerCut:
            after = self._died
        except StorageError as error:
            self._tell(f"stopped: {error}")
            self._world.truth.forgotten(loop.time())
            after = self._lost
        except BudgetSpent as error:
            self._tell(f"stopped: {error}")
            after = self._stopped
        except Exception as error:  # noqa: BLE001 - any other exception that ends a run is a finding
            self._broken(f"{type(error).__name__}: {error}")
            after = self._ended
        if counted.most > self._setting.rows_under_way:
            self._broken(f"{counted.most} rows were under way, {self._setting.rows_under_way} may be")
        self._owed = self._fuse.armed and not self._fuse.burnt  # it ended by itself before it could die
        self._fuse.arm()
        self._now, self._loop = loop.time(), None
        loop.bury(quietly=self._fuse.burnt)
        after()

    def _boot(self) -> None:
        self._fuse.burnt = False
        if self._owed or (self._setting.dies_at_start and self._starts > 1 and self._crashes == 1):
            self._owed = False
            self._arm(callbacks=80, calls=40)
        if self._boots_anew:  # a board whose clock starts at the same second at each boot
            self._boots_anew, self._skew = False, self._now
        self._disk.full = self._disk.full and self._now < self._full_until
        self._loop = MortalLoop(self._now, self._fuse)
        self._snapshot = None

    def _job(self, loop: MortalLoop, counted: Counted) -> Job:
        plan = check(self._setting.run_file(self._caps))
        return Job(
            replace(plan, judge=counted.of(plan.judge)),
            LocalFiles(),
            offload=loop.offload(self._delays),
            wall_s=lambda: EPOCH + loop.time() - self._skew,
            callbacks=Callbacks(self._seen),
            connect=partial(make_client, transport=partial(Wire, self._world)),
        )

    def _seen(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def _watch(self, loop: MortalLoop) -> None:
        if not self._signalled:
            self._world.watch()
        if loop.time() > MOST_SECONDS:
            self._broken("the run does not end")
        loop.call_later(5.0, self._watch, loop)

    # --- how it ends ------------------------------------------------------------------------------------------------

    def _died(self) -> None:
        self._crashes += 1
        self._losses += 1
        self._world.truth.forgotten(self._now)
        if self._draw.random() < 0.7:
            self._tell("died: power cut")
            self._disk.cut()
        else:
            self._tell("died: kill -9")
            self._disk.ends()
        self._boots_anew = self._draw.random() < 0.15

    def _ended(self) -> None:
        """A process that ended by itself has settled everything."""
        self._disk.ends()
        last = self._snapshot
        if last is not None and last.state != "running" and last.in_flight:
            self._broken(f"{last.in_flight} requests were never settled")

    def _lost(self) -> None:
        """The disk refused what was gathered; or a cap stopped the run, and replies on their way were not awaited."""
        self._losses += 1
        self._ended()

    def _interrupted(self) -> None:
        """By signals: what was answered until then is on disk."""
        self._lost()
        files, stored = LocalFiles(), set[tuple[str, int]]()
        layout = Layout(OUT)
        paths = [stat.path for stat in files.listing(layout.scores)]
        for stem in files.folders(layout.segments):
            paths += [layout.segment(segment) for segment in layout.segments_of(files, stem)]
        for path in paths:
            table = seg.read_columns(files, path, ["shard", "row"])
            stored.update(zip(table.column("shard").to_pylist(), table.column("row").to_pylist(), strict=True))
        if lost := self._added - stored:
            self._broken(f"{len(lost)} answered rows are not stored after {self._signalled} signals")

    def _stopped(self) -> None:
        """The operator looks whether the next request did not fit, and doubles the caps."""
        self._lost()
        totals = ledger.totals(LocalFiles(), f"{OUT}/ledger")
        texts = [text or "" for text in self._setting.texts.values()]
        # The body's other fields, its chat template, and what the judge's bills taught.
        prompt = len(PROMPT) + 250 + max(len(text.encode()) for text in texts)
        taught_tokens, taught_pico = self._world.truth.taught
        pico = prompt * self._setting.pico[0] + MAX_OUTPUT * self._setting.pico[1] + taught_pico
        caps = self._spent_caps or self._caps
        over_tokens = totals.tokens + prompt + MAX_OUTPUT + taught_tokens > caps.get("max_tokens", math.inf)
        over_pico = totals.money_pico + pico > caps.get("max_usd", math.inf) * 10**12
        if not (over_tokens or over_pico):
            self._broken(f"stopped by a budget though the next request fits: {totals}")
        self._caps = {name: 2 * value for name, value in self._caps.items()}

    def _judge(self) -> None:
        """Checks the finished run; a further start must have nothing to do."""
        status = self._status
        assert status is not None
        if status.state != "complete" or status.pending:
            self._broken(f"the run ended as {status}")
        if self._snapshot is not None and self._snapshot.maybe_billed_usd != status.maybe_billed_usd:
            self._broken("a run that is complete left an intent open")
        for finding in judge(self._setting, self._world, losses=self._losses):
            self._broken(finding)
        asked, loop = len(self._world.asked), MortalLoop(self._now, Fuse())
        if loop.run_until_complete(self._job(loop, Counted()).run()) != status or len(self._world.asked) != asked:
            self._broken("a run that was complete does something when it is run again")
        loop.bury()

    # --- what happens ----------------------------------------------------------------------------------------------

    def _tell(self, text: str) -> None:
        self._say(f"{self._loop.time() if self._loop is not None else self._now:9.3f} s  {text}")

    def _broken(self, finding: str) -> None:
        self._tell(f"BROKEN: {finding}")
        self._findings.append(finding)
        if self._loop is not None:
            self._fuse.burn()  # what comes after it says nothing

    def _after_good(self, good: int) -> None:
        while self._events and self._events[0].at <= good:
            if self._events[0].name == "crash" and self._fuse.armed:
                return  # one death at a time
            event = self._events.popleft()
            self._tell(str(event))
            getattr(self, f"_on_{event.name}")(*event.arguments)

    def _on_outage(self, kind: str, seconds: float) -> None:
        self._outages += 1
        self._world.breaks_down(kind, seconds)

    def _on_limits(self, factor: float) -> None:
        self._changes += 1
        self._world.changes_limits(factor)

    def _on_storm(self, kind: str, seconds: float, wish_s: float) -> None:
        self._world.storms(kind, seconds, wish_s)

    def _on_lies(self, seconds: float) -> None:
        self._world.lies(seconds)

    def _on_crash(self) -> None:
        self._arm(callbacks=300, calls=60)

    def _arm(self, *, callbacks: int, calls: int) -> None:
        """Death comes between two callbacks or two system calls, soon."""
        if self._draw.random() < 0.5:
            self._fuse.arm(callbacks=self._draw.randint(0, callbacks))
        else:
            self._fuse.arm(calls=self._draw.randint(0, calls))

    def _on_signals(self, times: int, gap_s: float) -> None:
        """Signals at an arbitrary moment, half of the time on a slow disk; the first may already be a second one."""
        assert self._loop is not None
        if self._draw.random() < 0.5:
            self._on_disk_slow(60.0)
        politely, first_s = self._draw.random() < 0.7, self._draw.uniform(0.0, 3.0)
        for number in range(times):
            self._loop.call_later(first_s + number * gap_s, self._signal, politely and not number)

    def _signal(self, politely: bool) -> None:
        self._signalled += 1
        self._tell("signal")
        if politely:
            self._stop()
        else:
            self._leave()

    def _pause(self, job: Job, loop: MortalLoop, draw: Random) -> None:
        """Pauses, raises each cap by a tenth or not, resumes after a while, and pauses again later."""
        seconds = draw.uniform(0.0, 40.0)
        self._tell(f"paused for {seconds:.1f} s")
        job.control.change("paused", True, "the simulation")
        self._world.paused(seconds)
        if draw.random() < 0.5:
            for name, cap in self._caps.items():
                with suppress(SpecError):  # the run ends because of a cap
                    job.control.change(f"limits.{name}", type(cap)(cap * 1.1), "the simulation")
                    self._caps[name] = type(cap)(cap * 1.1)
        loop.call_later(seconds, self._resume, job, loop, draw)

    def _resume(self, job: Job, loop: MortalLoop, draw: Random) -> None:
        self._tell("resumed")
        job.control.change("paused", False, "the simulation")
        self._world.resumed()
        loop.call_later(draw.uniform(0.0, 60.0), self._pause, job, loop, draw)

    def _on_disk_full(self, seconds: float) -> None:
        self._disk.full, self._full_until = True, self._world.clock() + seconds
        assert self._loop is not None
        self._loop.call_later(seconds, setattr, self._disk, "full", False)

    def _on_disk_failing(self, times: int) -> None:
        self._disk.failing = times

    def _on_disk_slow(self, seconds: float) -> None:
        self._slow_until = self._world.clock() + seconds

    def _delays(self) -> tuple[float, float]:
        """How long a piece of blocking work waits for its turn, and its result for the loop."""
        now, draw = self._world.clock(), self._draw
        if now >= self._slow_until:
            return draw.uniform(0.0, 0.002), draw.uniform(0.0, 0.002)
        before, after = draw.uniform(0.1, 3.0), draw.uniform(0.0, 1.0)
        self._world.patience.excuse(now, before + after)
        return before, after
