"""A thread that the system refuses: an error that says what to raise, in place of Python's RuntimeError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scorer.errors import StorageError


def refused_thread(error: Exception) -> StorageError | None:
    """The error of a refused thread, also of a worker's; None where the error is another one."""
    if not isinstance(error, RuntimeError) or "can't start new thread" not in str(error):
        return None
    return StorageError(
        "The system refused a further thread to this process: a limit of processes and threads, or of memory, is "
        "reached. Raise it (`ulimit -u`, `ulimit -v`, or that of the container), or end other programs, then give the "
        "command again. What was stored is intact."
    )


@contextmanager
def thread_refusals() -> Iterator[None]:
    """Raises StorageError where the system refuses a thread."""
    try:
        yield
    except RuntimeError as error:
        if (refused := refused_thread(error)) is None:
            raise
        raise refused from error
