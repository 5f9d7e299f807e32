"""Settings of malloc, of Arrow's memory pool, of numpy's threads and of the cycle collector, for a process of its own.

Imports nothing heavy: the settings come before pyarrow and numpy are loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os

LARGE_BYTES = 1 << 18
"""While rows stream, an allocation of at least this size returns to the system as soon as it is freed."""

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_memory_flat() -> None:
    """Keeps the memory of a long-running process low: Arrow allocates by malloc, and malloc uses one arena.

    Call it before pyarrow is first imported, which reads the variable then. Arrow's own pool needs 50 MB more, one
    arena per thread 15 MB, two arenas 4 MB (docs/project/log.md). The second half needs glibc and else does nothing.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _mallopt(_M_ARENA_MAX, 1)


def let_idle_threads_sleep() -> None:
    """Lets the threads of OpenBLAS sleep 2^16 cycles after their last work, not 2^26. Call it before numpy is loaded.

    numpy starts one for each further core when it is imported, and runs nothing in them: they spun for 20 to 130 ms of
    CPU each. Products of matrices take as long as before (docs/project/log.md). A value that the user set stays.
    """
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")


def stream_from_here() -> None:
    """Tunes memory for streaming rows. Call it once all modules are loaded.

    Freezes the objects that exist, so that the cycle collector skips them. From here on it runs every 50,000 objects:
    rows make no reference cycles, and collections took 68 us per row. Fixes malloc's mmap threshold: glibc raises it to
    the largest block ever freed, and batches of rows then fragment the heap by 6 MB. Both: docs/project/log.md. Not for
    analyses, which reuse large blocks.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    _mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    _mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)


def _mallopt(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(option, value)


def give_memory_back() -> None:
    """Returns free heap memory to the system. Call it before a large piece of work. Needs glibc; else does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def tune_gc() -> None:
    """Makes the cycle collector run less often while modules are loaded. Call it before large imports.

    Modules make few reference cycles, and a start makes fewer objects than the threshold. With a threshold of 50,000
    one collection took 20 ms (docs/project/log.md).
    """
    gc.set_threshold(250_000, 20, 50)


def end_uncollected() -> None:
    """Keeps the cycle collector from the objects of a process that is about to end. Call it last.

    Python runs it over all of them at its end: a quarter of the CPU of `scorer --help` and of a small `scorer plan`
    (docs/project/log.md). Objects in cycles are not finalized then; Python promises that for none that live so long.
    """
    gc.freeze()
