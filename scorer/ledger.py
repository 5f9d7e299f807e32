"""What was reserved, spent and possibly billed: the one truth about tokens and money, kept across kill -9.

Each append is one line: the CRC-32 of what follows in hex, a space, and a JSON object. `intend` holds what may be spent
from now on, written before the request goes out; `settle` what became of it. An intent that nothing settled (a crash)
counts at its reservation, for good. A line whose checksum is wrong is a torn tail and was never acted upon.

    {"intend": [[id, tokens, pico], ...]}
    {"settle": [[id, prompt, completion, cached, pico], ...]}      known from the server's usage
    {"unknown": [id, ...]}                                         timeout, cut reply: counts at its reservation
    {"total": {...}, "covers": ["file", ...]}                      compaction: those files are summed up in here

Knows nothing of limits, prices or requests.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from scorer.errors import StorageError
from scorer.files import Files, read
from scorer.offload import uninterrupted
from scorer.schema import Offload, Usage


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums since the run began. `maybe_*` are bills that nobody confirmed, at their reservations."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    pico: int = 0
    maybe_requests: int = 0
    maybe_tokens: int = 0
    maybe_pico: int = 0

    @property
    def tokens(self) -> int:
        """All tokens that count against a cap."""
        return self.prompt_tokens + self.completion_tokens + self.maybe_tokens

    @property
    def money_pico(self) -> int:
        """All money that counts against a cap."""
        return self.pico + self.maybe_pico

    def __add__(self, other: Totals) -> Totals:
        mine, theirs = asdict(self), asdict(other)
        return Totals(**{name: mine[name] + theirs[name] for name in mine})


class Ledger:
    """The books of one owner: totals of all owners up to the start, its own since.

    `strict` makes `written` wait until every intent so far is durable; without a cap nobody needs to wait, and lines
    gather for `gather_s`.
    """

    def __init__(
        self, files: Files, folder: str, owner: str, *, offload: Offload, strict: bool, gather_s: float = 0.05
    ) -> None:
        self.strict = strict
        self.open_tokens = 0
        self.open_pico = 0
        self._files = files
        self._path = f"{folder}/{owner}"
        self._offload = offload
        self._gather_s = gather_s
        self._past = Totals()
        self._now = Totals()
        self._open: dict[int, tuple[int, int]] = {}
        self._next = 0
        self._intend: list[tuple[int, int, int]] = []
        self._settle: list[tuple[int, int, int, int, int]] = []
        self._unknown: list[int] = []
        self._writing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._durable = 0  # every intent with an id below this one is on disk
        self._failed: StorageError | None = None

    @property
    def totals(self) -> Totals:
        """Known and possibly billed so far; what is in flight is in `open_tokens` and `open_pico`."""
        return self._past + self._now

    def reserve(self, tokens: int, pico: int) -> int:
        """Enters an intent and returns its id; `await written()` before acting on it."""
        number, self._next = self._next, self._next + 1
        self._open[number] = (tokens, pico)
        self.open_tokens += tokens
        self.open_pico += pico
        self._intend.append((number, tokens, pico))
        return number

    def settle(self, number: int, usage: Usage, pico: int) -> None:
        """Enters what the server said it took."""
        self._close(number)
        now = self._now
        self._now = replace(
            now,
            requests=now.requests + 1,
            prompt_tokens=now.prompt_tokens + usage.prompt_tokens,
            completion_tokens=now.completion_tokens + usage.completion_tokens,
            cached_tokens=now.cached_tokens + usage.cached_tokens,
            pico=now.pico + pico,
        )
        self._settle.append((number, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, pico))

    def cancel(self, number: int) -> None:
        """Enters that nothing was billed."""
        self._close(number)
        self._settle.append((number, 0, 0, 0, 0))

    def unknown(self, number: int) -> None:
        """Enters that it may have been billed: it counts at its reservation."""
        tokens, pico = self._close(number)
        now = self._now
        self._now = replace(
            now,
            maybe_requests=now.maybe_requests + 1,
            maybe_tokens=now.maybe_tokens + tokens,
            maybe_pico=now.maybe_pico + pico,
        )
        self._unknown.append(number)

    def _close(self, number: int) -> tuple[int, int]:
        tokens, pico = self._open.pop(number)
        self.open_tokens -= tokens
        self.open_pico -= pico
        return tokens, pico

    async def written(self) -> None:
        """Returns when every intent entered so far is durable (at once unless `strict`). Raises StorageError."""
        if not self.strict:
            return
        wanted = self._next
        while self._durable < wanted:
            async with self._writing:  # whoever comes first writes for all who wait behind
                if self._durable < wanted:
                    await uninterrupted(self._write())

    async def serve(self) -> None:
        """Writes what gathers, until `stop`."""
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._gather_s):
                    await self._stopping.wait()
            await self.close()

    def stop(self) -> None:
        """Lets `serve` return once what it is writing is written."""
        self._stopping.set()

    async def close(self) -> None:
        """Writes the rest. What is still in flight stays an intent and so counts as spent."""
        async with self._writing:
            await uninterrupted(self._write())

    async def _write(self) -> None:
        if self._failed is not None:
            raise self._failed
        entry: dict[str, Any] = {}
        if self._intend:
            entry["intend"], self._intend = self._intend, []
        if self._settle:
            entry["settle"], self._settle = self._settle, []
        if self._unknown:
            entry["unknown"], self._unknown = self._unknown, []
        if not entry:
            return
        upto = self._next
        try:
            await self._offload(self._files.append, self._path, _line(entry))
        except StorageError as error:
            self._failed = error
            raise
        self._durable = upto

    def open(self) -> None:
        """Sums up every file of the folder into this owner's new one. Blocking; call it while holding the run's lock.

        A crash in here changes no sum: until the new file is whole it is not there, and from then on it covers the old
        ones whether or not they are deleted yet.
        """
        folder = self._path.rpartition("/")[0]
        self._files.sweep(folder)
        names, self._past = _sum(self._files, folder)
        with self._files.create(self._path) as file:
            file.write(_line({"total": asdict(self._past), "covers": names}))
        for name in names:
            self._files.delete(f"{folder}/{name}")


def totals(files: Files, folder: str) -> Totals:
    """What the books in `folder` say, open intents counted as possibly billed. Reads, changes nothing."""
    return _sum(files, folder)[1]


def damaged(files: Files, folder: str) -> str | None:
    """The first file in which a line other than a torn last one cannot be trusted; None where all can."""
    for stat in files.listing(folder):
        data = read(files, stat.path)
        whole = data[: data.rfind(b"\n") + 1]
        if len(list(_lines(whole))) != whole.count(b"\n"):
            return stat.path
    return None


def _sum(files: Files, folder: str) -> tuple[list[str], Totals]:
    entries: dict[str, list[dict[str, Any]]] = {}
    for stat in files.listing(folder):
        try:
            entries[stat.path.rpartition("/")[2]] = list(_lines(read(files, stat.path)))
        except FileNotFoundError:
            continue  # compacted away between the listing and now
    covered = {name for lines in entries.values() for line in lines for name in line.get("covers", ())}
    total = Totals()
    for name, lines in entries.items():
        if name not in covered:
            total += _replay(lines)
    return sorted(entries), total


def _replay(lines: Iterable[dict[str, Any]]) -> Totals:
    total, intents = Totals(), {}
    known, maybe = [0] * 5, [0] * 3
    for line in lines:
        if "total" in line:
            total += Totals(**line["total"])
        for number, tokens, pico in line.get("intend", ()):
            intents[number] = (tokens, pico)
        for number, prompt, completion, cached, pico in line.get("settle", ()):
            if intents.pop(number, None) is not None and (prompt or completion or pico):
                known = [a + b for a, b in zip(known, (1, prompt, completion, cached, pico), strict=True)]
        for number in line.get("unknown", ()):
            tokens, pico = intents.pop(number, (0, 0))
            maybe = [maybe[0] + 1, maybe[1] + tokens, maybe[2] + pico]
    for tokens, pico in intents.values():
        maybe = [maybe[0] + 1, maybe[1] + tokens, maybe[2] + pico]
    return total + Totals(*known, *maybe)


def _line(entry: dict[str, Any]) -> bytes:
    text = orjson.dumps(entry)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _lines(data: bytes) -> Iterable[dict[str, Any]]:
    for line in data.split(b"\n"):
        checksum, _, text = line.partition(b" ")
        try:
            if text and int(checksum, 16) == zlib.crc32(text):
                yield orjson.loads(text)
        except ValueError:
            continue
