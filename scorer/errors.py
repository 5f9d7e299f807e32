"""Every error of scorer. Who is at fault (row, moment, set-up) decides what happens.

ScorerError
├── SpecError        2    the run file, an argument, or what they name
├── InputError       2    the input shards: missing, unreadable, a column that is not there
├── BudgetSpent      3    the next request could push the run over max_tokens or max_usd
├── SetupError       4    the judge's set-up: key, model, address, quota, a missing ability
├── OutputError      5    the output folder: another fingerprint, changed input, another process
│   └── InUse             its lock is held; on object storage perhaps by a dead process
├── TooManyFailed    6    more failed rows than allowed, or the first 200 all failed alike
├── WorkersLost      1    worker processes keep dying before any of them finished a row
├── StorageError     7    the output could not be written or read, or the input could not be read: disk, permission
├── Interrupted      130  asked to stop; resumable
├── TransientError        the moment's fault: retried by the client, never seen by a row
│   ├── Unreachable       no whole reply: refused, reset, cut, timed out
│   ├── Throttled         429: slow down
│   └── ServerFault       5xx, HTML, an error body under 200, a body that is no completion
└── RowError              the row's fault: becomes the row's typed error
    ├── Refused           the provider's content filter
    ├── TooLong           context window, or larger than a minute's limit
    ├── Rejected          the server called this request wrong
    ├── Truncated         stopped at max_output_tokens before a verdict
    ├── Unreadable        no verdict in the reply
    ├── NoReply           `recorded` has nothing for this request
    ├── Damaged           the shard's bytes cannot be read
    ├── BadRow            a column that is null, of the wrong type, or no UTF-8
    └── Unavailable       retries spent on this row while others succeeded
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from scorer.usage import (
        Spent,
        Usage,
    )


def whole(text: str) -> str:
    """The text, where each half of a surrogate pair is U+FFFD: JSON can escape one, no file in UTF-8 can hold it."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class ScorerError(Exception):
    """Base of scorer's errors; the text is one paragraph that a user can act on."""

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
    """Another process holds the lock. `again_s`: seconds after which it may turn out to be dead; None: it lives."""

    def __init__(self, message: str, *, again_s: float | None) -> None:
        self.again_s = again_s
        super().__init__(message)


class ShardChanged(OutputError):
    """An input shard is not what it was when its rows were first seen."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} changed since this output was begun, or is gone: its rows are no longer those that were scored. "
            "Put the old file back; or leave the shard out of the run: `scorer run RUN.toml --forget SHARD`; or give "
            "the run another output.path."
        )


class TooManyFailed(ScorerError):
    """More rows failed than `limits.max_failed_share`, or the first 200 all failed alike."""

    exit_code = 6


class WorkersLost(ScorerError):
    """Worker processes died one after another, and none of them finished a row."""


class StorageError(ScorerError):
    """The output could not be written or read back, or the input not be read; what was stored before is intact."""

    exit_code = 7


class Interrupted(ScorerError):
    """Stopped on request; the same command resumes."""

    exit_code = 130


class TransientError(ScorerError):
    """A temporary fault; the request is retried. `billed` is True where the provider may have charged for it.

    `if_late`: only where it came so late that the work may have been done. `usage` is what a reply that is no answer
    told of its bill.
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

    `mend` says what to mend where the address was never reached at all; None where that, too, is likely an outage.
    `silent`: the request was written, and the connection ended without a byte of a reply, which is billed `if_late`.
    `kept`: that connection had brought a reply before; a server may close one that idles in the moment in which it is
    used.
    """

    def __init__(
        self, detail: str, *, billed: bool = False, mend: str | None = None, silent: bool = False, kept: bool = False
    ) -> None:
        self.mend = mend
        self.silent = silent
        self.kept = kept
        super().__init__(detail, billed=billed, if_late=silent)


class Throttled(TransientError):
    """The server asks to slow down; `retry_after_s` is its wish, None where it names none.

    `quota`: one for a day or longer is used up, and `retry_after_s` says when it renews.
    """

    def __init__(self, detail: str, *, retry_after_s: float | None = None, quota: bool = False) -> None:
        self.quota = quota
        super().__init__(detail, retry_after_s=retry_after_s)


class ServerFault(TransientError):
    """A reply came back and it is not an answer; another try may bring one.

    `garbled`: it says that all is well, and holds nothing that can be read.
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
    """The fault of one row; `name` goes to the column `error`, `detail` to `error_detail`.

    `usage` is what the refusing reply said it took; `billed` is True where a reply came that may have been charged.
    `spent` is what all attempts cost; the client fills it in, None where nothing was sent.
    """

    def __init__(self, detail: str, *, usage: Usage | None = None, billed: bool = False) -> None:
        self.detail = whole(detail)
        self.usage = usage
        self.billed = billed or usage is not None
        self.spent: Spent | None = None
        super().__init__(detail)

    @property
    def name(self) -> str:
        """One of `ROW_ERRORS`: for an error of somebody's own class, that of what it is made from, else Unreadable."""
        known = (kind.__name__ for kind in type(self).__mro__ if kind.__name__ in ROW_ERRORS)
        return next(known, Unreadable.__name__)


class Refused(RowError):
    """The provider's content filter stopped the request or the reply."""


class TooLong(RowError):
    """Longer than the context window, or than what a minute's limit could ever admit."""


class Rejected(RowError):
    """The server called this request wrong; sending it again would not help."""


class Truncated(RowError):
    """The reply stopped at max_output_tokens before a verdict."""


class Unreadable(RowError):
    """The reply holds no verdict on the scale, or more than one."""


class NoReply(RowError):
    """The table of stored replies has none for this request."""


class Damaged(RowError):
    """The row's bytes in the shard cannot be read; nothing was asked."""


class BadRow(RowError):
    """A column that the judge needs is null or of the wrong type, or a column that is read holds no UTF-8."""


class Unavailable(RowError):
    """The endpoint failed on this row `retries` times while it answered others."""


def mended_by(names: Iterable[str]) -> str:
    """What helps rows that ended in these errors, as a sentence. A retry reads the same input, and asks the same."""
    found = {*names}
    if found <= {BadRow.__name__}:
        return (
            "`scorer retry` does not help: it reads the same rows. Mend the columns in the input, and score that as "
            "another run with another output.path."
        )
    but = " BadRow stays: those rows need another input, which is another run." if BadRow.__name__ in found else ""
    return f"Mend the cause, then `scorer retry` scores these rows again.{but}"


ROW_ERRORS: dict[str, type[RowError]] = {
    kind.__name__: kind
    for kind in (Refused, TooLong, Rejected, Truncated, Unreadable, NoReply, Damaged, BadRow, Unavailable)
}
