"""A lock in a bucket: a lease that is renewed, on one small object written by compare-and-swap.

No clock of one machine is compared with another's. The owner rewrites the object six times a lease. Who finds the same
version still there after one and a half leases of its own time takes it over by the same conditional write, with the
next epoch. An owner whose last renewal began longer ago than a lease is no longer sure of it: it waits until a renewal
succeeds (nobody was faster) or is refused (somebody was: lost for good).

Knows nothing of object storage: a `Cell` is handed in.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import orjson

from scorer.errors import InUse, OutputError, StorageError

LEASE_S = 12.0
BEATS = 6
"""Renewals a lease."""
SILENCE = 1.5
"""So many leases without a renewal, and the owner counts as dead: half a lease for clocks that run unequally fast."""
POLL_S = 0.05

Version = Mapping[str, str]
"""What a store needs to know a version again; None: there must be no object yet."""


class Conflict(Exception):
    """The object is no longer of the version that was to be replaced."""


class Cell(Protocol):
    """One object. Both raise StorageError where the store cannot be asked, after a second or two."""

    def read(self) -> tuple[bytes, Version] | None:
        """Its bytes and version; None where it is not there."""
        ...

    def swap(self, data: bytes, version: Version | None) -> Version:
        """Writes it where it still has that version, and returns the new one. Raises Conflict."""
        ...


@dataclass(frozen=True, slots=True)
class Hold:
    """What the object says. `key` is the owner's alone, `beat` counts its renewals; `free` after a release."""

    owner: str
    epoch: int = 1
    lease_s: float = LEASE_S
    free: bool = False
    beat: int = 0
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


def boot_s() -> float:
    """Seconds of this machine that go on while it is suspended, where the system can tell them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def read_hold(cell: Cell) -> tuple[Hold, Version] | None:
    """What the object says and its version; None where there is none. One that cannot be read is somebody's."""
    if (found := cell.read()) is None:
        return None
    data, version = found
    try:
        return Hold(**orjson.loads(data)), version
    except (ValueError, TypeError):
        return Hold("somebody"), version


class Taker:
    """Takes one lock; remembers since when it has seen the version that is there."""

    def __init__(
        self,
        cell: Cell,
        folder: str,
        *,
        patience_s: float,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = boot_s,
        start: bool = True,
    ) -> None:
        self._cell = cell
        self._folder = folder
        self._patience_s = patience_s
        self._start = start
        self._lease_s = lease_s
        self._clock = clock
        self._seen: tuple[Version, float] | None = None

    def take(self, owner: str) -> Lease:
        """The lock, or InUse: with `again_s` while its holder may be dead, without where it is seen to live."""
        while True:
            began = self._clock()
            found = read_hold(self._cell)
            epoch, version = 1, None
            if found is not None:
                hold, version = found
                if not hold.free:
                    self._wait_for(hold, version, began, self._clock())
                epoch = hold.epoch + 1
            mine = Hold(owner, epoch, self._lease_s)
            with suppress(Conflict):  # somebody was faster: look again
                return Lease(
                    self._cell,
                    mine,
                    _swap(self._cell, mine, version),
                    began,
                    self._folder,
                    patience_s=self._patience_s,
                    clock=self._clock,
                    start=self._start,
                )

    def _wait_for(self, hold: Hold, version: Version, asked: float, answered: float) -> None:
        """Returns where the holder was silent for so long that it counts as dead.

        The version was there at some moment between `asked` and `answered`: silence counts from the end of the first
        look to the beginning of the last.
        """
        in_use = (
            f"{self._folder} is in use by {hold.owner}. One run owns an output folder: wait for it, stop it, or give "
            "this run another output.path."
        )
        if self._seen is None:
            self._seen = version, answered
        elif self._seen[0] != version:
            self._seen = None
            raise InUse(in_use, again_s=None)
        left = self._seen[1] + SILENCE * hold.lease_s - asked
        if left > 0:
            raise InUse(in_use, again_s=min(left, hold.lease_s / BEATS))


