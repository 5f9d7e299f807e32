"""The types that scorer's parts exchange: Row, Request, Completion, Score, Result, and the protocols.

Knows nothing of files, HTTP, clocks or the event loop. Longer than other files, because plug-ins import all from here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scorer.errors import RowError
from scorer.frozen import dataclass
from scorer.usage import Spent, Usage

Mask = npt.NDArray[np.bool_]
"""One boolean for each row of a shard."""

# --- what goes in ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One generation to score.

    `shard` is the path as matched and `number` counts from 0: together they identify the row. `values` holds the
    columns that the judge and the metrics read, as Python objects, null as None. `kept` holds the values of `input.id`
    and `input.keep`, in that order. `tokens` is the estimated length of one request for this row, the judge's constant
    text included; `size` is about the number of bytes of its values. `generation` is copied to the result. `problem` is
    the error of a row for which no request can be made.
    """

    shard: str
    number: int
    values: Mapping[str, Any]
    kept: tuple[Any, ...] = ()
    tokens: int = 0
    size: int = 0
    generation: int = 0
    problem: RowError | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """One input file as it was when first read. `stem` names it in the output; `footer` is a hash of its footer.

    `types` is a hash of the types of its kept columns: result files of equal `types` read as one table. `path` names it
    in every result; `at` is its current path, empty where that is `path`.
    """

    path: str
    stem: str
    size: int
    version: str
    rows: int
    footer: str
    types: str = ""
    at: str = ""

    @property
    def place(self) -> str:
        """The path to open."""
        return self.at or self.path


@dataclass(frozen=True, slots=True)
class Work:
    """Rows of one shard to score; `todo` marks them, None for all. Their results get `generation`.

    With `pause_s` > 0 there are no rows: the system failed to read the shard; try again after so many seconds.
    """

    shard: Shard
    todo: Mask | None = None
    generation: int = 0
    pause_s: float = 0.0


# --- what is asked and answered ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat; `role` is system, user or assistant.

    `constant` characters at its start are the same in every row. `ends` are further places, in characters, where a
    prefix ends that other rows may begin with, too. Prompt caching reads both; they change nothing of the content.
    """

    role: str
    content: str
    constant: int = field(default=0, repr=False, compare=False)
    ends: tuple[int, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Prefix:
    """The start of a prompt: all messages before number `message`, and of that one the characters before `end`.

    `key` is a hash of it. `constant`: every row's prompt begins with it. `size` is its length in bytes. `lasting`: it
    is to be cached for an hour, where the provider has a choice.
    """

    message: int
    end: int
    key: bytes
    size: int = 0
    constant: bool = False
    lasting: bool = False


class RowStart:
    """Shared by the requests of one row that are asked together: `sent` is True once one of them was sent."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


@dataclass(frozen=True, slots=True)
class Classify:
    """Asks a classifier or a reward model for the values of its classes instead of a reply.

    `form` says what of the request's messages is classified: "chat", the conversation by the model's chat template;
    "text", the text of the only message; "pair", the texts of two messages as a pair. With `activation` the values are
    those after the model's activation function (probabilities), else the raw ones (logits).
    """

    form: Literal["chat", "text", "pair"] = "chat"
    activation: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One request to one model: a reply to `messages`, or the log-probabilities of `continuation` after `prompt`.

    Exactly one of `messages` and `continuation` is given. `temperature`, `max_output_tokens` and `seed` are None for
    the model's configured values. `top_logprobs` > 0 asks for that many alternatives at each reply token. `key` holds
    the row's key columns and `index` counts the judge's requests for the row from 0 (both for `recorded`); `model` is
    the alias of a model, "" for the only one. `tokens` is the estimated prompt length.

    `alike` marks samples: consecutive requests that differ only in `seed` and `index` may be sent as the choices of one
    request. `choices` is the number of replies that such a request asks for; a judge leaves it at 1. The engine sets
    `begun` where another request of the row has been answered: a drain does not refuse it. `schema` is the JSON
    schema of the reply, None for free text; a provider whose server takes none leaves it out. With `classify` the
    messages are classified, and the text of the completion is that of `scorer.class_values`. The engine sets `row` for
    requests that are asked together. The client sets `tier` where a request leaves the model's service tier; "" for
    that of the model. The client sets `prefixes`, the shortest first, where the provider is to cache them.
    """

    messages: tuple[Message, ...] = ()
    prompt: str = ""
    continuation: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    seed: int | None = None
    top_logprobs: int = 0
    key: Mapping[str, Any] = field(default_factory=dict)
    index: int = 0
    model: str = ""
    tokens: int = 0
    alike: bool = False
    choices: int = 1
    begun: bool = False
    schema: Mapping[str, Any] | None = None
    classify: Classify | None = None
    row: RowStart | None = None
    tier: str = ""
    prefixes: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token with its natural log-probability and the alternatives at its position, likeliest first."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer to one request.

    `text` is "" where the server gave null content. `finish_reason` is the field's word: stop, length, content_filter,
    or the server's own. `logprobs` are those of the reply's tokens, or of the continuation's; None where not asked or
    not given. `body` is the whole reply as received. `spent` is filled in by the client.

    `choices` are the replies of a request that asked for several, each as a completion without `usage`; fewer where the
    server gave fewer, () where it does not support choices. `text` and the other fields are then those of the first.
    `system_fingerprint` is the server's name for what runs behind the model's; None where it tells none.
    """

    text: str
    finish_reason: str = "stop"
    model: str = ""
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    body: bytes = b""
    spent: Spent = Spent()
    choices: tuple[Completion | RowError, ...] = ()
    system_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP POST. The headers may hold a key, so no repr shows them.

    `timeout_s` limits the wait for the reply; None for the transport's own timeout. `fresh` asks for a new connection.
    `output` is the most tokens of a reply's choice, and how many choices, as the body asks for them; None: the body
    tells. `learned` is the provider's own note of what it knew of the server when it made the call.
    """

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float | None = None
    fresh: bool = False
    output: tuple[int, int] | None = None
    learned: Any = field(default=None, repr=False)


class Line(Protocol):
    """The connection on which a reply came. `ids` are the ids of its last replies, noted by the reader of ids."""

    ids: dict[str, None]

    def drop(self) -> None:
        """Sends no further request on it."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply: status, headers by lower-case name, the whole body.

    `line` is the connection it came on; None where the transport does not say.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    line: Line | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Gauge:
    """One rate limit as the server's headers report it; None for what they lack."""

    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


