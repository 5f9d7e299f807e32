"""Commits sealed shards part by part, each again where other writers of the table come first.

Knows no table format.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import pyarrow as pa

from scorer.counted import counted
from scorer.errors import StorageError
from scorer.publish.sealed import Sealed

TRIES = 30
"""Commits that may be lost to other writers of a table before it is given up."""

Commit = Callable[[Sequence[Sealed]], Sequence[Sealed]]
"""Commits those of some shards, all of one run and schema, that the table lacks, and returns them."""


def committed(shards: Sequence[Sealed], commit: Commit, lost: tuple[type[Exception], ...], target: str) -> list[bool]:
    """Whether `commit` committed each of the shards. It is called again after an error in `lost`: somebody was faster.

    Raises StorageError after the last attempt. Errors of `commit` that are not in `lost` are raised as they are.
    """
    done = {id(shard) for part in _by_schema(shards) for shard in _until_committed(part, commit, lost, target)}
    return [id(shard) in done for shard in shards]


def unpublished(shards: Sequence[Sealed], target: str, why: str) -> StorageError:
    """The error for shards that are not in the table, though a later attempt may publish them."""
    more = len(shards) - 1
    what = f"{shards[0].shard} and {counted(more, 'more shard')} were" if more else f"{shards[0].shard} was"
    return StorageError(
        f"{what} not published to {target}: {why}. {'Their' if more else 'Its'} scores are stored; the same command "
        "publishes them."
    )


def _until_committed(
    shards: Sequence[Sealed], commit: Commit, lost: tuple[type[Exception], ...], target: str
) -> Sequence[Sealed]:
    for tries in range(TRIES):
        try:
            return commit(shards)
        except lost:  # perhaps to one with this very shard: the next attempt looks again
            time.sleep(random.uniform(0, min(2.0, 0.02 * 2**tries)))
    raise unpublished(shards, target, f"other writers came first {TRIES} times")


def _by_schema(shards: Sequence[Sealed]) -> list[list[Sealed]]:
    """The shards of one run and one schema together: what one commit can hold."""
    alike: dict[tuple[str, pa.Schema], list[Sealed]] = {}
    for shard in shards:
        alike.setdefault((shard.run, shard.schema), []).append(shard)
    return list(alike.values())
