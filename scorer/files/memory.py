"""Settings of malloc, of Arrow's memory pool and of the cycle collector, for a process that runs for hours.

Imports nothing heavy: the settings come before pyarrow is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os

LARGE_BYTES = 1 << 18
"""While rows stream, a piece of memory of this size or more goes back to the system as soon as it is free."""

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_memory_flat() -> None:
    """Makes a process that runs for hours give memory back: Arrow allocates by malloc, malloc in one arena.

    Call it before pyarrow is first imported, which reads the variable then. Measured (docs/log.md): Arrow's own pool
    holds 50 MB more, an arena for each thread 15 MB, two arenas 4 MB. The second half does nothing where the C library
    is not glibc.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _mallopt(_M_ARENA_MAX, 1)


def stream_from_here() -> None:
    """Tunes a process in which everything is loaded and from now on rows come and go.

    The cycle collector is kept off what is loaded, which lives as long as the process. And malloc keeps to one size
    from which pieces have pages of their own: by itself it raises that to the largest piece that was ever freed, and
    windows of rows then leave holes in the heap: 6 MB (docs/log.md). Not for analyses: those use large pieces again.
    """
    gc.freeze()
    _mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    _mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)


def _mallopt(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(option, value)


def give_memory_back() -> None:
    """Hands back to the system what is free in between: call it before a large piece of work. glibc's; else nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def tune_gc() -> None:
    """Makes the cycle collector look more rarely. Call it before anything large is imported.

    Rows make no cycles, and modules hardly any: looking for them took 68 us of each row and 40 ms of a start
    (docs/log.md).
    """
    gc.set_threshold(50_000, 20, 50)
