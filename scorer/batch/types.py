"""What a provider says of a batch, one line of its results, and the protocol that a batch API implements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import field
from typing import BinaryIO, Literal, Protocol

from scorer.errors import ScorerError
from scorer.frozen import dataclass
from scorer.types import Call, Reply

Status = Literal["running", "ended", "failed"]
"""`running` until its results are final; `failed` where the provider refused it as a whole, and billed nothing."""


class Unresolved(ScorerError):
    """A request that makes something had no clear answer: it may have been made. Look for it, never ask again."""


class NotAccepted(ScorerError):
    """The provider refused what was asked for, and made nothing. `too_large`: fewer or smaller requests may do."""

    def __init__(self, detail: str, *, too_large: bool = False) -> None:
        self.too_large = too_large
        super().__init__(detail)


class Gone(ScorerError):
    """The provider has no batch or file of this id: it was deleted, or its time is over."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a batch failed as a whole. `line` counts from 1; None where it is not about one line."""

    code: str
    message: str
    line: int | None = None

    @property
    def of_the_moment(self) -> bool:
        """Too many prompt tokens are enqueued: the same requests may be accepted later, or in smaller batches."""
        return self.code == "token_limit_exceeded"


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as its provider shows it. Times are seconds since 1970 on the provider's clock.

    `nonce` is the name that we gave it: None where the provider keeps no name, "" where it does not tell it here.
    `requests` is 0 until it is known. `results` are the ids to download; `awaited`: it ended, and an id is still
    missing that its counts promise. `uncounted`: each request has a result, and its provider tells no counts.
    """

    id: str
    status: Status
    created_at: float
    nonce: str | None = None
    requests: int = 0
    answered: int = 0
    results: tuple[str, ...] = ()
    awaited: bool = False
    uncounted: bool = False
    input_id: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class ResultLine:
    """The result of one request. Without a `reply` it was not executed and not billed; `why` says the provider's word.

    The reply is what the online endpoint would have answered, its body byte for byte as it stands in the results.
    """

    custom_id: str
    reply: Reply | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most requests and bytes that one batch may have."""

    requests: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands before, between and after the requests in the file that is sent."""

    head: bytes = field(default=b"")
    between: bytes = field(default=b"")
    tail: bytes = field(default=b"")


class BatchApi(Protocol):
    """A provider's batch API. Files are streamed both ways, and nothing is held whole in memory.

    Beside what a method names, it may raise TransientError (ask again later) and SetupError (the address or the key).
    """

    bounds: Bounds
    frame: Frame
    names: bool
    """It keeps the nonce of a batch, and lists it."""

    @property
    def now(self) -> float | None:
        """The provider's clock in its last reply; None before the first."""
        ...

    def line(self, custom_id: str, call: Call) -> bytes:
        """One request, as it stands in the file."""
        ...

    async def upload(self, requests: BinaryIO, size: int, nonce: str) -> str:
        """The id of the uploaded file, "" where the API takes the requests with the batch. Asking twice costs nothing.

        Raises NotAccepted.
        """
        ...

    async def create(self, requests: BinaryIO, size: int, nonce: str, input_id: str, call: Call) -> Batch:
        """The new batch; `call` is one of its requests. Raises Unresolved where it may have been made, NotAccepted."""
        ...

    async def look(self, id: str) -> Batch:
        """The batch as it is now. Raises Gone."""
        ...

    def listed(self, since: float) -> AsyncIterator[Batch]:
        """The account's batches that were created at `since` or later, also those of others."""
        ...

    async def cancel(self, id: str) -> None:
        """Asks for the end of a batch. It may complete all the same; does nothing where it has ended. Raises Gone."""
        ...

    async def fetch(self, id: str, into: BinaryIO) -> None:
        """Writes a file of results into an empty file, up to its declared length. Raises Gone."""
        ...

    def read(self, results: Iterable[bytes]) -> Iterator[ResultLine]:
        """The results in the lines of a fetched file, a line possibly twice. What is no result is left out."""
        ...

    async def discard(self, batch: Batch) -> None:
        """Deletes the requests that were uploaded for a batch. Does nothing where there are none."""
        ...
