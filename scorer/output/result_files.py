"""Writes the results of some shards, on a thread: as segments, or as the sealed file where they are all of a shard's.

The segment writer decides when, and which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial

from scorer.frozen import dataclass
from scorer.output import segments as seg
from scorer.output.inventory import Unfinished
from scorer.output.layout import Segment
from scorer.output.run_files import RunFiles
from scorer.output.seal import seal_results
from scorer.output.tables import PIECE_BYTES, Made, Measure, made, made_at_once, pieces
from scorer.types import Result


@dataclass(slots=True)
class Gathered:
    """Results of one shard and generation that are not yet in a segment, and their size in bytes."""

    results: list[Result] = field(default_factory=list)
    size: int = 0


Taken = tuple[Unfinished, int, Gathered]
"""The results of a shard that are written now, and their generation."""
Published = tuple[Segment | seg.Counts, list[Made]]
"""The segment that was written, or the counts of the sealed file; and its tables."""


class ResultFiles:
    """Writes result files. `measure` adds the automatic metrics, and may be set later. `say` gets a failure of it.

    `seals`: the results of a whole shard become its sealed file, without a segment.
    """

    def __init__(self, run: RunFiles, measure: Measure | None, say: Callable[[str], None], *, seals: bool) -> None:
        self.measure = measure
        self._run = run
        self._judge = run.judge or run.fingerprint
        self._say = say
        self._seals = seals
        self._failures: set[str] = set()  # of metrics, that were reported

    def write(self, taken: Sequence[Taken]) -> list[Published | Exception]:
        """What was written for each shard, durable together; or why not, which costs no other shard."""
        outcomes: list[Published | Exception] = []
        with self._run.files.together():
            for one, parts in zip(taken, self._made(taken), strict=True):
                try:
                    outcomes.append(self._publish(*one, parts))
                except Exception as error:  # noqa: BLE001 - the caller raises it
                    outcomes.append(error)
        return outcomes

    def _made(self, taken: Sequence[Taken]) -> Iterator[Callable[[], list[Made]]]:
        """What makes the tables of each shard's results; those of several small shards are made at once."""
        states = [state for state, _, _ in taken]
        at_once: list[Made] | None = None
        if len(taken) > 1 and self.measure is None and all(one.schema.equals(states[0].schema) for one in states):
            at_once = made_at_once([gathered.results for _, _, gathered in taken], states[0].schema, self._judge)
        for place, (state, _, gathered) in enumerate(taken):
            yield partial(self._parts, state, gathered) if at_once is None else partial(list, [at_once[place]])

    def _parts(self, state: Unfinished, gathered: Gathered) -> list[Made]:
        cut = [gathered.results] if gathered.size <= PIECE_BYTES else pieces(gathered.results)
        return [made(piece, state.schema, self._judge, self._measured) for piece in cut]

    def _publish(
        self, state: Unfinished, generation: int, gathered: Gathered, parts_of: Callable[[], list[Made]]
    ) -> Published:
        """Writes a segment; or, where the results are all of a shard's, its sealed file, and returns its counts."""
        results, parts = gathered.results, parts_of()
        if self._seals and not generation and state.untouched and len(results) == state.shard.rows:
            return seal_results(self._run, state.shard, [part.table for part in parts], state.schema), parts
        number = state.numbers.get(generation, 0)
        state.numbers[generation] = number + 1
        first, last = parts[0].results[0].row.number, parts[-1].results[-1].row.number
        segment = Segment(state.shard.stem, generation, self._run.worker, first, last, number, number)
        with self._run.files.create(self._run.layout.segment(segment)) as file:
            about = self._run.about(state.shard, generation)
            seg.write(file, (part.table for part in parts), state.schema, about)
        return segment, parts

    def _measured(self, results: Sequence[Result]) -> Mapping[str, Sequence[float | None]]:
        """The automatic metrics of some rows. Null where they fail, so that no paid reply is lost."""
        if self.measure is None:
            return {}
        try:
            return self.measure(results)
        except Exception as error:  # noqa: BLE001 - a metric may be somebody's own
            said = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
            if said not in self._failures:
                self._failures.add(said)
                self._say(
                    f"The automatic metrics of {len(results)} rows failed and are null ({said}). The run goes on. "
                    "Further such failures are not shown; `scorer metrics` computes the metrics later."
                )
            return {}
