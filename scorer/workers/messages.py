"""The messages between a worker and its broker: plain data, one each way, for any wire.

Times are durations, never clock readings: the two may be on different machines. An endpoint is identified by its
place in the run file.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scorer.output.layout import Segment
from scorer.output.segments import Counts

Amounts = dict[str, float]
"""Of `requests`, `tokens`, `input_tokens` and `output_tokens`, those that are meant."""


class Order(enum.IntEnum):
    """The order of the broker to a worker."""

    SCORE = 0
    DRAIN = 1  # begin no further row, finish those under way, store them, end
    LEAVE = 2  # store what is finished, end
    HURRY = 3  # the same; a storage that refuses is asked for a moment only


class Hello(msgspec.Struct, frozen=True):
    """Everything that a worker needs to start. Secrets are no part of it: they are in its environment.

    `worker` is a number that nobody else ever had in this run, `index` its place among `workers` that share what is in
    flight. `spec` is the run file as run.json keeps it, `run` the id in there. `fingerprint` is what the spec must
    give, `files` the one that result files carry, `judge` the one of the rows. They differ in folders of before 0.2.0,
    and in a retry with other keys, of which `judges` are all. `edition` counts how often the kept columns changed.
    `owner` names the run's ledger. `served` has the address of each embedded judge by its model's alias. `lease_s` is
    how long a slice of a rate may be used; `strict` says that intents must be durable before a request goes out, else
    the ledger's lines gather for `gather_s`.
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


class File(msgspec.Struct, frozen=True):
    """A shard as `scorer.types.Shard` has it."""

    path: str
    stem: str
    size: int
    version: str
    rows: int
    footer: str
    types: str = ""
    at: str = ""


class Slice(msgspec.Struct, frozen=True):
    """Rows of one shard that are this worker's to score: `first` to `stop` - 1, those that `mask` marks (None: all).

    `mask` is `numpy.packbits` of one bit a row. Segments of the shard are numbered from `number` on by whoever writes
    his first one.
    """

    shard: File
    generation: int
    first: int
    stop: int
    mask: bytes | None
    number: int


class Published(msgspec.Struct, frozen=True):
    """A segment that is on disk: its name's numbers, the int64 numbers of its rows, and what they add up to."""

    path: str
    generation: int
    first: int
    last: int
    number: int
    rows: bytes
    scored: int
    errors: dict[str, int]
    copied: int = 0


def published(path: str, segment: Segment, rows: npt.NDArray[np.int64], counts: Counts) -> Published:
    """The message about a segment that holds these rows of a shard."""
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
    )


class Spendings(msgspec.Struct, frozen=True):
    """A worker's spending: its ledger's totals since it began, and what is reserved for requests in flight.

    `keep_tokens` and `keep_pico` are the allowance that it keeps, spent and in flight included: what it had beyond is
    given back. `next_tokens` and `next_pico` are what the next request takes at most, where that is more than is left;
    `wish_tokens` and `wish_pico` what it would like to have more.
    """

    totals: dict[str, int]
    open_tokens: int = 0
    open_pico: int = 0
    keep_tokens: int = 0
    keep_pico: int = 0
    hungry: bool = False
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
    """A 429 to a request that was sent `ago_s` before this message, and how long it asks to wait (None: no word).

    `quota`: it is about a day's quota or a longer one.
    """

    ago_s: float
    retry_after_s: float | None
    quota: bool = False


class Pace(msgspec.Struct, frozen=True):
    """The state of one endpoint's limiter in a worker.

    `unused` is all that is left of its lease, which ends with this message; `least` is what the head of its queue needs
    (empty: nobody waits), `wish` what it could use in the time of a lease. `places` is
    how many requests it may have in flight, `down_s` since when the endpoint fails for it, `waits` each limit's share
    of the last minute. `met`: a request was ever answered; `oldest_s` is how long the oldest in flight is out, `why`
    what the last failure said, while nothing was answered since, `notes` what people are to be told. `hidden` and
    `output` are what its bills taught (limits/bills.py).
    """

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


class Failure(msgspec.Struct, frozen=True):
    """What ended a worker: the name of one of scorer's errors and its text, or a traceback, which is a bug."""

    kind: str
    text: str


class Report(msgspec.Struct, frozen=True):
    """A worker's report. It takes `wants` slices of rows; `ended` is its last word, `failure` what ended it.

    `said` are sentences for whoever watches the run.
    `unread` has, by its path, why a shard cannot be read further: it is gone, or another one.
    """

    spendings: Spendings
    paces: list[Pace] = []
    published: list[Published] = []
    wants: int = 0
    ended: bool = False
    failure: Failure | None = None
    said: list[str] = []
    unread: dict[str, str] = {}


class Grant(msgspec.Struct, frozen=True):
    """A lease of one endpoint's rates, or the seconds until it is worth asking again. `pause_s`: nobody sends.

    `hidden` and `output` are the most that anybody's bills taught.
    """

    amounts: Amounts = {}
    wait_s: float = 0.0
    pause_s: float = 0.0
    hidden: int = 0
    output: int = 0


class Answer(msgspec.Struct, frozen=True):
    """The broker's answer to a report.

    `done` says that no row is left for anybody. `tokens` and `pico` are added to the allowance; `recall` asks to give
    back what of it is not in flight; `refused` is the text of BudgetSpent.
    """

    order: Order = Order.SCORE
    slices: list[Slice] = []
    done: bool = False
    grants: list[Grant] = []
    tokens: int = 0
    pico: int = 0
    recall: bool = False
    refused: str | None = None


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
