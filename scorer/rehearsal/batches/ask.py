"""A request to the batch endpoints, and what is answered: plain values, for a server and for a simulation alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Literal, cast

import orjson

from scorer.frozen import dataclass
from scorer.rehearsal.replies import JSON, error

Wire = Literal["whole", "reset", "hang", "cut", "short"]
"""How a reply travels: at once; none but a reset; none; half of its declared length; without a length, some lines."""

IN_MEMORY = 1 << 20


class _Spool(SpooledTemporaryFile[bytes]):
    """Closed with its last reference: a batch is forgotten without a word."""

    def __del__(self) -> None:
        self.close()


def spooled() -> BinaryIO:
    """An empty file, in memory while it is small."""
    return cast(BinaryIO, _Spool(max_size=IN_MEMORY))


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. `path` begins below the base address: /batches/ID. `form` are the fields of an upload beside its file.

    `body` holds `size` bytes: the JSON of a request, or the uploaded file.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: BinaryIO | None = None
    size: int = 0
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: bytes, or the first `size` bytes of a file. `fetched` are the batches whose results it holds."""

    status: int = 200
    body: bytes = b""
    file: BinaryIO | None = None
    size: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    wire: Wire = "whole"
    fetches: str = ""


def parsed(body: bytes) -> Any:
    """The JSON value; None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def json(value: object, status: int = 200) -> Reply:
    return Reply(status, orjson.dumps(value), headers={"content-type": JSON})


def refusal(status: int, message: str, code: str | None = None) -> Reply:
    """An error in OpenAI's words."""
    return Reply(status, error(message, "invalid_request_error", code), headers={"content-type": JSON})


_GATEWAY = "<html><head><title>{0}</title></head><body><center><h1>{0} Bad Gateway</h1></center></body></html>"


def gateway(status: int) -> Reply:
    """What a gateway says that got no answer from what stands behind it."""
    return Reply(status, _GATEWAY.format(status).encode(), headers={"content-type": "text/html"})