class Lease:
    """A lock that is held. A thread of its own renews it, so that a busy event loop loses nothing.

    `start=False` leaves the renewing to whoever calls `renew`. Where the store cannot be asked for `patience_s` beyond
    the lease, it is given up with a StorageError.
    """

    def __init__(
        self,
        cell: Cell,
        hold: Hold,
        version: Version,
        began: float,
        folder: str,
        *,
        patience_s: float,
        clock: Callable[[], float] = boot_s,
        start: bool = True,
    ) -> None:
        self._cell = cell
        self._patience_s = patience_s
        self._hold = hold
        self._version = version
        self._folder = folder
        self._clock = clock
        self._until = began + hold.lease_s
        self._failure: OutputError | StorageError | None = None
        self._released = threading.Event()
        self._renewing = threading.Thread(target=self._renew_on, name="scorer-lease", daemon=True)
        if start:
            self._renewing.start()

    @property
    def epoch(self) -> int:
        return self._hold.epoch

    def sure(self) -> bool:
        """True while nobody else can hold it; False until the store has been asked. Raises OutputError once lost.

        Also StorageError once the store could not be asked for too long.
        """
        if self._failure is not None:
            raise self._failure
        return self._clock() < self._until

    def wait(self, over: Callable[[], bool] = lambda: False) -> None:
        """Returns once it is sure, or released; blocks while the store cannot be asked. Raises as `sure` does.

        Also StorageError once `over` says that nobody waits any more.
        """
        while not self._released.is_set() and not self.sure():
            if over():
                raise StorageError(
                    f"{self._folder}: the storage could not be asked whether this process still owns the folder, and "
                    "the run was told to end. What was stored before is intact; the same command resumes."
                )
            self._released.wait(POLL_S)

    def renew(self) -> None:
        """One renewal; sets what `sure` tells. A store that cannot be asked changes nothing until patience is over."""
        began, next_ = self._clock(), replace(self._hold, beat=self._hold.beat + 1)
        try:
            self._version = _swap(self._cell, next_, self._version)
        except StorageError as error:  # unsure once the lease is over; the same beat is tried again
            if began > self._until + self._patience_s:
                self._failure = error
            return
        except Conflict:
            self._failure = OutputError(
                f"{self._folder} was taken over by {self._holder()}: this process gave no sign of life for longer than "
                f"{self._hold.lease_s:g} s (suspended, or cut off from its storage). It stops here and writes nothing "
                "more; what it had stored is kept, and the new owner goes on from there."
            )
            return
        self._hold, self._until = next_, began + next_.lease_s

    def release(self) -> None:
        """Frees it for the next owner at once; where the store cannot be asked, it runs out by itself."""
        self._released.set()
        if self._renewing.ident is not None:
            self._renewing.join()
        with suppress(Conflict, StorageError):
            _swap(self._cell, replace(self._hold, free=True, beat=self._hold.beat + 1), self._version)

    def _renew_on(self) -> None:
        while self._failure is None and not self._released.wait(self._hold.lease_s / BEATS):
            self.renew()

    def _holder(self) -> str:
        with suppress(StorageError):
            if (found := read_hold(self._cell)) is not None:
                return found[0].owner
        return "another process"


def alive(cell: Cell, *, clock: Callable[[], float] = boot_s, sleep: Callable[[float], None] = time.sleep) -> bool:
    """True where a lock is held and its holder shows a sign of life within two beats and a little: 5 s by default."""
    first = read_hold(cell)
    if first is None or first[0].free:
        return False
    patience_s = first[0].lease_s * 2.5 / BEATS
    until = clock() + patience_s
    while clock() < until:
        sleep(patience_s / 25)
        now = read_hold(cell)
        if now is None or now[0].free:
            return False
        if now[1] != first[1]:
            return True
    return False


def _swap(cell: Cell, hold: Hold, version: Version | None) -> Version:
    """The conditional write. Where only its answer was lost, the object shows that it was done."""
    data = orjson.dumps(asdict(hold))
    try:
        return cell.swap(data, version)
    except Conflict:
        found = cell.read()
        if found is not None and found[0] == data:
            return found[1]
        raise
