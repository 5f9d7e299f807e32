"""The files and batches of the simulated judge, and what both protocols share: clock, faults of the moment, paging."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from random import Random
from typing import Any, BinaryIO, TypeVar

from scorer.frozen import dataclass
from scorer.rehearsal.batches.ask import Ask, Reply, gateway, json, parsed, refusal
from scorer.rehearsal.batches.batch import BatchContext, SimulatedBatch, Wording
from scorer.rehearsal.batches.config import BatchConfig
from scorer.rehearsal.batches.log import BatchLog
from scorer.rehearsal.batches.requests_file import FileRefused, Line, RequestsFile
from scorer.rehearsal.request_body import Endpoint
from scorer.rehearsal.simulator import RehearsalJudge

T = TypeVar("T")
LONGEST_NAME = 64


@dataclass(slots=True)
class StoredFile:
    """An uploaded file, or one of results: then `batch` is the batch whose billed lines it holds."""

    id: str
    name: str
    purpose: str
    made_at: float
    file: BinaryIO
    size: int
    batch: str = ""


class BatchStore:
    """Everything that was made. `now` of each method is the judge's time; `date` turns it into the provider's clock."""

    def __init__(self, judge: RehearsalJudge, config: BatchConfig, rng: Random) -> None:
        self.judge, self.config, self.rng = judge, config, rng
        self.log = BatchLog()
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, SimulatedBatch] = {}
        self._made = 0

    def advance(self, now: float) -> None:
        for batch in self.batches.values():
            batch.advance(now)

    @property
    def idle(self) -> bool:
        """Nothing will happen by itself."""
        return all(batch.ended_at is not None for batch in self.batches.values())

    def clock(self, now: float) -> float:
        """The provider's clock, in seconds since 1970."""
        return self.judge.epoch + now + self.config.clock_s

    def date(self, now: float) -> str:
        """The `Date` of a reply."""
        spread = self.config.clock_spread_s
        return formatdate(self.clock(now) + (self.rng.uniform(-spread, spread) if spread else 0.0), usegmt=True)

    def draw(self, share: float) -> bool:
        return bool(share) and self.rng.random() < share

    def new_id(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}{self._made:06d}{self.rng.randrange(16**8):08x}"

    # --- what is made -------------------------------------------------------------------------------------------------

    def keep(self, file: BinaryIO, size: int, name: str, purpose: str, now: float, batch: str = "") -> StoredFile:
        stored = StoredFile(self.new_id("file-"), name, purpose, now, file, size, batch)
        self.files[stored.id] = stored
        return stored

    def make(
        self,
        prefix: str,
        read: Callable[[], tuple[RequestsFile, str, int]],
        wording: Wording,
        endpoint: Endpoint,
        extra: Mapping[str, Any],
        now: float,
        *,
        lost: str,
        config: BatchConfig | None = None,
    ) -> SimulatedBatch:
        """A new batch, or by `create_twice` two where the answer is to be `lost`; the first is returned."""
        config = config or self.config
        tier = ("batch" if endpoint == "messages" else "default") if config.names_tier else None
        made: list[SimulatedBatch] = []
        for _ in range(1 + (bool(lost) and self.draw(config.create_twice))):
            id = self.new_id(prefix)

            def enqueued(model: str, at: float, own: str = id) -> int:
                return self._enqueued(model, at, own)

            about = BatchContext(self.judge, self.log, config, wording, endpoint, tier, enqueued)
            made.append(SimulatedBatch(id, now, read, about, Random(self.rng.getrandbits(64)), extra))
            self.batches[id] = made[-1]
            self.log.note("batches")
        return made[0]

    def counted(self, endpoint: Endpoint) -> tuple[Callable[[Line, int], str], Callable[[], int]]:
        """A check of a line that returns its model, and the sum of the prompt tokens of all lines that it saw."""
        total, invalid = 0, re.compile(self.config.invalid) if self.config.invalid else None

        def check(line: Line, number: int) -> str:
            nonlocal total
            value = parsed(line.body)
            text, tokens = self.judge.answerer.size(endpoint, value)
            if invalid and invalid.search(text):
                where = number if self.config.invalid_line else None
                raise FileRefused("invalid_request", "A request in the file is invalid.", where)
            total += tokens
            return str(value.get("model")) if isinstance(value, dict) else ""

        return check, lambda: total

    def _enqueued(self, model: str, now: float, own: str) -> int:
        release_s = self.config.release_s
        return sum(
            batch.tokens
            for batch in self.batches.values()
            if batch.id != own and batch.model == model and (batch.ended_at is None or now < batch.ended_at + release_s)
        )

    # --- replies ------------------------------------------------------------------------------------------------------

    def busy(self) -> Reply | None:
        """The answer of a provider that does nothing at the moment."""
        if not self.draw(self.config.busy):
            return None
        self.log.note("busy")
        if self.draw(0.5):
            return refusal(500, "The server had an error while processing your request.", "server_error")
        reply = refusal(429, "Too many requests.", "rate_limit_exceeded")
        return Reply(reply.status, reply.body, headers={**reply.headers, "retry-after": "1"})

    def lost(self, what: str) -> str:
        """How the reply to a create or an upload is lost, "" for not; `what` is create or upload."""
        for fault in ("502", "504", "reset", "hang"):
            if self.draw(self.config.share(f"{what}_{fault}")):
                self.log.note(f"{what}_{fault}")
                return fault
        return ""

    def made(self, view: object, lost: str) -> Reply:
        """The reply to a create or an upload, or what comes instead."""
        match lost:
            case "":
                return json(view)
            case "reset":
                return Reply(wire="reset")
            case "hang":
                return Reply(wire="hang")
            case _:
                return gateway(int(lost))

    def download(self, file: BinaryIO, size: int, batch: str, kind: str) -> Reply:
        """The bytes of a file, or what comes instead. `batch` is paid for what it holds."""
        self.log.note("downloads")
        headers = {"content-type": kind}
        for fault in ("502", "cut", "short"):
            if self.draw(self.config.share(f"download_{fault}")):
                self.log.note(f"download_{fault}")
                if fault == "502":
                    return gateway(502)
                return Reply(200, file=file, size=size, headers=headers, wire="cut" if fault == "cut" else "short")
        return Reply(200, file=file, size=size, headers=headers, fetches=batch)

    def delivered(self, batch: str) -> None:
        """The results of a batch reached a client, whole."""
        found = self.batches.get(batch)
        if found is not None:
            self.log.fetched(found.billed)

    def shown(self, things: Sequence[tuple[float, T]], now: float) -> list[T]:
        """What a listing shows, the newest first."""
        listed = [thing for made_at, thing in things if now - made_at >= self.config.list_lag_s]
        return [thing for thing in reversed(listed) for _ in range(1 + self.draw(self.config.list_twice))]

    def gone(self, batch: SimulatedBatch, now: float) -> bool:
        return batch.ended_at is not None and now > batch.ended_at + self.config.keep_s


def page(
    query: Mapping[str, str], ids: Sequence[str], after: str, most: int, plain: int, view: Callable[[str], object]
) -> Reply:
    """A page of a listing; `after` names the parameter that says behind which id it begins."""
    try:
        limit = int(query.get("limit", plain))
    except ValueError:
        limit = 0
    if not 1 <= limit <= most:
        return refusal(400, f"Invalid 'limit': expected a value from 1 to {most}.")
    behind = query.get(after)
    if behind is not None:
        if behind not in ids:
            return refusal(400, f"Invalid '{after}': no such object: {behind}")
        ids = ids[len(ids) - list(reversed(ids)).index(behind) :]
    data = list(ids[:limit])
    return json(
        {
            "object": "list",
            "data": [view(id) for id in data],
            "first_id": data[0] if data else None,
            "last_id": data[-1] if data else None,
            "has_more": len(ids) > limit,
        }
    )


def loaded(ask: Ask) -> Any:
    """The JSON value of a body; None where it is none."""
    if ask.body is None:
        return None
    ask.body.seek(0)
    return parsed(ask.body.read())
