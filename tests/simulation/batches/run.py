"""Simulates one run through batches by its seed: the unchanged `Job`, killed at any edge of any chunk."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any
from unittest import mock

from simulation.batches.promises import judge, money
from simulation.batches.settings import drawn
from simulation.batches.world import EPOCH, BatchWorld, Wire
from simulation.disk import Disk
from simulation.loop import Fuse, MortalLoop, PowerCut
from support.simulated_batches import SimulatedBatchHttp, SimulatedSession

from scorer.build import batch_models
from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.errors import BatchesOut, BudgetSpent, Interrupted
from scorer.files.local_files import LocalFiles
from scorer.job.callbacks import Callbacks
from scorer.job.forget import Choice
from scorer.job.job import Job
from scorer.output.status import Status
from scorer.rehearsal.batches.ask import Ask, Reply

MOST_STARTS = 300
MOST_SECONDS = 40 * 86_400.0


@dataclass(frozen=True, slots=True)
class Report:
    """Counts of a simulated run and its broken promises. Equal seeds give equal digests."""

    seed: int
    rows: int
    batches: int
    deaths: int
    starts: int
    seconds: float
    online: int
    counts: dict[str, int]
    findings: tuple[str, ...]
    digest: str


class BatchRun:
    """A run as its seed draws it. `say` gets each event with the virtual second."""

    def __init__(self, seed: int, say: Callable[[str], None] = lambda _: None) -> None:
        self._setting = setting = drawn(seed)
        self._say = say
        self._draw = Random(f"deaths of {seed}")
        self._disk_s = Random(f"pace of {seed}").choice([0.002, 0.002, 1.0])
        self._fuse = Fuse()
        self._disk = Disk(Random(f"disk of {seed}"), self._fuse)
        for path, data in setting.shards.items():
            self._disk.put(path, data)
        self._world = BatchWorld(setting, self._broken)
        self._loop: MortalLoop | None = None
        self._now = 0.0
        self._dies_in = 0
        """The number of the provider's request that it dies at, counted down; 0 and below for none."""
        self._dies_before = False
        self._status: Status | None = None
        self._findings: list[str] = []
        self._starts = self._deaths = 0
        self._stopped = False

    def run(self) -> Report:
        """Restarts the run until every row is finished or a promise is broken."""
        state = random.getstate()
        random.seed(self._setting.seed)
        nonces = Random(f"nonces of {self._setting.seed}")
        try:
            with (
                self._disk.mounted(),
                mock.patch.object(os, "getpid", lambda: 1000 + self._starts),  # noqa: PT008
                mock.patch.object(secrets, "token_hex", lambda n=32: f"{nonces.getrandbits(8 * n):0{2 * n}x}"),
                mock.patch.object(batch_models, "BatchHttp", self._http),
            ):
                while not self._findings and self._status is None:
                    if self._starts == MOST_STARTS or self._now > MOST_SECONDS:
                        self._broken(f"after {self._starts} starts and {self._now:.0f} s the run has not ended")
                    self._live()
                if not self._findings:
                    self._judge()
        finally:
            random.setstate(state)
        log = self._world.batches.store.log
        return Report(
            seed=self._setting.seed,
            rows=len(self._setting.texts),
            batches=log.counts["batches"],
            deaths=self._deaths,
            starts=self._starts,
            seconds=round(self._now, 3),
            online=self._world.online_requests,
            counts=dict(sorted({**log.counts, **log.lines}.items())),
            findings=tuple(self._findings),
            digest=self._world.digest,
        )

    # --- one process --------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        """From its start to its end, whatever that is; then the time until the next start."""
        self._starts += 1
        self._fuse.burnt = False
        loop = self._loop = MortalLoop(self._now, self._fuse)
        self._world.clock = loop.time
        self._world.begins()
        job, choice = self._job(loop), Choice(waiting=self._waiting())
        self._tell(f"start {self._starts}, {choice.waiting}")
        self._stopped = False
        self._threaten(job)
        pause_s = self._draw.choice([2.0, 60.0, 1000.0])
        loop.call_later(86_400.0, self._broken, "one start took a day")
        task = loop.create_task(job.run(choice=choice))
        died = False
        try:
            self._status = loop.run_until_complete(task)
        except PowerCut:
            died = True
        except BatchesOut as error:
            self._tell(f"exit 9: {error}")
        except (Interrupted, asyncio.CancelledError) as error:
            if not self._stopped:
                self._broken(f"{type(error).__name__} though nobody asked for it")
        except BudgetSpent as error:
            self._tell(f"stopped: {error}")
            self._world.caps = {name: 2 * cap for name, cap in self._world.caps.items()}
        except Exception as error:  # noqa: BLE001 - any other exception that ends a run is a finding
            self._broken(f"{type(error).__name__}: {error}")
        self._fuse.arm()
        self._now, self._loop = loop.time(), None
        loop.bury(quietly=died or self._fuse.burnt)
        self._fuse.burnt = False
        if died:
            self._died()
        else:
            self._disk.ends()
        if not self._findings:
            for finding in money(self._setting, self._world, ended=False):
                self._broken(finding)
        self._now += pause_s
        self._world.clock = lambda: self._now
        self._world.batches.store.advance(self._now)

    def _died(self) -> None:
        self._deaths += 1
        self._world.dies()
        if self._draw.random() < 0.6:
            self._tell("died: power cut")
            self._disk.cut()
        else:
            self._tell("died: kill -9")
            self._disk.ends()

    def _waiting(self) -> Any:
        if self._starts > 2 * self._setting.lives:
            return "wait"
        return self._draw.choice(["wait", "wait", "no-wait", "collect"])

    def _threaten(self, job: Job) -> None:
        """What ends this process before its time: nothing, a signal, or a death between any two of its steps."""
        self._dies_in = 0
        if self._starts > self._setting.lives:
            return
        draw, loop = self._draw, self._loop
        assert loop is not None
        match draw.choice(["", "request", "request", "request", "call", "call", "callback", "signal"]):
            case "request":
                self._dies_in = draw.choice([draw.randint(1, 7), draw.randint(1, 40)])
                self._dies_before = draw.random() < 0.5
            case "call":
                self._fuse.arm(calls=draw.choice([draw.randint(0, 60), draw.randint(0, 400)]))
            case "callback":
                self._fuse.arm(callbacks=draw.choice([draw.randint(0, 300), draw.randint(0, 3000)]))
            case "signal":
                loop.call_later(draw.uniform(0.0, draw.choice([2.0, 500.0])), self._signal, job)

    def _signal(self, job: Job) -> None:
        self._tell("signal")
        self._stopped = True
        job.stop()

    def _job(self, loop: MortalLoop) -> Job:
        deadline = None
        if self._setting.deadline_s is not None:
            deadline = datetime.fromtimestamp(EPOCH + self._setting.deadline_s, UTC).isoformat()
        plan = check(self._setting.run_file(self._world.caps, deadline))
        return Job(
            plan,
            LocalFiles(),
            offload=loop.offload(
                lambda: (self._draw.uniform(0.0, self._disk_s), self._draw.uniform(0.0, self._disk_s))
            ),
            wall_s=lambda: EPOCH + loop.time(),
            callbacks=Callbacks(say=self._tell),
            connect=partial(make_client, transport=partial(Wire, self._world)),
        )

    def _http(self, *given: Any, **options: Any) -> SimulatedBatchHttp:
        return SimulatedBatchHttp(*given, **options).over(
            SimulatedSession(self._world.batches, latency=self._latency, before=self._arrives, after=self._answered)
        )

    def _waits_s(self) -> float:
        """How long a piece of blocking work waits for its turn, or its result for the loop."""
        return self._draw.uniform(0.0, self._disk_s)

    def _latency(self) -> tuple[float, float]:
        return self._draw.uniform(0.01, 0.5), self._draw.uniform(0.01, 0.5)

    async def _arrives(self, ask: Ask) -> None:
        self._dies_in -= 1
        if self._dies_in == 0 and self._dies_before:
            self._tell(f"dies before {ask.method} {ask.path}")
            await self._death()

    async def _answered(self, ask: Ask, reply: Reply) -> None:
        self._tell(f"  {ask.method} {ask.path}: {reply.status} {reply.wire}")
        if self._dies_in == 0 and not self._dies_before:
            self._tell(f"dies after {ask.method} {ask.path}")
            await self._death()

    async def _death(self) -> None:
        assert self._loop is not None
        self._fuse.burn()
        self._loop.call_soon(int)
        await self._loop.create_future()

    # --- the end ------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        status = self._status
        assert status is not None
        if status.state != "complete" or status.pending:
            self._broken(f"the run ended as {status}")
        self._world.batches.store.advance(self._now)
        for finding in judge(self._setting, self._world):
            self._broken(finding)

    def _tell(self, text: str) -> None:
        self._say(f"{self._loop.time() if self._loop is not None else self._now:11.3f} s  {text}")

    def _broken(self, finding: str) -> None:
        self._tell(f"BROKEN: {finding}")
        self._findings.append(finding)
        if self._loop is not None:
            self._fuse.burn()  # what comes after it says nothing
