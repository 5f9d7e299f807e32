"""A provider of batches in this process, in virtual time: what it was paid for, and the faults that a test asks for.

It processes each batch in one moment, `takes_s` after its creation. The row of a request is the number behind `[row:r`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import orjson
from support.clock import now
from support.inprocess import ROW, own_score

from scorer.batch.http import BatchHttp
from scorer.batch.openai import OpenAIBatches
from scorer.batch.types import Batch, Bounds, Frame, Gone, Problem, ResultLine, Unresolved
from scorer.build.batch_models import MakeApi
from scorer.config.spec import Model
from scorer.errors import ServerFault, TransientError, Unreachable
from scorer.types import Call

BEGAN = 1_790_000_000.0
"""The provider's clock when the virtual one is 0."""


@dataclass
class Made:
    """One batch at the provider."""

    id: str
    nonce: str | None
    at: float
    requests: list[tuple[str, dict[str, Any]]]
    ends_at: float
    problem: Problem | None = None
    cancelled: bool = False
    results: list[bytes] | None = None
    fetched: bool = False


@dataclass
class BatchProvider:
    """`names`: it keeps the nonce of a batch, as OpenAI does and Anthropic does not.

    `paid` counts each row's executed requests, `billed` all of them. Faults: `lost_creates` batches are made and the
    answer is lost; `busy` calls are refused; `lag_s` until a listing shows a batch; `refuses` are rows whose batch
    fails at validation, `names_line` whether it says which; `most` requests or it is token_limit_exceeded; `errors` are
    rows answered 500 so many times; `unexecuted` are rows of a first batch without a reply; `missing` without a line.
    """

    names: bool = True
    takes_s: float = 30.0
    score: Callable[[int], float] = own_score
    """What it says of a row."""
    paid: Counter[int] = field(default_factory=Counter)
    billed: int = 0
    made: dict[str, Made] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    lost_creates: int = 0
    busy: int = 0
    lag_s: float = 0.0
    refuses: set[int] = field(default_factory=set)
    names_line: bool = False
    most: int = 10**9
    errors: Counter[int] = field(default_factory=Counter)
    unexecuted: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    """So many more requests are counted as answered than a batch has results."""
    late_cancels: bool = False
    flaky: bool = False
    """Every other download fails."""
    downloads: int = 0
    status: int = 500
    """That of the rows in `errors`."""
    texts: Counter[int] = field(default_factory=Counter)
    """Rows whose first so many replies cannot be read."""
    choices: int | None = 100
    """The most choices of a request; None: `n` is a 400."""
    sizes: list[int] = field(default_factory=list)
    down_until: float = -1.0
    seen: float = 0.0
    before: float = 0.0

    def __call__(self, model: Model, http: BatchHttp) -> Api:
        return Api(self, http)

    @property
    def make(self) -> MakeApi:
        return self

    @property
    def running(self) -> list[Made]:
        return [one for one in self.made.values() if one.results is None and one.problem is None]

    def twice(self) -> set[int]:
        return {row for row, times in self.paid.items() if times > 1}

    def clock(self) -> float:
        """Seconds of virtual time, which go on where another loop begins."""
        at = now()
        if at < self.seen:
            self.before += self.seen + 1
        self.seen = at
        return self.before + at

    def ask(self) -> None:
        """Every call comes by here."""
        if self.clock() < self.down_until:
            raise Unreachable("cannot reach the provider")
        if self.busy:
            self.busy -= 1
            raise ServerFault("busy")
        for one in self.made.values():
            self.process(one)

    def process(self, one: Made) -> None:
        if one.results is not None or one.problem is not None or (self.clock() < one.ends_at and not one.cancelled):
            return
        rows = [row_of(body) for _, body in one.requests]
        if bad := [n for n, row in enumerate(rows) if row in self.refuses]:
            one.problem = Problem("invalid_request", "a request is wrong", bad[0] + 1 if self.names_line else None)
            return
        if len(rows) > self.most:
            one.problem = Problem("token_limit_exceeded", "Enqueued token limit reached")
            return
        one.results = []
        if one.cancelled and not self.late_cancels:
            one.results = [result_line(id, None) for id, _ in one.requests]
            return
        for (id, body), row in zip(one.requests, rows, strict=True):
            if row in self.missing:
                self.missing.discard(row)
            elif row in self.unexecuted:
                self.unexecuted.discard(row)
                one.results.append(result_line(id, None))
            elif body.get("n", 1) > 1 and self.choices is None:
                one.results.append(result_line(id, {"error": {"message": "n: at most 1", "param": "n"}}, 400))
            elif self.errors[row]:
                self.errors[row] -= 1
                one.results.append(result_line(id, {"error": {"message": "an error"}}, self.status))
            else:
                self.paid[row] += 1
                self.billed += 1
                self.texts[row] -= 1
                text = "no idea" if self.texts[row] >= 0 else f"Score: {self.score(row):g}"
                number = min(body.get("n", 1), self.choices or 1)
                one.results.append(result_line(id, completion(text, str(body["model"]), number)))
        one.results.reverse()
        one.results += one.results[:1]  # a line that came twice


