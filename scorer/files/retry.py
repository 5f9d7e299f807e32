"""Retries one request to an object store on transient errors, and words its other errors as one paragraph.

A request is repeated with exponential backoff where the server answers 500, 503 or 429, resets the connection, or
cannot be reached. Lasting errors (no such bucket, no permission, another region) are raised at once. The only module
that parses obstore's error texts.
"""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)

from scorer.errors import StorageError

PATIENCE_S = 180.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0

T = TypeVar("T")


class RetryWindow:
    """How long requests to one store are repeated; `hurry` shortens it, also for those under way. Thread-safe."""

    def __init__(self) -> None:
        self._until = math.inf
        self._hurried = threading.Event()

    def hurry(self, seconds: float) -> None:
        """Ends all retries after `seconds` more."""
        self._until = min(self._until, time.monotonic() + seconds)
        self._hurried.set()

    def ends(self, until: float) -> float:
        """The earlier of `until` and the end set by `hurry`."""
        return min(until, self._until)

    @property
    def over(self) -> bool:
        return time.monotonic() > self._until

    def sleep(self, seconds: float) -> None:
        """Sleeps; `hurry` wakes it."""
        if self._hurried.is_set():
            time.sleep(seconds)
        else:
            self._hurried.wait(seconds)


_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>|\"(?:reason|code)\": ?\"(\w{1,60})\"")
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the instance"
_OTHER_KEYS = {
    "gs://": "GOOGLE_APPLICATION_CREDENTIALS (or `gcloud auth application-default login`)",
    "az://": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or the identity that was logged in",
}
_WHY = {
    "NoSuchBucket": "there is no such bucket: look at its name and at AWS_ENDPOINT_URL, or make the bucket",
    "ContainerNotFound": "there is no such container: look at its name, or make it",
    "InvalidBucketName": "no bucket can be named so: look at the name",
    "InvalidAccessKeyId": f"the store does not know this access key: look at {_KEYS}",
    "SignatureDoesNotMatch": f"the secret key does not belong to the access key: look at {_KEYS}",
    "ExpiredToken": f"the credentials have expired: get new ones ({_KEYS})",
    "InvalidToken": f"the session token is not valid: get new credentials ({_KEYS})",
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than the store allows: set it",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_REGION to it",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION to it",
    "IllegalLocationConstraintException": "the bucket is in another region: set AWS_REGION to it",
}
_PASSES = frozenset({"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"})
_KEPT = "Everything stored before is intact; the same command resumes."


def with_retries(
    verb: str,
    path: str,
    act: Callable[[], T],
    *,
    patience_s: float = PATIENCE_S,
    before: Callable[[], None] | None = None,
    patience: RetryWindow | None = None,
) -> T:
    """Calls `act`, repeatedly on transient errors, and returns its result. `before` is called ahead of each attempt.

    `verb` is "read", "write", "list" or "delete", for messages. Raises FileNotFoundError where the object does not
    exist, obstore's AlreadyExistsError and PreconditionError unchanged, StorageError for all else.
    """
    patience = patience or RetryWindow()
    until, pause_s, attempts = time.monotonic() + patience_s, FIRST_PAUSE_S, 0
    while True:
        if before is not None:
            before()
        attempts += 1
        try:
            return act()
        except (AlreadyExistsError, PreconditionError):
            raise
        except FileNotFoundError as error:
            if why := _WHY.get(_code(error)):
                raise StorageError(f"Cannot {verb} {path}: {why}. {_KEPT}") from error
            raise FileNotFoundError(path) from None
        except BaseError as error:
            if (why := _lasting(error, path)) is not None:
                raise StorageError(f"Cannot {verb} {path}: {why}. {_KEPT}") from error
            last = error
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if time.monotonic() + pause_s > patience.ends(until):
            took = "" if patience.ends(until) < until else f" within {patience_s:g} s"
            raise StorageError(f"Cannot {verb} {path}: {_moment(last)}, {_often(attempts)}{took}. {_KEPT}") from last
        patience.sleep(pause_s * (0.5 + 0.5 * random.random()))


def is_beyond_the_end(error: BaseException) -> bool:
    """True for status 416: a range of an empty object was requested."""
    return _status(error) == 416


def _lasting(error: BaseError, path: str) -> str | None:
    """Why a retry would not help; None for a transient error."""
    code, status = _code(error), _status(error)
    if code in _WHY:
        return _WHY[code]
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
        return (
            f"permission denied ({code or status or 'no reason given'}): these credentials may not do that here. Look "
            f"at {_OTHER_KEYS.get(path[:5], _KEYS)}, and at the rights on the bucket"
        )
    if status in (301, 307, 308) or "Received redirect without LOCATION" in str(error):
        return "the bucket is in another region, or the address is another's: set AWS_REGION and AWS_ENDPOINT_URL"
    if isinstance(error, InvalidPathError | NotSupportedError | UnknownConfigurationKeyError):
        return f"the store cannot do that ({_first(error)})"
    if code not in _PASSES and status is not None and 400 <= status < 500 and status not in (408, 409, 425, 429):
        return f"the store refuses it ({status}{f' {code}' if code else ''})"
    return None


def _moment(error: BaseError) -> str:
    status, code = _status(error), _code(error)
    if status is not None:
        return f"the store answered {status}{f' {code}' if code else ''}"
    return f"the store could not be reached ({_first(error)})"


def _often(attempts: int) -> str:
    return "once" if attempts == 1 else f"{attempts} times"


def _status(error: BaseException) -> int | None:
    match = _STATUS.search(str(error))
    return int(match[1]) if match else None


def _code(error: BaseException) -> str:
    match = _CODE.search(str(error))
    return (match[1] or match[2]) if match else ""


def _first(error: BaseException) -> str:
    """The first sentence of the library's message, without its debugging output."""
    text = str(error).partition("\n")[0].partition("Debug source")[0].strip()
    return (text.rpartition(" - ")[2] or text)[:200]
