"""Writes the results of some shards, on a thread: as segments, or as the sealed file where they are all of a shard's.

The segment writer decides when, and which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from threading import Lock
from typing import Any, TypeVar

from scorer.files.files import replace
from scorer.frozen import dataclass
from scorer.output import segments as seg
from scorer.output.inventory import Unfinished
from scorer.output.layout import Segment
from scorer.output.row_counts import Counts
from scorer.output.run_files import RunFiles
from scorer.output.seal import incomplete, seal_results
from scorer.output.tables import PIECE_BYTES, Made, Measure, made, made_at_once, pieces
from scorer.types import Result


@dataclass(slots=True)
class Gathered:
    """Results of one shard and generation that are not yet in a segment, and their size in bytes."""

    results: list[Result] = field(default_factory=list)
    size: int = 0


Taken = tuple[Unfinished, int, Gathered]
"""The results of a shard that are written now, and their generation."""
Published = tuple[Segment | Counts, list[Made]]
"""The segment that was written, or the counts of the sealed file; and its tables."""
_Encoded = tuple[str, bytes, Published]
"""A file to write: its path, its bytes, and what it is once it is written."""
T = TypeVar("T")


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
        self._encoding = Lock()  # two threads that encode would wait for malloc's one arena again and again

    def write(self, taken: Sequence[Taken]) -> list[Published | Exception]:
        """What was written for each shard, durable together; or why not, which costs no other shard."""
        with self._encoding:
            encoded = self._encoded(taken)
        with self._run.files.together():
            if encoded is None:
                return [_caught(self._publish, *one) for one in taken]
            return [one if isinstance(one, Exception) else _caught(self._create, *one) for one in encoded]

    def _encoded(self, taken: Sequence[Taken]) -> list[_Encoded | Exception] | None:
        """The files of several small shards, made in memory before the first is written; None where they are not such.

        One step for all shards, then the next one, takes a fifth less time than one shard after the other.
        """
        schema = taken[0][0].schema
        if (
            len(taken) == 1
            or self.measure is not None
            or sum(gathered.size for _, _, gathered in taken) > PIECE_BYTES
            or not all(one.schema.equals(schema) for one, _, _ in taken)
        ):
            return None
        at_once = made_at_once([gathered.results for _, _, gathered in taken], schema, self._judge)
        if at_once is None:
            return None
        table, each = at_once
        counts = Counts.of_parts(table, [len(one.results) for one in each])
        return [_caught(self._encode, *one) for one in zip(taken, each, counts, strict=True)]

    def _encode(self, taken: Taken, made: Made, counts: Counts) -> _Encoded:
        state, generation, gathered = taken
        shard, numbers = state.shard, [result.row.number for result in made.results]
        if self._is_whole(state, generation, gathered):
            if numbers != list(range(shard.rows)):
                raise incomplete(shard, 0, shard.rows, len(set(numbers)))
            published: Published = counts, [made]
            path = self._run.layout.sealed(shard.stem)
        else:
            segment = self._next_segment(state, generation, numbers[0], numbers[-1])
            published = segment, [made]
            path = self._run.layout.segment(segment)
        data = seg.encoded(made.table, state.schema, self._run.about(shard, generation), counts)
        return path, data, published

    def _create(self, path: str, data: bytes, published: Published) -> Published:
        replace(self._run.files, path, data)
        return published

    def _publish(self, state: Unfinished, generation: int, gathered: Gathered) -> Published:
        """Writes a segment; or, where the results are all of a shard's, its sealed file, and returns its counts."""
        cut = [gathered.results] if gathered.size <= PIECE_BYTES else pieces(gathered.results)
        parts = [made(piece, state.schema, self._judge, self._measured) for piece in cut]
        if self._is_whole(state, generation, gathered):
            return seal_results(self._run, state.shard, [part.table for part in parts], state.schema), parts
        first, last = parts[0].results[0].row.number, parts[-1].results[-1].row.number
        segment = self._next_segment(state, generation, first, last)
        with self._run.files.create(self._run.layout.segment(segment)) as file:
            about = self._run.about(state.shard, generation)
            partly = len(gathered.results) < state.shard.rows  # else it may be copied as the sealed file
            seg.write(file, (part.table for part in parts), state.schema, about, merged_soon=partly)
        return segment, parts

    def _is_whole(self, state: Unfinished, generation: int, gathered: Gathered) -> bool:
        """Whether the results are all of a shard's, so that they become its sealed file."""
        return self._seals and not generation and state.untouched and len(gathered.results) == state.shard.rows

    def _next_segment(self, state: Unfinished, generation: int, first: int, last: int) -> Segment:
        number = state.numbers.get(generation, 0)
        state.numbers[generation] = number + 1
        return Segment(state.shard.stem, generation, self._run.worker, first, last, number, number)

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


def _caught(act: Callable[..., T], *args: Any) -> T | Exception:
    """What `act` returns, or the exception that it raises, for the caller to raise."""
    try:
        return act(*args)
    except Exception as error:  # noqa: BLE001 - raised by the segment writer
        return error
