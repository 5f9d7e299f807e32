"""The chunks of a run that are not closed: which rows each holds, and what the fetched ones answered to a row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from functools import partial
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from scorer.batch.model import BatchModel
from scorer.batch.results import Results
from scorer.batch.rows import Numbers
from scorer.batch.settling import outcome_of, read_reply
from scorer.engine.choices import Answer, as_choices, given_choices
from scorer.engine.partial import Known
from scorer.errors import Rejected, RowError, SetupError, TransientError, Unavailable
from scorer.files.open_files import OpenFiles
from scorer.frozen import dataclass
from scorer.limits import Demand
from scorer.output.chunk import Chunk
from scorer.types import Completion, Reply, Request, Row
from scorer.usage import Spent


class LineIndex:
    """The lines of a chunk, found by row."""

    def __init__(self, lines: pa.Table) -> None:
        shards = lines["shard"].combine_chunks()
        codes = shards.indices.to_numpy()
        rows = lines["row"].to_numpy()
        self._of: dict[str, tuple[Numbers, Numbers]] = {}
        for code, shard in enumerate(shards.dictionary.to_pylist()):
            places = np.flatnonzero(codes == code)
            order = np.argsort(rows[places], kind="stable")
            self._of[shard] = (rows[places][order], places[order])
        self.request = lines["request"].to_numpy()
        self.attempt = lines["attempt"].to_numpy()
        self.choices = lines["choices"].to_numpy()
        self.tokens = lines["tokens"].to_numpy()
        self.pico = lines["pico"].to_numpy()
        self.digest = lines["digest"].combine_chunks()

    def of(self, shard: str, row: int) -> list[int]:
        """The numbers of the lines of a row."""
        rows, places = self._of.get(shard, (_NONE, _NONE))
        first, stop = np.searchsorted(rows, [row, row + 1])
        return [int(line) for line in places[first:stop]]


_NONE: Numbers = np.empty(0, dtype=np.int64)


@dataclass(slots=True, eq=False)
class OpenChunk:
    """A chunk with what is known of it in this process.

    `rows` are its rows by shard, each once, sorted. `index` and `results` are there once it is fetched. `kept` are the
    rows whose replies in it are still needed, `settled` says that its bills are in the ledger. `answered` says whether
    a reply could be read, `setup` is the last complaint of the set-up.
    """

    chunk: Chunk
    model: str
    rows: Mapping[str, Numbers]
    prompt_tokens: int
    index: LineIndex | None = None
    results: Results | None = None
    kept: dict[str, Numbers] = field(default_factory=dict)
    settled: bool = False
    answered: bool = False
    setup: SetupError | None = None

    @property
    def count(self) -> int:
        """How many rows it has."""
        return sum(len(numbers) for numbers in self.rows.values())


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A line of a fetched chunk that answers to `choices` requests of a row, from number `first` on.

    `reply` is None where it was not executed.
    """

    chunk: OpenChunk
    line: int
    attempt: int
    first: int
    choices: int
    reply: Reply | None

    @property
    def rank(self) -> tuple[int, bool]:
        """Of two lines about a request the one with the higher rank counts."""
        return self.attempt, self.reply is not None


