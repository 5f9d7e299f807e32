"""Builds the requests of one chunk from the rows that are still to be asked. Blocking: it reads the input."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import field
from typing import BinaryIO, cast

from scorer.batch.cutting import Cut, Room, Turn, cut
from scorer.batch.duplicates import Duplicates, Look
from scorer.batch.model import BatchModel
from scorer.batch.open_chunks import digest_of
from scorer.batch.turns import Finished, Missing, advance
from scorer.engine.choices import as_choices, groups_alike
from scorer.engine.partial import Known
from scorer.error_frames import without_frames
from scorer.errors import RowError, ShardChanged, TooLong
from scorer.frozen import dataclass
from scorer.inputs.source import Reader
from scorer.output.chunk import Chunk
from scorer.output.chunk_files import ChunkLine
from scorer.types import Call, Judge, Request, Result, Row, Work

MOST_ASIDE = 10_000
"""So many rows that need no request are held until the next chunk is built."""


@dataclass(slots=True, eq=False)
class Built:
    """The requests of a chunk in a file, and what was found out on the way.

    `finished` are rows that need no request any more; `idle` are rows that ask nothing of this model now, by shard and
    number. `copies` are results of rows that ask what a finished row asked. `unread` says of a shard why it could not
    be read. `call` is the first request.
    """

    cut: Cut
    file: BinaryIO
    size: int
    call: Call | None
    finished: list[tuple[Row, Finished]] = field(default_factory=list)
    idle: list[tuple[str, int]] = field(default_factory=list)
    copies: list[Result] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    more: bool = False
    """It ended before the rows did, since so many of them needed no request."""

    @property
    def lines(self) -> list[ChunkLine]:
        return [line for turn in self.cut.turns for line in turn.lines]


class InputRows:
    """Rows of the input."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, works: Iterable[Work], unread: dict[str, str]) -> Iterator[list[Row]]:
        """The rows of some work; a shard that is gone or changed is noted in `unread`."""
        for work in works:
            try:
                yield from self._reader.read(work)
            except ShardChanged as error:
                unread[work.shard.path] = str(error)


class Builder:
    """Builds chunks. `read` gives the rows of some work, as `InputRows` does.

    `known_of` tells what is known of a row, `model_of` which model a request is for. `fingerprint` is that of the run.
    `duplicates` says which rows wait for another one that asks the same; None: none.
    """

    def __init__(
        self,
        judge: Judge,
        read: Callable[[Iterable[Work], dict[str, str]], Iterator[list[Row]]],
        known_of: Callable[[Row], Known | None],
        model_of: Callable[[Request], BatchModel],
        fingerprint: str,
        duplicates: Duplicates | None = None,
    ) -> None:
        self._duplicates = duplicates
        self._judge = judge
        self.read = read
        self._known_of = known_of
        self._model_of = model_of
        self._fingerprint = fingerprint

    def step(self, row: Row) -> Finished | list[Missing]:
        """The end of a row, or what is missing for its next step."""
        known = self._known_of(row)
        return advance(self._judge, row, known if known is not None else _nothing)

    def build(self, model: BatchModel, nonce: str, works: Iterable[Work], room: Room) -> Built:
        """The requests of as many rows as one chunk may hold. Raises StorageError, InputError."""
        file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - its sender closes it
        frame, chunk = model.api.frame, Chunk(nonce, 10**9)
        made = Built(Cut(()), file, 0, None)
        file.write(frame.head)
        count = 0

        def turns() -> Generator[Turn]:
            nonlocal count
            for rows in self.read(works, made.unread):
                made.more = len(made.finished) + len(made.idle) + len(made.copies) >= MOST_ASIDE
                if made.more:
                    return
                for row in rows:
                    step = self.step(row)
                    if not isinstance(step, Finished) and (other := self._waits_for(row)) != "asks":
                        if other == "waits":
                            made.idle.append((row.shard, row.number))
                        else:
                            made.copies.append(other)
                        continue
                    if isinstance(step, Finished):
                        made.finished.append((row, step))
                        continue
                    asked = [one for one in step if self._model_of(one.request) is model]
                    if not asked:
                        made.idle.append((row.shard, row.number))
                        continue
                    try:
                        turn, bodies, call = self._turn(model, chunk, row, asked, count)
                    except RowError as error:
                        made.finished.append((row, Finished(None, without_frames(error), ())))
                        continue
                    most = model.bounds.bytes - len(frame.head) - len(frame.tail) - len(frame.between) * len(bodies)
                    if sum(turn.sizes) > most:
                        long = TooLong(
                            f"its request has {sum(turn.sizes):,} bytes, and a batch may have {model.bounds.bytes:,} "
                            "(model.batch.max_bytes)."
                        )
                        made.finished.append((row, Finished(None, long, ())))
                        continue
                    yield turn  # a caller that asks for the next one has taken it
                    for body in bodies:
                        file.write(frame.between if count else b"")
                        file.write(body)
                        count += 1
                    made.call = made.call or call

        try:
            with closing(turns()) as source:
                made.cut = cut(source, room, frame)
            file.write(frame.tail)
            made.size = file.tell()
            file.flush()
        except BaseException:
            file.close()
            raise
        return made

    def _waits_for(self, row: Row) -> Look:
        return "asks" if self._duplicates is None else self._duplicates.look(row)

    def _turn(
        self, model: BatchModel, chunk: Chunk, row: Row, asked: Sequence[Missing], first: int
    ) -> tuple[Turn, list[bytes], Call]:
        lines: list[ChunkLine] = []
        bodies: list[bytes] = []
        prompt_tokens = 0
        calls: list[Call] = []
        for place, (number, attempt, request) in enumerate(_together(asked, model)):
            call = next(model.provider.converse(model.marked(request)))
            demand = model.bills.worst(model.reservation.demand(request, call.body))
            digest = digest_of(next(model.plain.converse(request)).body)
            prompt_tokens += demand.tokens
            lines.append(
                ChunkLine(
                    row.shard, row.number, number, attempt, digest, demand.worst_tokens, demand.worst_pico,
                    demand.tokens, model.alias, self._fingerprint, request.choices,
                )
            )  # fmt: skip
            bodies.append(model.api.line(chunk.custom_id(first + place), call))
            calls.append(call)
        return Turn(lines, [len(body) for body in bodies], prompt_tokens), bodies, calls[0]


def _together(asked: Sequence[Missing], model: BatchModel) -> Iterator[tuple[int, int, Request]]:
    """The requests to send, each with its number and attempt: samples that are asked the first time as choices of one.

    A sample that is asked again is a request of its own, so that a refusal of several choices is no refusal of it.
    """
    first = [(one.number, one.request) for one in asked if not one.attempt]
    for group in groups_alike(first, model.separate):
        (number, request), (last, _) = group[0], group[-1]
        if len(group) > 1 and last - number == len(group) - 1:  # a line stands for requests that follow one another
            yield number, 0, as_choices(request, len(group))
        else:
            yield from ((number, 0, request) for number, request in group)
    yield from ((one.number, one.attempt, one.request) for one in asked if one.attempt)


def _nothing(_number: int, _request: Request) -> int:
    return 0
