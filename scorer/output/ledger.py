"""The ledger: tokens and money reserved, spent and possibly billed, durable across kill -9.

Each append is one line: the CRC-32 of the rest in hex, a space, and a JSON object. `intend` holds reservations and is
written before their requests are sent. `settle` holds the bills. A reservation without a bill (a crash) counts in full,
for good. A line with a wrong checksum is a torn last line: no request was sent for it.

    {"intend": [[id, tokens, pico], ...]}
    {"settle": [[id, prompt, completion, cached, pico], ...]}      known from the server's usage
    {"unknown": [id, ...]}                                         timeout, cut reply: counts at its reservation
    {"sums": {...}, "open": [requests, tokens, pico]}              without a cap: in place of all lines before it
    {"total": {...}, "covers": ["file", ...]}                      the first line: the sum of these files

A provider batch is an entry of its own that stays open across owners (open_batches.py).

Knows no limits, prices or requests. Longer than other files, because writing and reading the format change together.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from scorer.errors import StorageError
from scorer.files.checked_lines import entry as _entry
from scorer.files.checked_lines import line as _line
from scorer.files.files import Files, replace
from scorer.frozen import replace as replace_fields
from scorer.frozen import values
from scorer.output.ledger_totals import Totals
from scorer.output.open_batches import LineBill, OpenBatches
from scorer.processes.event_loop import shielded
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Offload
from scorer.usage import Usage

ROTATE_BYTES = 4 * 1024 * 1024
GATHER_S = 0.05
UNWRITTEN = 256
"""The most requests without a durable intent where no cap asks for more: storage that refuses writes hides no more."""


class Ledger(PeriodicService):
    """The ledger of one owner: the totals of all owners before its start, and its own entries since.

    `strict`: there is a cap, and each request waits for `written`. Otherwise entries are written every `gather_s`
    seconds, or once half of `UNWRITTEN` reservations are not durable; while it is `behind`, no request may be sent.
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
        self._size = self._whole = self._rotations = 0
        self._left: list[str] = []  # files that are summed up in the present one and could not be deleted yet
        self._offload = offload
        self.totals = Totals()
        """Known and possibly billed so far; what is in flight or in a batch is in `open_tokens` and `open_pico`."""
        self._open: dict[int, tuple[int, int]] = {}
        self._batches = OpenBatches()
        self._next = 0
        self._intend: list[tuple[int, int, int]] = []
        self._settle: list[tuple[int, int, int, int, int]] = []
        self._unknown: list[int] = []
        self._changed = False  # a request was entered since the last write
        self._writing = asyncio.Lock()
        self._coming = self._begun = asyncio.Event()  # that the next write to begin, or the last that began, has ended
        self._called: asyncio.Event | None = None  # the write that somebody has called for
        self._entered = asyncio.Event()
        self._durable = self._upto = 0  # every intent with an id below is on disk, or will be after the write under way
        self._write_at: float = UNWRITTEN // 2  # the id from which on intents are written at once; unless strict
        self._early: asyncio.Task[None] | None = None
        self._on_written: list[Callable[[], None]] = []
        self._failed: StorageError | None = None

    @property
    def owner(self) -> str:
        """The name of its first file. Its later files begin with this name and a dot."""
        return self._first.rpartition("/")[2]

    def reserve(self, tokens: int, pico: int) -> int:
        """Enters a reservation and returns its id. If `strict`, await `written` before the request is sent."""
        number, self._next = self._next, self._next + 1
        self._open[number] = (tokens, pico)
        self.open_tokens += tokens
        self.open_pico += pico
        if not self._changed:  # else it is set already
            self._changed = True
            self._entered.set()
        if self.strict:
            self._intend.append((number, tokens, pico))
        elif number >= self._write_at:
            self._write_at = math.inf  # until that is written
            self._early = asyncio.ensure_future(self._flush_early())
        return number

    @property
    def behind(self) -> bool:
        """`UNWRITTEN` reservations are not durable: no further request may be sent."""
        return self.room <= 0

    @property
    def room(self) -> int:
        """How many requests may be sent until `UNWRITTEN` reservations are not durable. If `strict`, always some."""
        return UNWRITTEN if self.strict else UNWRITTEN - self._next + self._durable

    def on_written(self, wake: Callable[[], None]) -> None:
        """`wake()` is called each time that it stops being `behind`."""
        self._on_written.append(wake)

    def settle(self, number: int, usage: Usage, pico: int) -> None:
        """Enters the bill of a request."""
        self._close(number)
        self.totals.bill(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, pico)
        if self.strict:
            self._settle.append((number, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, pico))

    def cancel(self, number: int) -> None:
        """Enters that a request was not billed."""
        self._close(number)
        if self.strict:
            self._settle.append((number, 0, 0, 0, 0))

    def unknown(self, number: int) -> None:
        """Enters that a request was possibly billed: it counts at its reservation."""
        self.totals.suspect(*self._close(number))
        if self.strict:
            self._unknown.append(number)

    @property
    def open_batches(self) -> set[str]:
        """The nonces of the provider batches that are open."""
        return self._batches.nonces

    def reserve_batch(self, nonce: str, lines: int, tokens: int, pico: int) -> None:
        """Opens a provider batch at its worst case. Await `written` before anything is sent.

        Raises ValueError where it is open already.
        """
        self._batches.reserve(nonce, lines, tokens, pico)
        self._about_batch(-tokens, -pico)

    def settle_lines(self, nonce: str, bills: Sequence[LineBill]) -> None:
        """Enters the bills of lines of a batch. Lines that are settled already, and batches not open, are passed over.

        `written` waits for these entries too.
        """
        self._about_batch(*self._batches.settle(nonce, bills, self.totals))

    def close_batch(self, nonce: str) -> None:
        """Enters that what is left of a batch was not billed. Does nothing where it is not open."""
        self._about_batch(*self._batches.close(nonce))

    def _about_batch(self, freed_tokens: int, freed_pico: int) -> None:
        self.open_tokens -= freed_tokens
        self.open_pico -= freed_pico
        self._next += 1  # `written` waits for it as for a reservation
        self._entered.set()

    def _close(self, number: int) -> tuple[int, int]:
        if not self._changed:
            self._changed = True
            self._entered.set()
        tokens, pico = self._open.pop(number)
        self.open_tokens -= tokens
        self.open_pico -= pico
        return tokens, pico

    async def written(self) -> None:
        """Returns once every reservation entered so far is durable. Raises StorageError."""
        wanted = self._next
        while self._durable < wanted:
            if self._failed is not None:
                raise self._failed
            coming = self._coming
            if wanted <= self._upto:
                await self._begun.wait()
            elif self._called is coming:
                await coming.wait()
            else:  # the first caller writes for all that is entered until then, and all callers go on together
                self._called = coming
                await self._flush(wanted)

    async def costs_written(self) -> None:
        """Returns once the requests whose rows are known are durable, so that no row is stored without its cost.

        If `strict` they are. A row is not held back where the ledger cannot be written: `close` enters its cost.
        """
        if not self.strict:
            with suppress(StorageError):
                await self.written()

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
        """Writes the rest. Requests still in flight count at their reservations.

        Where a write failed, or what was written is no longer there, the sum is written to a new file: the rows that
        were paid for may be stored, since results go to other files. Raises StorageError where that fails too.
        """
        with suppress(StorageError):
            await self._flush()
        if self._failed is not None or await self._offload(self._shortened):
            async with self._writing:
                await shielded(self._rotate())

    async def _flush_early(self) -> None:
        """Writes before `gather_s` is over. A failure is raised by the next write, in `serve` or `close`."""
        try:
            await self._flush()
        except StorageError:
            self._entered.set()

    async def _flush(self, wanted: int | None = None) -> None:
        """Writes what is entered. A caller who waits for `wanted` reservations leaves it once they are durable."""
        coming = self._coming
        try:
            async with self._writing:
                if wanted is not None and self._durable >= wanted:  # another write came before
                    return
                try:
                    await shielded(self._write())
                finally:
                    coming = self._begun
        finally:
            self._upto = self._durable
            if coming is self._coming:  # cancelled before it wrote: another caller does
                self._coming = asyncio.Event()
            coming.set()  # after the lock is free, so that who called for the write goes on first

    async def _write(self) -> None:
        if self._failed is not None:
            raise self._failed
        entry: dict[str, Any] = {}
        self._entered.clear()
        self._begun, self._coming = self._coming, asyncio.Event()
        if self._intend:
            entry["intend"], self._intend = self._intend, []
        if self._settle:
            entry["settle"], self._settle = self._settle, []
        if self._unknown:
            entry["unknown"], self._unknown = self._unknown, []
        entry |= self._batches.take_entries()
        if self._changed and not self.strict:
            entry |= self._sums()
        self._changed = False
        if not entry:
            return
        upto = self._upto = self._next
        try:
            line = _line(entry)
            await self._offload(self._files.append, self._path, line)
        except StorageError as error:
            self._failed = error
            raise
        self._made_durable(upto)
        self._size += len(line)
        self._whole += len(line)
        if self._size > ROTATE_BYTES:
            await self._rotate()

    def _sums(self) -> dict[str, Any]:
        tokens, pico = self._batches.reserved
        left = [len(self._open), self.open_tokens - tokens, self.open_pico - pico]
        return {"sums": values(self.totals), "open": left}

    def _made_durable(self, upto: int) -> None:
        behind, self._durable = self.behind, upto
        self._write_at = upto + UNWRITTEN // 2
        if behind and not self.behind:
            for wake in self._on_written:
                wake()

    async def _rotate(self) -> None:
        """Goes on in a new file that begins with the sum of this one, so that reading the ledger stays cheap."""
        self._rotations += 1
        old, new = self._path, f"{self._first}.{self._rotations}"
        covers = [*self._left, old.rpartition("/")[2]]
        content = _line({"total": values(self.totals), "covers": covers})
        content += _line({"intend": [(number, *reserved) for number, reserved in self._open.items()]})
        if self._batches.nonces:
            content += _line(self._batches.entry())
        self._batches.take_entries()
        # All entries so far are in the sum. Entries from here on are written after it.
        self._intend, self._settle, self._unknown, upto = [], [], [], self._next
        self._changed = False
        self._size = 0
        try:
            await self._offload(replace, self._files, new, content)
        except StorageError as error:
            self._failed = error
            raise
        self._whole = len(content)
        self._path = new  # not before: the next one must cover the file that there is
        self._made_durable(upto)
        self._left = await self._offload(self._undeleted, covers)

    def open(self, mended: Callable[[Totals, bool], Totals] = lambda held, _: held) -> None:
        """Sums up every file of the folder into this owner's new file. Blocking. The caller holds the run's lock.

        `mended` gets the sum, and whether there was a ledger at all, and returns the sum to enter instead. A crash
        changes no sum: the new file appears whole, and from then on it covers the old ones, deleted or not.
        """
        folder = self._path.rpartition("/")[0]
        self._files.sweep(folder)
        names, covered, held, self._batches = _sum(self._files, folder)
        out = Totals()
        self._batches.suspect(out)  # what batches may cost is no missing part
        whole = mended(held + out, self._any(folder, names))
        self.totals = replace_fields(
            whole,
            maybe_requests=whole.maybe_requests - out.maybe_requests,
            maybe_tokens=whole.maybe_tokens - out.maybe_tokens,
            maybe_pico=whole.maybe_pico - out.maybe_pico,
        )
        self.open_tokens, self.open_pico = self._batches.reserved
        while any(f"{folder}/{name}".startswith(self._first) for name in {*names, *covered}):
            self._first += "_"  # a clock set back, and the process number of a container, give a name twice
        self._path = self._first
        content = _line({"total": values(self.totals), "covers": names})
        if self._batches.nonces:
            content += _line(self._batches.entry())
        replace(self._files, self._path, content)
        self._whole = len(content)
        self._left = self._undeleted(names)

    def _shortened(self) -> bool:
        """True where its file was deleted, and perhaps begun again by the next write."""
        folder = self._path.rpartition("/")[0]
        try:
            sizes = {stat.path: stat.size for stat in self._files.listing(folder)}
        except (OSError, StorageError):
            return False
        return sizes.get(self._path, 0) < self._whole

    def _undeleted(self, names: Sequence[str]) -> list[str]:
        """Deletes files that the present one covers. Returns those that remain, for the next one to cover."""
        folder, left = self._path.rpartition("/")[0], []
        for name in names:
            try:
                self._files.delete(f"{folder}/{name}")
            except StorageError:
                left.append(name)
        return left

    def _any(self, folder: str, names: Sequence[str]) -> bool:
        """True where one of the files has a valid first line."""
        for name in names:
            with suppress(FileNotFoundError), self._files.open(f"{folder}/{name}") as file:
                if _entry(file.readline()) is not None:
                    return True
        return False


