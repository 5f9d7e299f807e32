"""Finds out whether code reads or writes files, opens sockets, starts processes, or depends on chance or the clock."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

_IO = ("open", "socket.", "subprocess.", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "urllib.")
_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
_watching = threading.local()
_hooked = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    seen: list[str] | None = getattr(_watching, "seen", None)
    if seen is not None and event.startswith(_IO):
        seen.append(f"{event} {arguments[:1]}")


@contextmanager
def no_io() -> Iterator[None]:
    """Fails with AssertionError at the block's end where this thread did I/O in it (Python's audit events).

    An import counts as none: run the code once before.
    """
    global _hooked
    if not _hooked:  # an audit hook stays for the life of the process
        sys.addaudithook(_hook)
        _hooked = True
    seen: list[str] = []
    _watching.seen = seen
    try:
        yield
    finally:
        _watching.seen = None
    assert not seen, f"it does I/O: {', '.join(seen[:5])}"


@contextmanager
def other_moment(seed: int) -> Iterator[None]:
    """The block has other random numbers (random, numpy) and another time, far from now; both are restored."""
    state, arrays = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        with mock.patch.multiple(time, **{name: _shifted(name, seed) for name in _CLOCKS}):
            yield
    finally:
        random.setstate(state)
        np.random.set_state(arrays)


def _shifted(name: str, seed: int) -> Any:
    real = getattr(time, name)
    by = seed * 86_400 * (10**9 if name.endswith("_ns") else 1)
    return lambda: real() + by
