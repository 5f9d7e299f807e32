"""The chunks of a run that are not closed: which rows each holds, and what the fetched ones answered to a row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace

import numpy as np
import pyarrow as pa

from scorer.batch.model import BatchModel
from scorer.batch.results import Results
from scorer.batch.rows import Numbers
from scorer.batch.settling import outcome_of, read_reply
from scorer.engine.choices import Answer
from scorer.engine.partial import Known
from scorer.errors import Rejected, RowError, SetupError, TransientError, Unavailable
from scorer.frozen import dataclass
from scorer.limits import Demand
from scorer.output.chunk import Chunk
from scorer.types import Completion, Request, Row
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
    rows whose replies in it are still needed, `settled` says that it is booked. `answered` and `setup` say whether a
    reply could be read, and the last complaint of the set-up.
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


class OpenChunks:
    """The chunks of this run by nonce, and the replies in them. `models` are the models by alias."""

    def __init__(self, models: Mapping[str, BatchModel]) -> None:
        self._models = models
        self._chunks: dict[str, OpenChunk] = {}

    def __iter__(self) -> Iterator[OpenChunk]:
        return iter([*self._chunks.values()])

    def put(self, one: OpenChunk) -> None:
        self._chunks[one.chunk.nonce] = one

    def remove(self, one: OpenChunk) -> None:
        if one.results is not None:
            one.results.close()
        del self._chunks[one.chunk.nonce]

    def close(self) -> None:
        """Closes the files of results."""
        for one in self:
            if one.results is not None:
                one.results.close()

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
        lines = [*self._lines(row.shard, row.number)]
        if not lines:
            return None
        best: dict[int, tuple[int, bool, OpenChunk, int]] = {}
        for one, line in lines:
            assert one.index is not None
            assert one.results is not None
            found = one.results.of(line)
            number = int(one.index.request[line])
            rank = (int(one.index.attempt[line]), found is not None and found.reply is not None)
            if number not in best or rank > best[number][:2]:
                best[number] = (*rank, one, line)
        return lambda number, request: self._answer(row, best.get(number), request)

    def batch_of(self, row: Row) -> str | None:
        """The id of the batch that answered to a row last; None where none did."""
        found = [one.chunk.batch_id for one, _ in self._lines(row.shard, row.number)]
        return found[-1] if found else None

    def _lines(self, shard: str, row: int) -> Iterator[tuple[OpenChunk, int]]:
        for one in self._chunks.values():
            if one.results is not None and one.index is not None and shard in one.rows:
                for line in one.index.of(shard, row):
                    yield one, line

    def _answer(self, row: Row, best: tuple[int, bool, OpenChunk, int] | None, request: Request) -> Answer | int:
        if best is None:
            return 0
        attempt, replied, one, line = best
        assert one.index is not None
        assert one.results is not None
        if not replied:
            return attempt
        model = self.model_of(request)
        body = next(model.plain.converse(request)).body
        if digest_of(body) != one.index.digest[line].as_py():
            rejected = Rejected(
                f"Batch {one.chunk.batch_id} answered to another question than this row asks now: the input, or how "
                "scorer makes a request, has changed since it was sent."
            )
            rejected.spent = Spent(attempt + 1)
            return rejected
        found = one.results.of(line)
        assert found is not None
        assert found.reply is not None
        read = read_reply(model.provider, request, found.reply)
        demand = Demand(0, 0, int(one.index.tokens[line]), int(one.index.pico[line]))
        outcome = outcome_of(model, read, demand)
        spent = Spent(attempt + 1, usage=outcome.usage, cost_pico=model.settlement.known_pico(outcome))
        if outcome.usage is not None:
            model.bills.answered(model.reservation.demand(request, body, model.bills), outcome.usage, 0.0)
        if isinstance(read, Completion):
            one.answered = True
            return replace(read, spent=spent, usage=outcome.usage)
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


def digest_of(body: bytes) -> bytes:
    """What stands for a request in a chunk."""
    return hashlib.sha256(body).digest()


def row_sets(tables: Iterable[tuple[str, Numbers]]) -> dict[str, Numbers]:
    """Rows by shard, each once, sorted."""
    return {shard: np.unique(numbers) for shard, numbers in tables if len(numbers)}