@dataclass(frozen=True, slots=True)
class RateHint:
    """The rate headers of one reply; `gauges` has the keys requests, tokens, input_tokens, output_tokens."""

    gauges: Mapping[str, Gauge] = field(default_factory=dict)
    retry_after_s: float | None = None


# --- what comes out ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Score:
    """A score on the judge's own scale.

    `method` says how it was read (number, label, json, expected, likelihood); `samples` is the number of replies that
    were read; `fields` holds the judge's further columns by name, as declared in `Judge.fields`.
    """

    value: float
    reason: str | None = None
    method: str = ""
    samples: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one row: exactly one of `score` and `error` is given.

    `raw` has one entry for each request, in the order yielded, None where no reply came. `usage` is None where no reply
    stated it, `cost_pico` where the price is unknown. `finished_at` is in microseconds since 1970, UTC. `copied_from`
    is "shard#row" of the duplicate whose result was copied; such a row cost nothing. `batch` is the provider's id of
    the batch that answered last, None for a row that was asked online.
    """

    row: Row
    score: Score | None
    error: RowError | None
    raw: tuple[str | None, ...] | None
    model: str | None
    finish_reason: str | None
    usage: Usage | None
    cost_pico: int | None
    attempts: int
    waited_s: float
    answered_s: float
    finished_at: int
    copied_from: str | None = None
    batch: str | None = None
    system_fingerprint: str | None = None


# --- the protocols ----------------------------------------------------------------------------------------------------

Conversation = Generator[list[Request], list[Completion | RowError], Score]
"""A judge's dialogue about one row: yields requests, receives an answer to each, returns a score or raises RowError."""


class Judge(Protocol):
    """Turns a row into requests and their answers into a score. Pure: no I/O, no clock, no randomness."""

    columns: tuple[str, ...]
    """The input columns it reads."""
    fields: tuple[pa.Field, ...]
    """The result columns that it adds beside `score`."""
    constant: str
    """The text that every request contains beside the row's own, for counting tokens."""

    def __call__(self, row: Row) -> Conversation: ...


class Provider(Protocol):
    """One provider API: turns a request into HTTP calls, and their replies into a completion. Pure."""

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        """Yields each call to post and receives its reply. Raises RowError, TransientError or SetupError."""
        ...

    def rate(self, headers: Mapping[str, str]) -> RateHint:
        """The rate limits that the headers of a reply state; also called for error replies."""
        ...


class Client(Protocol):
    """Answers one request."""

    async def complete(self, request: Request) -> Completion:
        """Raises RowError for a fault of this row, SetupError or BudgetSpent for one of the run."""
        ...


class Transport(Protocol):
    """Posts bytes and returns bytes."""

    async def post(self, call: Call) -> Reply:
        """Raises Unreachable where no whole reply came back, `unsent.Unsent` where it is cancelled before it wrote."""
        ...


class Store(Protocol):
    """Stores results."""

    def add(self, result: Result) -> None: ...

    async def room(self) -> None:
        """Returns once fewer results than two flushes wait to be written."""
        ...


Offload = Callable[..., Awaitable[Any]]
"""`await offload(fn, *args)` runs blocking work off the event loop: in a thread, or inline in the simulation."""
