"""`[stop]` in a run: makes the question of a start, takes results as they come, writes the answer to answer.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from scorer.build.plan import RunPlan
from scorer.build.stop_checks import score_bounds
from scorer.config.stop_question import parse_question
from scorer.errors import SpecError, StorageError
from scorer.files.files import Files
from scorer.files.files import replace as replace_file
from scorer.inputs.sample import parse_sample
from scorer.job.stopping.early_stop import EarlyStop
from scorer.job.stopping.population import Population, population
from scorer.job.stopping.questions import listed, together
from scorer.job.stopping.statement import statement
from scorer.job.stopping.waves import rows_of_wave
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest, save
from scorer.output.selection import Selection
from scorer.output.store import Store
from scorer.output.stored_scores import stored_scores
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Offload, Shard, Work

PERIOD_S = 2.0
Say = Callable[[str], None]


class StopRun:
    """The question of one start. `in_flight` says how many rows are asked at once; `halt` is called at the answer.

    `restart` before each pass over the rows.
    """

    def __init__(
        self,
        plan: RunPlan,
        files: Files,
        layout: Layout,
        manifest: Manifest,
        *,
        sample: str | None,
        found: Population,
        in_flight: Callable[[], int],
        halt: Callable[[], None],
    ) -> None:
        assert plan.spec.stop is not None
        bounds = score_bounds(plan.spec)
        assert bounds is not None, "checked with the run file"
        self._plan, self._stop, self._bounds = plan, plan.spec.stop, bounds
        self._files, self._layout, self._manifest = files, layout, manifest
        self._population, self._in_flight, self._halt = found, in_flight, halt
        self.sample = sample
        self._wrong: SpecError | None = None
        rows = sum(manifest.selection.belonging_of(shard) for shard in manifest.shards)
        self._most_rows = None if sample is None else parse_sample(sample).of(rows)
        self.early = self.restart()

    def restart(self) -> EarlyStop:
        """Takes the stored results anew, on which the answer depends. Raises SpecError for scores out of bounds."""
        self.early = EarlyStop(
            self._stop,
            parse_question(self._stop.question),
            self._population,
            self._bounds,
            in_flight=self._in_flight,
            most_rows=self._most_rows,
        )
        self.early.load(stored_scores(self._files, self._layout, self._manifest.shards))
        self.early.on_over = self._halt
        return self.early

    def finished(self, path: str, row: int, score: float | None) -> None:
        """Takes the result of a row. A score out of bounds ends the run at the next `check`."""
        try:
            if self._wrong is None:
                self.early.finished(path, row, score)
        except SpecError as error:  # storing a result must not fail of it
            self._wrong = error
            self._halt()

    def check(self) -> None:
        """Raises SpecError once a score is out of bounds."""
        if self._wrong is not None:
            raise self._wrong

    def work(self, store: Store, lost: Callable[[], bool]) -> Iterator[Work]:
        """The rows to ask; see EarlyStop.work."""
        yield from self.opened(store)
        yield from self.early.work(store, lost)

    def opened(self, store: Store) -> Iterator[Work]:
        """No rows of the shards that are finished already, which opens them, so that they are sealed."""
        for shard in self.finished_shards(store):
            yield from store.some(shard, np.zeros(shard.rows, dtype=bool))

    def wave(self, store: Store, lost: Callable[[], bool], *, batched: bool) -> Iterator[Work] | None:
        """The rows to ask before the next decision; None once nothing more is to be asked.

        `batched`: they go in provider batches (waves.py).
        """
        early = self.early
        if early.over or lost():
            return None
        spec = self._plan.spec
        wanted = rows_of_wave(spec, early.rows, early.rows_in_all) if batched else early.wanted
        return early.wave(store, wanted)

    def finished_shards(self, store: Store) -> list[Shard]:
        """Shards whose rows all have a result, and that are not sealed."""
        counts, selection = self._counts(), self._manifest.selection
        return [
            shard
            for shard in self._manifest.shards
            if not store.sealed(shard) and counts.get(shard.stem, 0) >= selection.belonging_of(shard)
        ]

    def _counts(self) -> dict[str, int]:
        """Rows that belong and have a result, by the stem of their shard."""
        selection, files, layout = self._manifest.selection, self._files, self._layout
        return {
            shard.stem: int(selection.belongs(files, layout, shard)[rows].sum())
            for shard, rows, _ in stored_scores(files, layout, self._manifest.shards)
        }

    def writer(self, offload: Offload) -> AnswerWriter:
        """The service that writes the answer while the run goes on."""
        return AnswerWriter(self, offload)

    def statement(self) -> dict[str, Any]:
        """The answer so far."""
        questions = self._manifest.questions
        return statement(self.early, questions=len(questions), together=together(questions))

    def write(self) -> None:
        """Writes the answer so far to answer.json. Blocking. Raises StorageError."""
        replace_file(self._files, self._layout.answer, orjson.dumps(self.statement(), option=orjson.OPT_INDENT_2))

    def conclude(self) -> None:
        """Writes the answer that the stored results give, once the run has ended. Raises StorageError."""
        self.restart()
        self.write()

    def select(self) -> None:
        """Writes to run.json that the rows with a result are those selected, unless all rows have one."""
        before, counts = self._manifest.selection, self._counts()
        if all(counts.get(one.stem, 0) >= before.belonging_of(one) for one in self._manifest.shards):
            return
        selection: Selection = replace(before, stop=self._stop.question, sample=self.sample, sampled=counts)
        save(self._files, self._layout, replace(self._manifest, selection=selection))


class AnswerWriter(PeriodicService):
    """Writes answer.json while a run goes on, where the prefix has grown. Storage that fails costs no run."""

    rests_first = False

    def __init__(self, stop: StopRun, offload: Offload) -> None:
        super().__init__(PERIOD_S)
        self._stop, self._offload, self._taken = stop, offload, -1

    async def work(self) -> None:
        if self._stop.early.taken == self._taken:
            return
        self._taken = self._stop.early.taken
        try:
            await self._offload(self._stop.write)
        except StorageError:
            self._taken = -1


def renew(plan: RunPlan, files: Files, layout: Layout, manifest: Manifest) -> None:
    """Writes the answer that the stored results give, where something else than a run has changed them. Blocking."""
    run = begin(plan, files, layout, manifest, sample=None, in_flight=lambda: 1, halt=lambda: None, say=lambda _: None)[
        1
    ]
    run.conclude()


def begin(
    plan: RunPlan,
    files: Files,
    layout: Layout,
    manifest: Manifest,
    *,
    sample: str | None,
    in_flight: Callable[[], int],
    halt: Callable[[], None],
    say: Say,
) -> tuple[Manifest, StopRun]:
    """The question of this start, listed in run.json. Blocking: reads the columns that it names, and stored scores.

    Raises SpecError where it does not fit the input, OutputError for another seed.
    """
    assert plan.spec.stop is not None
    selection = manifest.selection
    found = population(
        files,
        manifest.shards,
        lambda shard: selection.belongs(files, layout, shard),
        plan.spec.stop,
        parse_question(plan.spec.stop.question),
    )
    changed, sentence = listed(manifest, plan.spec.stop, found, layout.out)
    if sentence is not None:
        say(sentence)
    run = StopRun(plan, files, layout, changed, sample=sample, found=found, in_flight=in_flight, halt=halt)
    if changed != manifest:
        save(files, layout, changed)
    return changed, run
