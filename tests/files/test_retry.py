"""Promise: requests to a failing store are repeated for a while, after a second signal for a moment only."""

from __future__ import annotations

import threading

import pytest
from obstore.exceptions import GenericError
from support.command import PATIENCE_S

from scorer.errors import StorageError
from scorer.files.lease import Hold, Lease, Version
from scorer.files.retry import RetryWindow, with_retries


def refuses() -> None:
    raise GenericError("Server returned non-2xx status code: 503: <Code>SlowDown</Code>")


class AtOnce(RetryWindow):
    """Fails where a retry is waited for."""

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a pause of {seconds} s")


def test_hurry_ends_the_current_pause_and_later_retries() -> None:
    patience, failed = RetryWindow(), threading.Event()

    def write() -> None:
        with pytest.raises(StorageError, match="the store answered 503 SlowDown"):
            with_retries("write", "s3://b/x", refuses, patience_s=180.0, patience=patience)
        failed.set()

    writing = threading.Thread(target=write)
    writing.start()
    assert not failed.wait(0.05)
    patience.hurry(0.02)
    assert failed.wait(PATIENCE_S)
    writing.join()
    hurried = AtOnce()
    hurried.hurry(0.02)
    with pytest.raises(StorageError, match="once"):
        with_retries("write", "s3://b/y", refuses, patience_s=180.0, patience=hurried)
    assert with_retries("write", "s3://b/z", lambda: "well", patience=patience) == "well", "what works is never cut"


class Refusing:
    """A lock's object that can be neither read nor written."""

    def read(self) -> tuple[bytes, Version] | None:
        raise StorageError("down")

    def swap(self, data: bytes, version: Version | None) -> Version:
        raise StorageError("down")


def test_hurry_ends_the_wait_for_an_unreachable_lease() -> None:
    clock = [100.0]
    lease = Lease(Refusing(), Hold("me"), {}, 0.0, "s3://b/out", patience_s=180.0, clock=lambda: clock[0], start=False)
    looks = iter([False, False, True])
    with pytest.raises(StorageError, match="could not be asked"):
        lease.wait(lambda: next(looks))
