"""All errors of scorer. The kind of fault (row, transient, set-up) decides what happens.

ScorerError
├── SpecError        2    the run file, an argument, or what they name
├── InputError       2    the input shards: missing, unreadable, a missing column
├── BudgetSpent      3    the next request could exceed max_tokens or max_usd
├── SetupError       4    the judge's set-up: key, model, address, quota, a missing feature
├── OutputError      5    the output folder: another fingerprint, changed input, another process
│   ├── InUse             another process holds its lock; on object storage it may be dead
│   └── ShardChanged      an input shard has changed since the run first read it, or is gone
├── TooManyFailed    6    more failed rows than allowed, or the first 200 all failed alike
├── WorkersLost      1    worker processes keep dying before any of them finished a row
├── Drifted          8    the judge agrees less with known rows than its band allows
├── StorageError     7    the output could not be written or read, or the input could not be read: disk, permission
├── BatchesOut       9    provider batches are out, and the command did not wait for them; run it again
├── Interrupted      130  stopped on request; resumable
├── TransientError        a temporary fault: the client retries, no row gets it
│   ├── Unreachable       no whole reply: refused, reset, cut off, timed out
│   ├── Throttled         429: too many requests
│   ├── NoCapacity        the service tier is full at the moment
│   └── ServerFault       5xx, HTML, an error body with status 200, a body that is not a completion
└── RowError              one row's fault: becomes the row's typed error
    ├── Refused           the provider's content filter
    ├── TooLong           exceeds the context window, or a limit per minute
    ├── Rejected          the server called the request invalid
    ├── Truncated         stopped at max_output_tokens before a verdict
    ├── Unreadable        no verdict in the reply
    ├── NoReply           `recorded` has no reply for the request
    ├── Damaged           the shard's bytes cannot be read
    ├── BadRow            a column that is null, of the wrong type, or not UTF-8
    └── Unavailable       retries used up on this row while others succeeded
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from scorer.usage import (
        Spent,
        Usage,
    )


def whole(text: str) -> str:
    """The text with U+FFFD for each unpaired surrogate, which JSON can escape but UTF-8 cannot encode."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class ScorerError(Exception):
    """Base of scorer's errors. The text is one paragraph that says what to do; `exit_code` is the command's."""

    exit_code: ClassVar[int] = 1


class SpecError(ScorerError):
    """The run file or the arguments are wrong; `problems` holds one sentence for each mistake."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class InputError(ScorerError):
    """The input shards cannot be read as the run asks."""

    exit_code = 2


class BudgetSpent(ScorerError):
    """The next request could exceed the budget, so nothing more is sent."""

    exit_code = 3


class SetupError(ScorerError):
    """Every request would fail the same way until the set-up of the judge is corrected."""

    exit_code = 4


class OutputError(ScorerError):
    """The output folder belongs to another fingerprint, to changed input, or to a running process."""

    exit_code = 5


class InUse(OutputError):
    """Another process holds the lock. `again_s`: seconds until it may prove dead; None where it is alive."""

    def __init__(self, message: str, *, again_s: float | None) -> None:
        self.again_s = again_s
        super().__init__(message)


class ShardChanged(OutputError):
    """An input shard has changed since the run first read it, or is gone."""

    def __init__(self, path: str, *, longer: bool = False) -> None:
        grown = "It is longer now: write new lines to a new file. " if longer else ""
        super().__init__(
            f"{path} has changed since this run first read it, or is gone: its rows are no longer those that were "
            f"scored. {grown}Restore the old file, or take the shard out of the run (`scorer run RUN.toml --forget "
            "SHARD`), or give the run another output.path."
        )


class TooManyFailed(ScorerError):
    """More rows failed than `limits.max_failed_share`, or the first 200 all failed alike."""

    exit_code = 6


class WorkersLost(ScorerError):
    """Worker processes died one after another, and none of them finished a row."""


class StorageError(ScorerError):
    """The output could not be written or read, or the input could not be read. Stored results are intact."""

    exit_code = 7


class BatchesOut(ScorerError):
    """Provider batches are out and the command does not wait for them; the same command collects."""

    exit_code = 9


class Drifted(ScorerError):
    """The judge's agreement with known rows left its band. Stored results are kept."""

    exit_code = 8


class Interrupted(ScorerError):
    """Stopped on request; the same command resumes."""

    exit_code = 130


