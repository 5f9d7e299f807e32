"""Runs through the batch APIs of the rehearsal judge, in virtual time and without a network; online it is the same."""

from __future__ import annotations

import os
from functools import partial
from random import Random
from typing import Any
from unittest import mock

from support.clock import inline
from support.clock import now as virtual_now
from support.clock import run as in_virtual_time
from support.simulated import Simulated
from support.simulated_batches import SimulatedBatchHttp, SimulatedSession

from scorer.build import batch_models
from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.files.local_files import LocalFiles
from scorer.job.forget import ALL, Choice
from scorer.job.job import Job
from scorer.output.status import Status
from scorer.output.verify.folder import verify
from scorer.rehearsal.batches.simulator import SimulatedBatches

EPOCH = 1_790_000_000.0


class RehearsedBatches:
    """A rehearsal judge that `wire` asks online, and whose `batches` take files. `config` is that of the judge."""

    def __init__(self, batch: dict[str, Any] | None = None, **config: Any) -> None:
        self.wire = Simulated(**config)
        judge = self.wire.judge
        judge.configure(judge.config.changed({"batch": batch or {}}), 0.0)
        judge.epoch = EPOCH
        self.batches = SimulatedBatches(judge, judge.config.batch, Random(7))

    def run(self, tree: dict[str, Any], choice: Choice = ALL) -> Status:
        """A start, to its end; the folder is verified. No file is synced, which takes longer than all else."""
        plan = check(tree)
        with (
            mock.patch.object(batch_models, "BatchHttp", self._http),
            mock.patch.object(os, "fsync"),
            mock.patch.object(os, "fdatasync"),
        ):
            job = Job(
                plan,
                LocalFiles(),
                offload=inline,
                wall_s=lambda: EPOCH + virtual_now(),
                connect=partial(make_client, transport=self.wire),
            )
            status = in_virtual_time(job.run(choice=choice))
        assert verify(LocalFiles(), plan.spec.output.path).findings == ()
        return status

    def _http(self, *given: Any, **options: Any) -> SimulatedBatchHttp:
        return SimulatedBatchHttp(*given, **options).over(SimulatedSession(self.batches))

    @property
    def stats(self) -> dict[str, Any]:
        return self.batches.store.log.stats()
