"""Makes the scoring of a pass: in this process, by workers, in provider batches or by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scorer.build.endpoints import most_workers
from scorer.build.open_run import OpenRun
from scorer.config.spec import Spec
from scorer.job.current_pass import CurrentPass
from scorer.job.folder import gather_s
from scorer.job.forget import Choice
from scorer.job.scoring import Connect, LocalScoring, Scoring

if TYPE_CHECKING:
    from scorer.build.batch_models import MakeApi
    from scorer.canaries.watching import Canaries
    from scorer.job.batch_scoring import NextWave
    from scorer.job.by_hand import ByHand
    from scorer.job.distributed_scoring import MakeLauncher


class ScoringMaker:
    """How the rows of a job are scored; the arguments are those of `Job`.

    `asks_from_here`: the endpoints are asked from this machine. `workers`: by so many processes.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        workers: int,
        launcher: MakeLauncher | None,
        connect: Connect,
        make_api: MakeApi | None,
        by_hand: ByHand | None,
        answered: Callable[[float], None] | None,
    ) -> None:
        self._spec = spec
        self.workers = most_workers(spec, workers)
        self.asks_from_here = launcher is None and by_hand is None
        if launcher is None and self.workers > 1:
            from scorer.workers.subprocesses import SubprocessLauncher

            launcher = SubprocessLauncher
        self._launcher = launcher
        self._connect = connect
        self._make_api = make_api
        self.by_hand = by_hand
        self._answered = answered

    def in_this_process(self, *, batches: bool) -> bool:
        """True where this process reads the replies, so that it computes the metrics as well."""
        return batches or self._launcher is None

    def make(
        self,
        opened: OpenRun,
        current_pass: CurrentPass,
        choice: Choice,
        *,
        batches: bool,
        deadline: float | None,
        next_wave: NextWave,
        canaries: Canaries | None,
    ) -> Scoring:
        """The scoring of one pass, not begun. With `batches` the last three are those of `BatchScoring`."""
        if batches:
            from scorer.job.batch_scoring import BatchScoring

            return BatchScoring(
                opened,
                current_pass.drain,
                current_pass.halt,
                next_wave=next_wave,
                connect=self._connect,
                answered=self._answered,
                waiting=choice.waiting,
                deadline=deadline,
                submits=self._spec.batched,
                make_api=self._make_api,
                by_hand=self.by_hand,
                canaries=canaries,
            )
        if self._launcher is None:
            return LocalScoring(
                opened, current_pass.halt, connect=self._connect, answered=self._answered, mixed=canaries
            )
        from scorer.job.distributed_scoring import DistributedScoring

        return DistributedScoring(
            opened,
            self._launcher,
            workers=self.workers,
            gather_s=gather_s(opened.layout),
            canaries=canaries,
            connect=self._connect,
            drain=current_pass.halt,
        )