class TransientError(ScorerError):
    """A temporary fault; the request is retried. `billed` is True where the provider may have charged for it.

    `if_late`: billed only where the failure came so late that the work may have been done. `usage` is the usage that an
    error reply stated.
    """

    usage: Usage | None = None

    def __init__(
        self, detail: str, *, billed: bool = False, if_late: bool = False, retry_after_s: float | None = None
    ) -> None:
        self.detail = detail
        self.billed = billed
        self.if_late = if_late
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class Unreachable(TransientError):
    """No whole reply came back. `billed` is False only where the request surely never arrived.

    `hint` says what to change where the address was never reached at all; None where that, too, is likely an outage.
    `silent`: the request was written, and the connection ended without a byte of a reply, which is billed `if_late`.
    `kept`: that connection had brought a reply before; a server may close one that idles in the moment in which it is
    used.
    """

    def __init__(
        self, detail: str, *, billed: bool = False, hint: str | None = None, silent: bool = False, kept: bool = False
    ) -> None:
        self.hint = hint
        self.silent = silent
        self.kept = kept
        super().__init__(detail, billed=billed, if_late=silent)


class Throttled(TransientError):
    """Status 429. `retry_after_s` is the pause that the server asks for, None where it names none.

    `quota`: a quota for a day or longer is used up; `retry_after_s` says when it renews.
    """

    def __init__(self, detail: str, *, retry_after_s: float | None = None, quota: bool = False) -> None:
        self.quota = quota
        super().__init__(detail, retry_after_s=retry_after_s)


class NoCapacity(TransientError):
    """The service tier has no capacity at the moment. Nothing was billed, and it says nothing of any rate limit."""

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class ServerFault(TransientError):
    """A reply came back that is not a completion; a retry may succeed.

    `garbled`: its status is 200 and its body cannot be read.
    """

    def __init__(
        self,
        detail: str,
        *,
        billed: bool = False,
        if_late: bool = False,
        retry_after_s: float | None = None,
        garbled: bool = False,
    ) -> None:
        self.garbled = garbled
        super().__init__(detail, billed=billed, if_late=if_late, retry_after_s=retry_after_s)


class RowError(ScorerError):
    """The fault of one row. `name` goes to the column `error`, `detail` to `error_detail`.

    `usage` is what the reply stated; `billed` is True where the reply may have been charged. `spent` sums all attempts;
    the client sets it, None where nothing was sent. `fields` are columns of the judge that have
    a value all the same, by name: the criteria that were read.
    """

    def __init__(self, detail: str, *, usage: Usage | None = None, billed: bool = False) -> None:
        self.detail = whole(detail)
        self.usage = usage
        self.billed = billed or usage is not None
        self.spent: Spent | None = None
        self.fields: Mapping[str, Any] = {}
        super().__init__(detail)

    @property
    def name(self) -> str:
        """One of `ROW_ERRORS`. A plug-in's subclass has the name of its base class; without one, Unreadable."""
        known = (kind.__name__ for kind in type(self).__mro__ if kind.__name__ in ROW_ERRORS)
        return next(known, Unreadable.__name__)


class Refused(RowError):
    """The provider's content filter stopped the request or the reply."""


class TooLong(RowError):
    """Longer than the context window, or more tokens than a limit per minute allows."""


class Rejected(RowError):
    """The server called the request invalid; a retry would not help."""


class Truncated(RowError):
    """The reply stopped at max_output_tokens before a verdict."""


class Unreadable(RowError):
    """The reply holds no verdict on the scale, or more than one."""


class NoReply(RowError):
    """The table of stored replies has none for this request."""


class Damaged(RowError):
    """The row's bytes in the shard cannot be read; nothing was sent."""


class BadRow(RowError):
    """A column that the judge needs is null or of the wrong type, or a column that is read is not UTF-8."""


class Unavailable(RowError):
    """The endpoint failed on this row `retries` times while it answered others."""


def advice_on(names: Iterable[str]) -> str:
    """What to do about rows that ended in these errors. A retry reads the same input and sends the same requests."""
    found = {*names}
    if found <= {BadRow.__name__}:
        return (
            "`scorer retry` does not help: it reads the same rows. Correct the columns in the input, and score it as "
            "another run with another output.path."
        )
    but = " Rows with BadRow need a corrected input, which is another run." if BadRow.__name__ in found else ""
    return f"Remove the cause, then `scorer retry` scores these rows again.{but}"


ROW_ERRORS: dict[str, type[RowError]] = {
    kind.__name__: kind
    for kind in (Refused, TooLong, Rejected, Truncated, Unreadable, NoReply, Damaged, BadRow, Unavailable)
}
