"""Promise: a commit that is lost to another writer is tried again, and each shard is answered for by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from scorer.errors import StorageError
from scorer.publish import commits
from scorer.publish.commits import TRIES, committed
from scorer.publish.sealed import Sealed, Version


class Lost(Exception):
    """Another writer was faster."""


def sealed(shard: str, column: str = "score") -> Sealed:
    file: Any = None
    return Sealed("run", shard, Version(0, 1), 1, pa.schema([(column, pa.float64())]), shard, file)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(commits.time, "sleep", found.append)
    return found


def test_lost_commits_are_tried_again_and_other_shards_once(slept: list[float]) -> None:
    messages: list[list[str]] = []

    def commit(shards: Sequence[Sealed]) -> Sequence[Sealed]:
        messages.append([one.shard for one in shards])
        if len(messages) < 3:
            raise Lost
        return shards[1:] if len(shards) > 1 else shards

    given = [sealed("a"), sealed("b", "other"), sealed("c")]
    assert committed(given, commit, (Lost,), "delta://t") == [False, True, True], "a was there already"
    assert messages == [["a", "c"]] * 3 + [["b"]]
    assert len(slept) == 2


def test_a_commit_that_is_always_lost_is_given_up_and_waits_at_most_two_seconds(slept: list[float]) -> None:
    def commit(_: Sequence[Sealed]) -> Sequence[Sealed]:
        raise Lost

    with pytest.raises(StorageError, match=f"^a and 1 more shard were not published to t: .* first {TRIES} times"):
        committed([sealed("a"), sealed("b")], commit, (Lost,), "t")
    assert len(slept) == TRIES
    assert 0 <= min(slept) <= max(slept) <= 2.0


def test_another_error_is_raised_at_once(slept: list[float]) -> None:
    def commit(_: Sequence[Sealed]) -> Sequence[Sealed]:
        raise KeyError("x")

    with pytest.raises(KeyError):
        committed([sealed("a")], commit, (Lost,), "t")
    assert slept == []