def totals(files: Files, folder: str, owner: str | None = None) -> Totals:
    """The totals of the ledger in `folder`, or of one owner's files. Reads only.

    Open reservations and batches count as possibly billed.
    """
    _, _, total, batches = _sum(files, folder, owner)
    batches.suspect(total)
    return total


def open_batches(files: Files, folder: str) -> set[str]:
    """The provider batches that are open in the ledger in `folder`, by nonce. Reads only."""
    return _sum(files, folder)[3].nonces


def damaged(files: Files, folder: str) -> str | None:
    """The first file with a damaged line other than a torn last one; None where there is none."""
    for stat in files.listing(folder):
        with files.open(stat.path) as file:
            if any(line.endswith(b"\n") and _entry(line) is None for line in file):
                return stat.path
    return None


def _sum(files: Files, folder: str, owner: str | None = None) -> tuple[list[str], set[str], Totals, OpenBatches]:
    """The names of all files in `folder`, the names that one covers, and the totals and batches of the others."""
    names = [stat.path.rpartition("/")[2] for stat in files.listing(folder)]
    if owner is not None:
        names = [name for name in names if name == owner or name.startswith(f"{owner}.")]
    covered: set[str] = set()
    for name in names:
        with suppress(FileNotFoundError), files.open(f"{folder}/{name}") as file:
            covered.update((_entry(file.readline()) or {}).get("covers", ()))
    total, batches = Totals(), OpenBatches()
    for name in names:
        if name not in covered:
            with suppress(FileNotFoundError), files.open(f"{folder}/{name}") as file:  # else compacted meanwhile
                total += _replay(file, batches)
    return names, covered, total, batches


def _replay(lines: Iterable[bytes], batches: OpenBatches) -> Totals:
    total = Totals()
    intents: dict[int, tuple[int, int]] = {}
    left = (0, 0, 0)  # requests that were open at the last sums
    for line in lines:
        entry = _entry(line) or {}
        if "total" in entry:
            total += Totals(**entry["total"])
        batches.replay(entry, total)
        for number, tokens, pico in entry.get("intend", ()):
            intents[number] = (tokens, pico)
        for number, prompt, completion, cached, pico in entry.get("settle", ()):
            if intents.pop(number, None) is not None and (prompt or completion or pico):
                total.bill(prompt, completion, cached, pico)
        for number in entry.get("unknown", ()):
            if (reserved := intents.pop(number, None)) is not None:
                total.suspect(*reserved)
        if "sums" in entry:
            total, left = Totals(**entry["sums"]), entry["open"]
            intents.clear()
    for reserved in intents.values():
        total.suspect(*reserved)
    requests, tokens, pico = left
    total.suspect(tokens, pico, requests)
    return total
