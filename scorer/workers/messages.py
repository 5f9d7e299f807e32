"""The messages between a worker and its broker: plain data, one in each direction, for any transport.

Times are durations and never clock readings, since the two may be on different machines. An endpoint is identified by
its place in the run file's order; a replica of a fleet by its address, too.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scorer.output.canary_files import CanaryAnswer
from scorer.output.layout import Segment
from scorer.output.row_counts import Counts

MOST_LATENCIES = 16
Amounts = dict[str, float]
"""Amounts by the name of the limit: `requests`, `tokens`, `input_tokens`, `output_tokens`."""


class Order(enum.IntEnum):
    """The order of the broker to a worker."""

    SCORE = 0
    DRAIN = 1  # begin no further row, finish rows in flight, store them, end
    LEAVE = 2  # store finished rows, end
    HURRY = 3  # as LEAVE, with short retries of failing storage


class Hello(msgspec.Struct, frozen=True):
    """All that a worker needs to start, except secrets: they are in its environment.

    `worker` is a number that no other worker of this run ever has. `index` is its place among the `workers` that share
    the requests in flight. `spec` is the run file as run.json keeps it, and `run` the run's id. The spec must have the
    fingerprint `fingerprint`. Result files carry `files`, and rows `judge`. The three differ in folders of versions
    before 0.2.0 and in a retry with other keys; `judges` are all of them. `edition` counts the changes of the kept
    columns. `owner` is the name of the run's ledger. `served` has the addresses of embedded judges by alias. A lease of
    a rate is valid for `lease_s`. `strict`: ledger entries must be durable before their requests are sent; otherwise
    they are written every `gather_s` seconds. With a `canary_seed` canaries are drawn by it.
    """

    worker: int
    index: int
    workers: int
    spec: dict[str, Any]
    run: str
    fingerprint: str
    files: str
    judge: str
    judges: dict[str, int]
    edition: int
    owner: str
    served: dict[str, str]
    lease_s: float
    strict: bool
    gather_s: float
    canary_seed: str | None = None


class File(msgspec.Struct, frozen=True):
    """A `scorer.types.Shard` as a message."""

    path: str
    stem: str
    size: int
    version: str
    rows: int
    footer: str
    types: str = ""
    at: str = ""


class Slice(msgspec.Struct, frozen=True):
    """Rows of one shard that are leased to a worker: those of `first` to `stop` - 1 that `mask` marks (None: all).

    `mask` is `numpy.packbits` of one bit for each row. A worker numbers its segments of the shard from `number` on.
    """

    shard: File
    generation: int
    first: int
    stop: int
    mask: bytes | None
    number: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.stop - self.first if self.mask is None else int.from_bytes(self.mask, "big").bit_count()


class Published(msgspec.Struct, frozen=True):
    """A segment that is on disk: the numbers in its name, its row numbers as int64, and its counts.

    `scores` are those of its rows as float64, NaN where a row ended in an error.
    """

    path: str
    generation: int
    first: int
    last: int
    number: int
    rows: bytes
    scored: int
    errors: dict[str, int]
    copied: int = 0
    scores: bytes = b""
    tiers: dict[str, int] = {}

    @property
    def scored_rows(self) -> Iterator[tuple[int, float | None]]:
        """The rows with their scores, None where a row ended in an error."""
        scores = np.frombuffer(self.scores, dtype=np.float64).tolist()
        for row, score in zip(np.frombuffer(self.rows, dtype=np.int64).tolist(), scores, strict=True):
            yield row, None if math.isnan(score) else score


def published(
    path: str, segment: Segment, rows: npt.NDArray[np.int64], counts: Counts, scores: npt.NDArray[np.float64]
) -> Published:
    """The message about a segment that holds these rows of a shard, with these scores."""
    return Published(
        path=path,
        generation=segment.generation,
        first=segment.first,
        last=segment.last,
        number=segment.low,
        rows=rows.tobytes(),
        scored=counts.scored,
        errors=counts.errors,
        copied=counts.copied,
        scores=scores.tobytes(),
        tiers=counts.tiers,
    )


class Spendings(msgspec.Struct, frozen=True):
    """A worker's spending: its ledger's totals since it began, and what is reserved for requests in flight.

    `keep_tokens` and `keep_pico` are the allowance that it keeps, spent and reserved amounts included; the rest of it
    is given back. `lacks_budget`: the next request does not fit. It takes at most `next_tokens` and `next_pico`. The
    worker asks for `wish_tokens` and `wish_pico` on top.
    """

    totals: dict[str, int]
    open_tokens: int = 0
    open_pico: int = 0
    keep_tokens: int = 0
    keep_pico: int = 0
    lacks_budget: bool = False
    next_tokens: int = 0
    next_pico: int = 0
    wish_tokens: int = 0
    wish_pico: int = 0


class GaugeObservation(msgspec.Struct, frozen=True):
    """One rate limit in the headers of a reply to a request that was sent `ago_s` before this message."""

    name: str
    limit: float | None
    remaining: float | None
    ago_s: float


class Throttle(msgspec.Struct, frozen=True):
    """A 429 to a request that was sent `ago_s` before this message, with its Retry-After (None: not stated).

    `quota`: it is for a day's quota or a longer one.
    """

    ago_s: float
    retry_after_s: float | None
    quota: bool = False


class Pace(msgspec.Struct, frozen=True):
    """The state of one endpoint's limiter in a worker.

    The endpoint is that at `place`, and there the replica at `address`, "" for none. `unused` is the rest of its lease,
    which ends with this message. The head of its queue needs `least` (empty: no request waits), and it could use `wish`
    during a lease. `answered`: a request was answered since the last message. `places` is the most requests in flight.
    `down_s` is how long the endpoint has failed, None while it answers. `waits` is the share of the last minute that
    the head waited for each limit. `met`, `oldest_s`, `why` and `notes` are as in limits/load.py, `hidden` and `output`
    as in limits/bills.py. `latencies` are seconds of the latest replies, at most `MOST_LATENCIES` of them.
    """

    place: int = 0
    address: str = ""
    unused: Amounts = {}
    least: Amounts = {}
    wish: Amounts = {}
    observations: list[GaugeObservation] = []
    throttles: list[Throttle] = []
    answered: bool = False
    in_flight: int = 0
    places: int = 0
    down_s: float | None = None
    waits: dict[str, float] = {}
    met: bool = False
    oldest_s: float | None = None
    why: str | None = None
    notes: list[str] = []
    hidden: int = 0
    output: int = 0
    latencies: list[float] = []


class AnsweredCanary(msgspec.Struct, frozen=True):
    """The answer to a canary that was drawn `ago_s` before this message."""

    answer: CanaryAnswer
    ago_s: float


class Failure(msgspec.Struct, frozen=True):
    """The error that ended a worker: the name of its class in scorer.errors and its text; or "" and a traceback."""

    kind: str
    text: str


class Report(msgspec.Struct, frozen=True):
    """A worker's report. It asks for `wants` portions of rows. `ended`: it is the last report, after `failure` if any.

    `canaries` were answered since the last report, in the order in which they were asked; the first one that is not
    reported was asked `oldest_canary_s` ago (None: there is none). `said` are sentences for the user. `unread` says, by
    the path of a shard, why it cannot be read further: it is gone or was replaced.
    """

    spendings: Spendings
    paces: list[Pace] = []
    published: list[Published] = []
    wants: int = 0
    ended: bool = False
    failure: Failure | None = None
    said: list[str] = []
    unread: dict[str, str] = {}
    canaries: list[AnsweredCanary] = []
    oldest_canary_s: float | None = None


class Grant(msgspec.Struct, frozen=True):
    """A lease of one endpoint's rates, or the seconds until the worker should ask again. `pause_s`: no worker sends.

    `hidden` and `output` are the largest of all workers.
    """

    amounts: Amounts = {}
    wait_s: float = 0.0
    pause_s: float = 0.0
    hidden: int = 0
    output: int = 0


class Answer(msgspec.Struct, frozen=True):
    """The broker's answer to a report.

    A portion is one slice, or those of several small shards. `done`: no row is left for any worker. `tokens` and `pico`
    are added to the allowance. `recall`: the worker must give back the part of it that is neither spent nor reserved.
    `refused` is the text of BudgetSpent. `paused`: the worker begins no further row and finishes those in flight.
    `places` is the most requests in flight of each endpoint for this worker, None where it adapts the number itself.
    """

    order: Order = Order.SCORE
    portions: list[list[Slice]] = []
    done: bool = False
    grants: list[Grant] = []
    tokens: int = 0
    pico: int = 0
    recall: bool = False
    refused: str | None = None
    paused: bool = False
    places: list[int | None] = []


def packed(message: Hello | Report | Answer) -> bytes:
    """A message as bytes."""
    return msgspec.msgpack.encode(message)


def hello(data: bytes) -> Hello:
    """The Hello in these bytes."""
    return msgspec.msgpack.decode(data, type=Hello)


def report(data: bytes) -> Report:
    """The Report in these bytes."""
    return msgspec.msgpack.decode(data, type=Report)


def answer(data: bytes) -> Answer:
    """The Answer in these bytes."""
    return msgspec.msgpack.decode(data, type=Answer)
