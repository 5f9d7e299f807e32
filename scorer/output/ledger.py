"""The ledger: tokens and money reserved, spent and possibly billed, durable across kill -9.

Each append is one line: the CRC-32 of what follows in hex, a space, and a JSON object. `intend` holds what may be spent
from now on, written before the request goes out; `settle` what became of it. An intent that nothing settled (a crash)
counts at its reservation, for good. A line whose checksum is wrong is a torn tail and was never acted upon.

    {"intend": [[id, tokens, pico], ...]}
    {"settle": [[id, prompt, completion, cached, pico], ...]}      known from the server's usage
    {"unknown": [id, ...]}                                         timeout, cut reply: counts at its reservation
    {"total": {...}, "covers": ["file", ...]}                      the first line: those files are summed up in here

Knows nothing of limits, prices or requests. Longer than other files: who writes the format and who reads it must agree.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any, Self

import orjson

from scorer.errors import StorageError
from scorer.files.files import Files, replace
from scorer.processes.event_loop import shielded
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Offload
from scorer.usage import Usage

ROTATE_BYTES = 4 * 1024 * 1024
GATHER_S = 0.05
UNWRITTEN = 256
"""The most requests without a durable intent where no cap asks for more: storage that refuses writes hides no more."""


@dataclass(slots=True)
class Totals:
    """Sums since the run began; a live ledger's grow under their reader's eyes.

    `maybe_*` are bills that nobody confirmed, at their reservations.
    """

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

    def bill(self, prompt: int, completion: int, cached: int, pico: int) -> None:
        """Adds a request whose bill is known."""
        self.requests += 1
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self.cached_tokens += cached
        self.pico += pico

    def suspect(self, tokens: int, pico: int) -> None:
        """Adds a request that may have been billed, at its reservation."""
        self.maybe_requests += 1
        self.maybe_tokens += tokens
        self.maybe_pico += pico

    def __add__(self, other: Totals) -> Totals:
        total = copy(self)
        total += other
        return total

    def __iadd__(self, other: Totals) -> Self:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


class Ledger(PeriodicService):
    """The books of one owner: totals of all owners up to the start, its own since.

    `strict`: a cap holds, and each request waits for `written`. Otherwise lines gather for `gather_s`, or until half
    of `UNWRITTEN` intents are not durable, and `behind` tells when no further request may be sent.
    """

    def __init__(
        self,
        files: Files,
        folder: str,
        owner: str,
        *,
        offload: Offload,
        strict: bool,
        gather_s: float = GATHER_S,
    ) -> None:
        super().__init__(gather_s)
        self.strict = strict
        self.open_tokens = 0
        self.open_pico = 0
        self._files = files
        self._path = self._first = f"{folder}/{owner}"
        self._size = self._rotations = 0
        self._left: list[str] = []  # files that are summed up in the present one and could not be deleted yet
        self._offload = offload
        self.totals = Totals()
        """Known and possibly billed so far; what is in flight is in `open_tokens` and `open_pico`."""
        self._open: dict[int, tuple[int, int]] = {}
        self._next = 0
        self._intend: list[tuple[int, int, int]] = []
        self._settle: list[tuple[int, int, int, int, int]] = []
        self._unknown: list[int] = []
        self._writing = asyncio.Lock()
        self._wrote = asyncio.Event()  # that the write under way, or the next one, has ended
        self._entered = asyncio.Event()
        self._durable = 0  # every intent with an id below this one is on disk
        self._write_at: float = UNWRITTEN // 2  # the id from which on intents are written at once; unless strict
        self._early: asyncio.Task[None] | None = None
        self._on_written: list[Callable[[], None]] = []
        self._failed: StorageError | None = None

    @property
    def owner(self) -> str:
        """The name of its first file; those that it rotates to begin with it and a dot."""
        return self._first.rpartition("/")[2]

    def reserve(self, tokens: int, pico: int) -> int:
        """Enters an intent and returns its id; `await written()` before acting on it."""
        number, self._next = self._next, self._next + 1
        self._open[number] = (tokens, pico)
        self.open_tokens += tokens
        self.open_pico += pico
        self._intend.append((number, tokens, pico))
        self._entered.set()
        if number >= self._write_at and not self.strict:
            self._write_at = math.inf  # until that is written
            self._early = asyncio.ensure_future(self._flush_early())
        return number

    @property
    def behind(self) -> bool:
        """Without a cap: `UNWRITTEN` intents are not durable, and no further request may be sent."""
        return self._next - self._durable >= UNWRITTEN and not self.strict

    def on_written(self, wake: Callable[[], None]) -> None:
        """`wake()` is called each time that it is `behind` no longer."""
        self._on_written.append(wake)

    def settle(self, number: int, usage: Usage, pico: int) -> None:
        """Enters what the server said it took."""
        self._close(number)
        self.totals.bill(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, pico)
        self._settle.append((number, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, pico))

    def cancel(self, number: int) -> None:
        """Enters that nothing was billed."""
        self._close(number)
        self._settle.append((number, 0, 0, 0, 0))

    def unknown(self, number: int) -> None:
        """Enters that it may have been billed: it counts at its reservation."""
        self.totals.suspect(*self._close(number))
        self._unknown.append(number)

    def _close(self, number: int) -> tuple[int, int]:
        self._entered.set()
        tokens, pico = self._open.pop(number)
        self.open_tokens -= tokens
        self.open_pico -= pico
        return tokens, pico

    async def written(self) -> None:
        """Returns when every intent entered so far is durable. Raises StorageError."""
        wanted = self._next
        while self._durable < wanted:
            if self._writing.locked():
                await self._wrote.wait()
            else:  # whoever comes first writes for all that were entered before, and all of them go on together
                await self._flush()

    async def work(self) -> None:
        """Writes what has gathered."""
        await self._flush()

    async def rest(self) -> None:
        """Returns `gather_s` after the first entry that is not written."""
        await self._entered.wait()
        await super().rest()

    def stop(self) -> None:
        super().stop()
        self._entered.set()

    async def close(self) -> None:
        """Writes the rest. What is still in flight stays an intent and so counts as spent.

        Where a write failed, all is written once more, summed up in a new file: rows that it belongs to may be stored,
        for results and books fill different files. Raises StorageError where that fails too.
        """
        with suppress(StorageError):
            await self._flush()
        if self._failed is not None:
            async with self._writing:
                await shielded(self._rotate())

    async def _flush_early(self) -> None:
        """Writes before `gather_s` is over. A failure is raised by whoever flushes next: `serve` or `close`."""
        try:
            await self._flush()
        except StorageError:
            self._entered.set()

    async def _flush(self) -> None:
        async with self._writing:
            try:
                await shielded(self._write())
            finally:
                self._wrote.set()
                self._wrote = asyncio.Event()

    async def _write(self) -> None:
        if self._failed is not None:
            raise self._failed
        entry: dict[str, Any] = {}
        self._entered.clear()
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
            line = _line(entry)
            await self._offload(self._files.append, self._path, line)
        except StorageError as error:
            self._failed = error
            raise
        self._made_durable(upto)
        self._size += len(line)
        if self._size > ROTATE_BYTES:
            await self._rotate()

    def _made_durable(self, upto: int) -> None:
        behind, self._durable = self.behind, upto
        self._write_at = upto + UNWRITTEN // 2
        if behind and not self.behind:
            for wake in self._on_written:
                wake()

    async def _rotate(self) -> None:
        """Goes on in a new file that sums up this one: reading the books costs the same however long the run."""
        self._rotations += 1
        old, new = self._path, f"{self._first}.{self._rotations}"
        covers = [*self._left, old.rpartition("/")[2]]
        content = _line({"total": asdict(self.totals), "covers": covers})
        content += _line({"intend": [(number, *reserved) for number, reserved in self._open.items()]})
        # All that was entered so far is in it, once: what gathers from here on is written after it.
        self._intend, self._settle, self._unknown, upto = [], [], [], self._next
        self._size = 0
        try:
            await self._offload(replace, self._files, new, content)
        except StorageError as error:
            self._failed = error
            raise
        self._path = new  # not before: the next one must cover the file that there is
        self._made_durable(upto)
        self._left = await self._offload(self._undeleted, covers)

    def open(self, mended: Callable[[Totals, bool], Totals] = lambda held, _: held) -> None:
        """Sums up every file of the folder into this owner's new one. Blocking; call it while holding the run's lock.

        `mended` is given the sum, and whether there were books at all, and returns what is to be entered instead.

        A crash in here changes no sum: until the new file is whole it is not there, and from then on it covers the old
        ones whether or not they are deleted yet.
        """
        folder = self._path.rpartition("/")[0]
        self._files.sweep(folder)
        names, covered, held = _sum(self._files, folder)
        self.totals = mended(held, self._any(folder, names))
        while any(f"{folder}/{name}".startswith(self._first) for name in {*names, *covered}):
            self._first += "_"  # a clock set back, and the process number of a container, give a name twice
        self._path = self._first
        replace(self._files, self._path, _line({"total": asdict(self.totals), "covers": names}))
        self._left = self._undeleted(names)

    def _undeleted(self, names: Sequence[str]) -> list[str]:
        """Deletes files that are summed up in the present one; those that would not go, which the next one covers."""
        folder, left = self._path.rpartition("/")[0], []
        for name in names:
            try:
                self._files.delete(f"{folder}/{name}")
            except StorageError:
                left.append(name)
        return left

    def _any(self, folder: str, names: Sequence[str]) -> bool:
        """True where one of the files holds a line of books."""
        for name in names:
            with suppress(FileNotFoundError), self._files.open(f"{folder}/{name}") as file:
                if _entry(file.readline()) is not None:
                    return True
        return False


def totals(files: Files, folder: str, owner: str | None = None) -> Totals:
    """What the books in `folder` say, or those of one owner, open intents counted as possibly billed. Only reads."""
    return _sum(files, folder, owner)[2]


def damaged(files: Files, folder: str) -> str | None:
    """The first file in which a line other than a torn last one cannot be trusted; None where all can."""
    for stat in files.listing(folder):
        with files.open(stat.path) as file:
            if any(line.endswith(b"\n") and _entry(line) is None for line in file):
                return stat.path
    return None


def _sum(files: Files, folder: str, owner: str | None = None) -> tuple[list[str], set[str], Totals]:
    """The names of all files in `folder`, those that one of them covers, and what the others add up to."""
    names = [stat.path.rpartition("/")[2] for stat in files.listing(folder)]
    if owner is not None:
        names = [name for name in names if name == owner or name.startswith(f"{owner}.")]
    covered: set[str] = set()
    for name in names:
        with suppress(FileNotFoundError), files.open(f"{folder}/{name}") as file:
            covered.update((_entry(file.readline()) or {}).get("covers", ()))
    total = Totals()
    for name in names:
        if name not in covered:
            with suppress(FileNotFoundError), files.open(f"{folder}/{name}") as file:  # else compacted meanwhile
                total += _replay(file)
    return names, covered, total


def _replay(lines: Iterable[bytes]) -> Totals:
    total = Totals()
    intents: dict[int, tuple[int, int]] = {}
    for line in lines:
        entry = _entry(line) or {}
        if "total" in entry:
            total += Totals(**entry["total"])
        for number, tokens, pico in entry.get("intend", ()):
            intents[number] = (tokens, pico)
        for number, prompt, completion, cached, pico in entry.get("settle", ()):
            if intents.pop(number, None) is not None and (prompt or completion or pico):
                total.bill(prompt, completion, cached, pico)
        for number in entry.get("unknown", ()):
            if (reserved := intents.pop(number, None)) is not None:
                total.suspect(*reserved)
    for reserved in intents.values():
        total.suspect(*reserved)
    return total


def _line(entry: dict[str, Any]) -> bytes:
    text = orjson.dumps(entry)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is torn or damaged."""
    checksum, _, text = line.removesuffix(b"\n").partition(b" ")
    try:
        if text and int(checksum, 16) == zlib.crc32(text):
            entry: dict[str, Any] = orjson.loads(text)
            return entry
    except ValueError:
        pass
    return None
