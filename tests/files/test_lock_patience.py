"""A start that takes a bucket's lock outlasts a store that is away for a while; a renewal tries for a second."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from scorer.errors import StorageError
from scorer.files import lease_object, retry
from scorer.files.object_store import ObjectFiles

PATH = "s3://b/out/lock"


class Away:
    """The clock of the retries, and a store whose requests for the lock fail until `until`."""

    def __init__(self) -> None:
        self.now = self.until = 0.0
        self.failed = 0

    def through(self, request: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any, **options: Any) -> Any:
            if self.now < self.until:
                self.failed += 1
                self.now += 4.0  # the timeout of a request
                raise GenericError("operation timed out")
            return request(*arguments, **options)

        return asked

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    made = Away()
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(retry.RetryWindow, "sleep", lambda _, seconds: made.sleep(seconds))
    requests = SimpleNamespace(get=made.through(obstore.get), put=made.through(obstore.put))
    monkeypatch.setattr(lease_object, "obstore", requests)
    return made


@pytest.fixture
def files() -> ObjectFiles:
    """Its thread renews no lock before a test has ended."""
    store = MemoryStore()
    return ObjectFiles("s3://b", store, store, patience_s=180.0, lease_s=6000.0)


def test_a_start_takes_the_lock_of_a_store_that_comes_back(away: Away, files: ObjectFiles) -> None:
    away.until = 60.0
    files.lock(PATH, "me").release()
    assert away.failed > 3


def test_a_start_gives_up_at_the_end_of_its_patience(away: Away, files: ObjectFiles) -> None:
    away.until = 1000.0
    with pytest.raises(StorageError, match=r"Cannot read .*lock: .* within 180 s"):
        files.lock(PATH, "me")


def test_a_renewal_tries_for_a_second_and_changes_nothing(away: Away, files: ObjectFiles) -> None:
    lock = files.lock(PATH, "me")
    away.until = 1000.0
    lock.renew()  # type: ignore[attr-defined]
    assert away.failed == 1
    away.now = away.until
    lock.renew()  # type: ignore[attr-defined]
    lock.release()
