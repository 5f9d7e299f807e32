"""Configuration of the simulated judge's batches: pace, limits, clock and faults."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal, Self

from scorer.errors import SpecError
from scorer.frozen import dataclass

CREATE_FAULTS = ("502", "504", "reset", "hang")
UPLOAD_FAULTS = ("502", "504", "reset", "hang")
DOWNLOAD_FAULTS = ("502", "cut", "short")
LINE_FAULTS: tuple[Literal["error", "status_0", "lost", "lost_paid"], ...] = ("error", "status_0", "lost", "lost_paid")


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """The behaviour of simulated batches, as plain values. Shares are probabilities from 0 to 1.

    Pace: a batch is validated for `validate_s`, worked on evenly for `work_s`, and its results are written in
    `finalize_s`. After a cancel it is worked on, and paid, for another `cancel_s`. After `window_s` it expires. Its
    prompt tokens are released `release_s` after its end; results are gone `keep_s` after it.
    Limits: of one batch, and `enqueued_tokens` of all batches of a model at once (0: none).
    Clock: `clock_s` is how far the provider's clock is ahead of this machine's; each reply's Date differs from it by up
    to `clock_spread_s`. `list_lag_s` is how long a new batch or file is missing in listings.
    Making: `create_*` and `upload_*` are shares of what was made and then answered by 502, by 504, by a reset or not
    at all; `create_twice` the share of such creates that made two batches. `busy` is the share of requests that are
    answered 429 or 500, with nothing done.
    A batch as a whole: `fail` fails for no reason, `token_limit` fails with token_limit_exceeded; `invalid` is a
    pattern: a batch fails whole where a prompt matches it, and says the line where `invalid_line` is true.
    `expire` ends as expired, with the results so far. `late_cancel` is the share of cancels that change nothing.
    `null_output` ends without ids of its files until it is asked for again. `drop_metadata`: none is kept.
    `list_twice` is the share of batches that a listing shows twice.
    Lines: `error_lines` are answered by a 500, `status_0_lines` by status 0 and no body; `lost_lines` are in neither
    file, and not executed; `lost_paid_lines` were executed. None of these but the last is paid. `twice_lines` are in
    the results twice. `foreign_lines` is the share of lines after which one stands that belongs to no request.
    Downloads: `download_502` is a gateway's page, `download_cut` ends before its declared length, `download_short`
    declares none and ends between two lines.
    `cache_misses` is the share of requests that read nothing from a prompt cache.
    `names_tier`: a reply names the service tier, "default" at OpenAI and "batch" at Anthropic, as they do.
    Raises: SpecError, with a sentence for each mistake.
    """

    validate_s: float = 0.2
    work_s: float = 2.0
    finalize_s: float = 0.2
    cancel_s: float = 0.0
    window_s: float = 86_400.0
    release_s: float = 0.0
    keep_s: float = 2_592_000.0

    max_requests: int = 50_000
    max_bytes: int = 200_000_000
    enqueued_tokens: int = 0

    clock_s: float = 0.0
    clock_spread_s: float = 0.0
    list_lag_s: float = 0.0

    create_502: float = 0.0
    create_504: float = 0.0
    create_reset: float = 0.0
    create_hang: float = 0.0
    create_twice: float = 0.0
    upload_502: float = 0.0
    upload_504: float = 0.0
    upload_reset: float = 0.0
    upload_hang: float = 0.0
    busy: float = 0.0

    fail: float = 0.0
    token_limit: float = 0.0
    invalid: str = ""
    invalid_line: bool = True
    expire: float = 0.0
    late_cancel: float = 0.0
    null_output: float = 0.0
    drop_metadata: bool = False
    list_twice: float = 0.0

    error_lines: float = 0.0
    status_0_lines: float = 0.0
    lost_lines: float = 0.0
    lost_paid_lines: float = 0.0
    twice_lines: float = 0.0
    foreign_lines: float = 0.0

    download_502: float = 0.0
    download_cut: float = 0.0
    download_short: float = 0.0
    cache_misses: float = 0.0
    names_tier: bool = True

    def __post_init__(self) -> None:
        problems = [*self._numbers(), *self._others()]
        for what, kinds, name in (
            ("create_*", CREATE_FAULTS, "create_{}"),
            ("upload_*", UPLOAD_FAULTS, "upload_{}"),
            ("download_*", DOWNLOAD_FAULTS, "download_{}"),
            ("*_lines that are no results", LINE_FAULTS, "{}_lines"),
        ):
            if not problems and sum(self.share(name.format(kind)) for kind in kinds) > 1 + 1e-9:
                problems.append(f"batch: the shares of {what} add up to more than 1.")
        if problems:
            raise SpecError(problems)

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The same config with these keys set. Raises: SpecError."""
        known = {f.name for f in fields(self)}
        if unknown := sorted(set(changes) - known):
            raise SpecError([f"batch.{name} is not a key of the rehearsal config." for name in unknown])
        return replace(self, **changes)

    def share(self, name: str) -> float:
        """The probability of a fault."""
        found: float = getattr(self, name)
        return found

    def _numbers(self) -> list[str]:
        problems = []
        for name in (f.name for f in fields(self) if f.name not in _NO_NUMBERS):
            value, whole = getattr(self, name), name in _WHOLE
            low, high = _RANGES.get(name, (0, math.inf if name in _WHOLE or name.endswith("_s") else 1))
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                problems.append(f"batch.{name} must be a {'whole ' if whole else ''}number, not {value!r}.")
            elif not low <= value <= high:
                least = "any number" if low == -math.inf else f"at least {low:g}"
                most = "" if high == math.inf else f" and at most {high:g}"
                problems.append(f"batch.{name} must be {least}{most}, not {value!r}.")
        return problems

    def _others(self) -> list[str]:
        problems = [
            f"batch.{name} must be true or false, not {getattr(self, name)!r}."
            for name in ("invalid_line", "drop_metadata", "names_tier")
            if type(getattr(self, name)) is not bool
        ]
        try:
            re.compile(self.invalid)
        except (re.error, TypeError) as error:
            problems.append(f"batch.invalid is no regular expression: {error}.")
        return problems


_NO_NUMBERS = frozenset({"invalid", "invalid_line", "drop_metadata", "names_tier"})
_WHOLE = frozenset({"max_requests", "max_bytes", "enqueued_tokens"})
_RANGES: dict[str, tuple[float, float]] = {
    "max_requests": (1, math.inf),
    "max_bytes": (1, math.inf),
    "clock_s": (-math.inf, math.inf),
}
