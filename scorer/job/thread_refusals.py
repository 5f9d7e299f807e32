"""A thread or a process that the system refuses: an error that says what to raise, in place of Python's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scorer.errors import StorageError


def refused_thread(error: Exception) -> StorageError | None:
    """The error of a refused thread, also of a worker's, or of a refused process; None where it is another one."""
    forked = isinstance(error, BlockingIOError)  # fork's EAGAIN: no file or socket of ours lets it pass
    if not forked and not (isinstance(error, RuntimeError) and "can't start new thread" in str(error)):
        return None
    return StorageError(
        "The system refused a further thread or process: a limit of processes and threads, or of memory, is "
        "reached. Raise it (`ulimit -u`, `ulimit -v`, or that of the container), or end other programs, then give the "
        "command again. What was stored is intact."
    )


@contextmanager
def thread_refusals() -> Iterator[None]:
    """Raises StorageError where the system refuses a thread or a process."""
    try:
        yield
    except (RuntimeError, BlockingIOError) as error:
        if (refused := refused_thread(error)) is None:
            raise
        raise refused from error
