"""A lock in a bucket: a lease that is renewed, on one small object written by compare-and-swap.

Clocks of different machines are never compared. The owner rewrites the object six times per lease. A process that sees
the same version for one and a half leases of its own clock takes the lock over, by the same conditional write and with
the next epoch. An owner whose last renewal began longer ago than a lease stops writing until a renewal succeeds (it
still owns the lock) or is refused (the lock is lost).

Knows nothing of object storage: it takes a `Cell`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, field, replace
from typing import Protocol

import orjson

from scorer.errors import InUse, OutputError, StorageError
from scorer.frozen import dataclass

LEASE_S = 12.0
BEATS = 6
"""Renewals per lease."""
SILENCE = 1.5
"""Leases without a renewal after which the owner counts as dead; half a lease allows for clocks of unequal speed."""
POLL_S = 0.05
LOOKS = 25
"""So often is a lock read before its holder counts as dead in `alive`."""

Version = Mapping[str, str]
"""What a store needs to recognise a version of an object."""


class Conflict(Exception):
    """The object no longer has the version that was to be replaced."""


class Cell(Protocol):
    """One object. Both methods raise StorageError where the store cannot be reached for as long as the cell tries."""

    def read(self) -> tuple[bytes, Version] | None:
        """Its bytes and version; None where it does not exist."""
        ...

    def swap(self, data: bytes, version: Version | None) -> Version:
        """Writes it if it still has that version (None: if it does not exist), and returns the new version.

        Raises Conflict.
        """
        ...


@dataclass(frozen=True, slots=True)
class Hold:
    """The content of the object. `key` is unique to the owner, `beat` counts its renewals, `free` follows a release."""

    owner: str
    epoch: int = 1
    lease_s: float = LEASE_S
    free: bool = False
    beat: int = 0
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


def boot_s() -> float:
    """A clock of this machine, in seconds, that counts suspended time where the system supports it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def read_hold(cell: Cell) -> tuple[Hold, Version] | None:
    """The content of the object and its version; None where it does not exist. Unreadable content counts as held."""
    if (found := cell.read()) is None:
        return None
    data, version = found
    try:
        return Hold(**orjson.loads(data)), version
    except (ValueError, TypeError):
        return Hold("an unknown process"), version


class LockTaker:
    """Takes one lock. Remembers the version it saw and since when, over several tries.

    `renewed` is the object as renewals reach it: they try for a shorter time than a take, which nothing repeats.
    """

    def __init__(
        self,
        cell: Cell,
        folder: str,
        *,
        renewed: Cell | None = None,
        patience_s: float,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = boot_s,
        start: bool = True,
    ) -> None:
        self._cell = cell
        self._renewed = renewed or cell
        self._folder = folder
        self._patience_s = patience_s
        self._start = start
        self._lease_s = lease_s
        self._clock = clock
        self._seen: tuple[Version, float] | None = None

    def take(self, owner: str) -> Lease:
        """Returns the lock. Raises InUse: with `again_s` while its holder may be dead, without it where it is alive."""
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
            with suppress(Conflict):  # another process was faster: read again
                return Lease(
                    self._renewed,
                    mine,
                    _swap(self._cell, mine, version),
                    began,
                    self._folder,
                    patience_s=self._patience_s,
                    clock=self._clock,
                    start=self._start,
                )

    def _wait_for(self, hold: Hold, version: Version, asked: float, answered: float) -> None:
        """Returns where the holder counts as dead; else raises InUse.

        The version was read at some moment between `asked` and `answered`, so silence is measured from the end of the
        first read to the start of the last.
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
    """A held lock. A thread renews it, so that a busy event loop does not delay renewals.

    With `start=False` the caller calls `renew`. Where the store cannot be reached for `patience_s` beyond the lease,
    the lock is given up with a StorageError.
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
        """True while the lock is certainly held, False until a renewal decides. Raises OutputError once it is lost.

        Raises StorageError once the store could not be reached for too long.
        """
        if self._failure is not None:
            raise self._failure
        return self._clock() < self._until

    def wait(self, over: Callable[[], bool] = lambda: False) -> None:
        """Returns once `sure` is True or the lock is released; blocks until then. Raises as `sure` does.

        Raises StorageError once `over` returns True: the run is to end.
        """
        while not self._released.is_set() and not self.sure():
            if over():
                raise StorageError(
                    f"{self._folder}: the storage could not be asked whether this process still owns the folder, and "
                    "the run was ended. What was stored before is intact; the same command resumes."
                )
            self._released.wait(POLL_S)

    def renew(self) -> None:
        """Renews the lease once, which decides what `sure` returns. A store that cannot be reached changes nothing."""
        began, next_ = self._clock(), replace(self._hold, beat=self._hold.beat + 1)
        try:
            self._version = _swap(self._cell, next_, self._version)
        except StorageError as error:  # the same beat is tried again
            if began > self._until + self._patience_s:
                self._failure = error
            return
        except Conflict:
            self._failure = OutputError(
                f"{self._folder} was taken over by {self._holder()}: this process did not renew its lock for longer "
                f"than {self._hold.lease_s:g} s (suspended, or cut off from its storage). It stops and writes nothing "
                "more. Its stored results are kept, and the new owner resumes from them."
            )
            return
        self._hold, self._until = next_, began + next_.lease_s

    def release(self) -> None:
        """Frees the lock at once; where the store cannot be reached, its lease expires."""
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


def alive(cell: Cell, *, sleep: Callable[[float], None] = time.sleep) -> bool:
    """True where a lock is held and its holder renews it within 2.5 beats (5 s by default).

    Pauses are counted, not time: while the store answers nobody, or this process stands still, no holder can show that
    it is alive.
    """
    first = read_hold(cell)
    if first is None or first[0].free:
        return False
    for _ in range(LOOKS):
        sleep(first[0].lease_s * 2.5 / BEATS / LOOKS)
        now = read_hold(cell)
        if now is None or now[0].free:
            return False
        if now[1] != first[1]:
            return True
    return False


def _swap(cell: Cell, hold: Hold, version: Version | None) -> Version:
    """The conditional write. Where its response was lost, the object's content shows whether it succeeded."""
    data = orjson.dumps(asdict(hold))
    try:
        return cell.swap(data, version)
    except Conflict:
        found = cell.read()
        if found is not None and found[0] == data:
            return found[1]
        raise