def completion(text: str, model: str, choices: int = 1) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 2 * choices, "total_tokens": 10 + 2 * choices}
    return {"model": model, "choices": [{"index": number, **choice} for number in range(choices)], "usage": usage}


def result_line(id: str, body: dict[str, Any] | None, status: int = 200) -> bytes:
    response = None if body is None else {"status_code": status, "body": body}
    error = {"code": "batch_expired"} if body is None else None
    return orjson.dumps({"custom_id": id, "response": response, "error": error}) + b"\n"


def row_of(body: dict[str, Any]) -> int:
    found = ROW.search(orjson.dumps(body))
    assert found is not None
    return int(found[1])


class Api:
    """A `BatchApi` that speaks to the provider without a wire. Its lines are OpenAI's."""

    frame = Frame(between=b"\n", tail=b"\n")

    def __init__(self, provider: BatchProvider, http: BatchHttp) -> None:
        self._provider = provider
        self._lines = OpenAIBatches(http)
        self.names = provider.names
        self.bounds = Bounds(50_000, 10**8)
        self._asked = False

    @property
    def now(self) -> float | None:
        return BEGAN + self._provider.clock() if self._asked else None

    def _ask(self) -> None:
        self._provider.ask()
        self._asked = True

    def line(self, custom_id: str, call: Call) -> bytes:
        return self._lines.line(custom_id, call)

    async def upload(self, requests: BinaryIO, size: int, nonce: str) -> str:
        self._ask()
        requests.seek(0)
        data = requests.read()
        assert len(data) == size
        id = f"file-{len(self._provider.files)}"
        self._provider.files[id] = data
        return id

    async def create(self, requests: BinaryIO, size: int, nonce: str, input_id: str, call: Call) -> Batch:
        try:
            self._ask()
        except TransientError as error:
            raise Unresolved(str(error)) from error
        provider = self._provider
        lines = [orjson.loads(line) for line in provider.files[input_id].splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        provider.sizes.append(len(lines))
        made = Made(
            f"b{len(provider.made)}",
            nonce if provider.names else None,
            provider.clock(),
            [(line["custom_id"], line["body"]) for line in lines],
            provider.clock() + provider.takes_s,
        )
        provider.made[made.id] = made
        if provider.lost_creates:
            provider.lost_creates -= 1
            raise Unresolved("502")
        return self._shown(made)

    async def look(self, id: str) -> Batch:
        self._ask()
        if id not in self._provider.made:
            raise Gone(id)
        return self._shown(self._provider.made[id])

    async def listed(self, since: float) -> AsyncIterator[Batch]:
        self._ask()
        for one in list(self._provider.made.values()):
            if BEGAN + one.at >= since and self._provider.clock() >= one.at + self._provider.lag_s:
                yield self._shown(one)

    async def cancel(self, id: str) -> None:
        self._ask()
        self._provider.made[id].cancelled = True

    async def fetch(self, id: str, into: BinaryIO) -> None:
        self._ask()
        results = self._provider.made[id].results
        assert results is not None
        self._provider.downloads += 1
        if self._provider.flaky and self._provider.downloads % 2:
            raise ServerFault("502")
        self._provider.made[id].fetched = True
        for line in results:
            into.write(line)

    def read(self, results: Iterable[bytes]) -> Iterator[ResultLine]:
        return self._lines.read(results)

    async def discard(self, batch: Batch) -> None:
        self._ask()

    def _shown(self, one: Made) -> Batch:
        known = Batch(one.id, "running", BEGAN + one.at, one.nonce, len(one.requests))
        if one.problem is not None:
            return replace(known, status="failed", problem=one.problem)
        if one.results is None:
            return known
        answered = sum(b'"error":null' in line for line in one.results[:-1])
        return replace(known, status="ended", results=(one.id,), answered=answered)