class OpenChunks:
    """The chunks of this run by nonce, and the replies in them. `models` are the models by alias.

    `results` opens the file with the results of a chunk. However many chunks wait, few of these files are open.
    """

    def __init__(self, models: Mapping[str, BatchModel], results: Callable[[str], BinaryIO]) -> None:
        self._models = models
        self._files = OpenFiles(results)
        self._chunks: dict[str, OpenChunk] = {}

    def __iter__(self) -> Iterator[OpenChunk]:
        return iter([*self._chunks.values()])

    def put(self, one: OpenChunk) -> None:
        self._chunks[one.chunk.nonce] = one

    def remove(self, one: OpenChunk) -> None:
        self._files.close(one.chunk.nonce)
        del self._chunks[one.chunk.nonce]

    def load(self, one: OpenChunk, lines: pa.Table) -> None:
        """Reads the results of a fetched chunk, whose lines are these. Blocking."""
        api = self._models[one.model].api
        one.results = Results(api, one.chunk, partial(self._files.get, one.chunk.nonce))
        one.index = LineIndex(lines)
        one.kept = dict(one.rows)

    def close(self) -> None:
        """Closes the files of results."""
        self._files.close_all()

    def model_of(self, request: Request) -> BatchModel:
        """The model that a request is for."""
        found = self._models.get(request.model)
        return found if found is not None else next(iter(self._models.values()))

    @property
    def live(self) -> list[OpenChunk]:
        """Those whose rows are out."""
        return [one for one in self if one.chunk.live]

    def of_model(self, model: str, *states: str) -> list[OpenChunk]:
        return [one for one in self if one.model == model and one.chunk.state in states]

    def without_live(
        self, rows: Mapping[str, Numbers], but: OpenChunk | None = None, model: str | None = None
    ) -> dict[str, Numbers]:
        """The rows that are in no live chunk (of a model) other than `but`."""
        found = dict(rows)
        for one in self.live:
            if one is but or (model is not None and one.model != model):
                continue
            for shard in found.keys() & one.rows.keys():
                found[shard] = np.setdiff1d(found[shard], one.rows[shard], assume_unique=True)
        return {shard: numbers for shard, numbers in found.items() if len(numbers)}

    # --- replies ------------------------------------------------------------------------------------------------------

    def known_of(self, row: Row) -> Known | None:
        """What the fetched chunks answer to a row; None where they have nothing of it."""
        best: dict[int, FoundLine] = {}
        shared: Counter[int] = Counter()
        for one, line in self._lines(row.shard, row.number):
            assert one.index is not None
            assert one.results is not None
            result, index = one.results.of(line), one.index
            reply = None if result is None else result.reply
            first, choices = int(index.request[line]), int(index.choices[line])
            for number in range(first, first + choices):
                found = FoundLine(one, line, int(index.attempt[line]), first, choices, reply)
                if number not in best or found.rank > best[number].rank:
                    best[number] = found
                shared[number] += number > first and reply is not None
        if not best:
            return None

        def known(number: int, request: Request) -> Answer | int:
            found = best.get(number)
            return 0 if found is None else self._answer(found, number, shared[number], request)

        return known

    def batch_of(self, row: Row) -> str | None:
        """The id of the batch that answered to a row last; None where none did."""
        found = [one.chunk.batch_id for one, _ in self._lines(row.shard, row.number)]
        return found[-1] if found else None

    def sent_at(self, row: Row) -> float | None:
        """When a row was first sent in one of these chunks, in seconds since 1970; None where it was not."""
        sent = [one.chunk.sending_at for one, _ in self._lines(row.shard, row.number) if one.chunk.sending_at]
        return min(sent, default=None)

    def _lines(self, shard: str, row: int) -> Iterator[tuple[OpenChunk, int]]:
        for one in self._chunks.values():
            if one.results is not None and one.index is not None and shard in one.rows:
                for line in one.index.of(shard, row):
                    yield one, line

    def _answer(self, found: FoundLine, number: int, shared: int, request: Request) -> Answer | int:
        """What a line answers to the request of this number, of which `shared` lines were that of an earlier one."""
        if found.reply is None:
            return found.attempt
        model, one, attempt = self.model_of(request), found.chunk, found.attempt
        assert one.index is not None
        asked = request if found.choices == 1 else as_choices(request, found.choices)
        body = next(model.plain.converse(asked)).body
        place = number - found.first
        if digest_of(body) != one.index.digest[found.line].as_py():
            rejected = Rejected(
                f"Batch {one.chunk.batch_id} answered to another question than this row asks now: the input, or how "
                "scorer makes a request, has changed since it was sent."
            )
            rejected.spent = Spent(0 if place else attempt + 1 - shared)
            return rejected
        read = read_reply(model.provider, asked, found.reply)
        demand = Demand(0, 0, int(one.index.tokens[found.line]), int(one.index.pico[found.line]))
        outcome = outcome_of(model, read, demand)
        spent = Spent(attempt + 1 - shared, usage=outcome.usage, cost_pico=outcome.cost_pico)
        if place:  # it stands in the first of those that were asked together
            spent = Spent()
        elif outcome.usage is not None:
            model.bills.answered(model.bills.worst(model.reservation.demand(asked, body)), outcome.usage, 0.0)
        if isinstance(read, Completion):
            one.answered = True
            return self._choice(model, replace(read, spent=spent, usage=outcome.usage), found, place)
        if isinstance(read, Rejected) and found.choices > 1:  # the number of choices may be what is wrong
            model.separate.add(model.alias)
            return attempt + 1
        if isinstance(read, RowError):
            one.answered = True
            read.spent = spent
            return read
        if isinstance(read, SetupError):
            one.setup = read
        if attempt + 1 < model.retries:
            return attempt + 1
        said = read.detail if isinstance(read, TransientError) else str(read)
        unavailable = Unavailable(f"{attempt + 1} batches answered with an error; the last one said: {said}")
        unavailable.spent = spent
        return unavailable

    def _choice(self, model: BatchModel, read: Completion, found: FoundLine, place: int) -> Answer | int:
        """The reply to one of the requests that were asked together; one without a reply is asked by itself."""
        if found.choices == 1:
            return read
        given = given_choices(read, found.choices)
        if len(given) == 1:
            model.separate.add(model.alias)
        return given[place] if place < len(given) else found.attempt + 1


def digest_of(body: bytes) -> bytes:
    """What stands for a request in a chunk."""
    return hashlib.sha256(body).digest()


def row_sets(tables: Iterable[tuple[str, Numbers]]) -> dict[str, Numbers]:
    """Rows by shard, each once, sorted."""
    return {shard: np.unique(numbers) for shard, numbers in tables if len(numbers)}
