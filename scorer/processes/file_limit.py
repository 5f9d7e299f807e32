"""How many files and connections this process may have open at once. Imports nothing of scorer."""

from __future__ import annotations

import resource
from contextlib import suppress

LEAST = 128
"""The most files that a command has open beside its requests in flight: 20 of Python, the event loop and the run, 32 of
two threads that write results of small shards, 17 of the sealer, 32 of a batch provider's replies. The rest is for a
merge of segments whose rows overlap."""
MOST = 65_536
"""The limit is raised no further: some programs that a command starts go through all numbers below it."""


def file_limit() -> int:
    """The most files and connections that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


def raise_file_limit() -> int:
    """Raises the soft limit to the hard one, at most to `MOST`. Returns `file_limit` after it.

    Many systems have a soft limit of 256 or 1,024, for programs that call select(2), and a far higher hard one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wished:
        with suppress(ValueError, OSError):  # macOS has a lower limit that it does not name
            resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
    return file_limit()
