"""The command to type after a budget or `limits.max_failed_share` ended a run, from the run's own figures."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scorer.errors import BadRow, BudgetSpent, Damaged, ScorerError, TooManyFailed, Truncated, Unavailable

if TYPE_CHECKING:
    from scorer.config.spec import Spec
    from scorer.output.status import Status

RESERVE = 1.2
"""A proposed cap is that much of what the whole run would take at the mean of its finished rows."""


def next_command(error: ScorerError, typed: Sequence[str], spec: Spec, found: Status) -> str | None:
    """A sentence that ends with the command; None where none would help. `typed` are the arguments that were given."""
    if isinstance(error, BudgetSpent):
        return _higher_caps(str(error), typed, spec, found)
    if isinstance(error, TooManyFailed) and found.errors:
        return _retry(typed, spec, found) or _higher_share(typed, found)
    return None


def _higher_caps(said: str, typed: Sequence[str], spec: Spec, found: Status) -> str | None:
    """The same command with higher caps: those that the rest would pass, and the one that `said` names."""
    done = found.scored + found.failed
    spent_usd = found.cost_usd + found.maybe_billed_usd
    spent_tokens = found.prompt_tokens + found.completion_tokens + found.maybe_billed_tokens
    sets = []
    for cap, spent in (("max_usd", spent_usd), ("max_tokens", spent_tokens)):
        most = getattr(spec.limits, cap)
        if most is None:
            continue
        needed = spent / done * found.rows if done else 2.0 * most
        if needed > most or spent > 0.9 * most or f"limits.{cap} " in said:
            proposed = _rounded_up(RESERVE * max(needed, most))
            sets += ["--set", f"limits.{cap}={int(proposed) if cap == 'max_tokens' else f'{proposed:g}'}"]
    if not sets:
        return None
    rate = f"{done:,} of {found.rows:,} rows are finished; at their rate the rest fits: " if done else ""
    return f"{rate}scorer {shlex.join(_with_sets(typed, sets))}"


def _higher_share(typed: Sequence[str], found: Status) -> str | None:
    """The same command with a share that takes the rows that failed."""
    if not typed or typed[0] != "run":
        return None
    share = math.ceil(100 * found.failed / found.rows) / 100
    sets = ["--set", f"limits.max_failed_share={share:g}"]
    return f"To take the rows as they are: scorer {shlex.join(_with_sets(typed, sets))}"


def _with_sets(typed: Sequence[str], sets: Sequence[str]) -> list[str]:
    """The arguments with `sets`, instead of what they set of the same keys."""
    keys = {value.partition("=")[0] for value in sets[1::2]}
    kept: list[str] = []
    for before, one in zip(["", *typed], typed, strict=False):
        if before == "--set" and one.partition("=")[0].strip() in keys:
            kept.pop()
        elif not (one.startswith("--set=") and one.removeprefix("--set=").partition("=")[0].strip() in keys):
            kept.append(one)
    return [*kept, *sets]


def _retry(typed: Sequence[str], spec: Spec, found: Status) -> str | None:
    """Scores again what a retry can help: with a longer output where replies were cut, else as it is."""
    out = spec.output.path
    truncated = found.errors.get(Truncated.__name__, 0)
    if truncated * 2 > found.failed and spec.all_models:
        key = f"{'models.0' if spec.models else 'model'}.max_output_tokens"
        longer = 2 * max([spec.all_models[0].max_output_tokens, *_set_to(typed, key)])
        sets = ["--error", Truncated.__name__, "--set", f"{key}={longer}"]
        return f"Most replies were cut at max_output_tokens: scorer {shlex.join(['retry', out, *sets])}"
    passing = [name for name in (Unavailable.__name__, Damaged.__name__) if name in found.errors]
    if passing and sum(found.errors[name] for name in passing) * 2 > found.failed:
        errors = [part for name in passing for part in ("--error", name)]
        return f"Once the cause is gone: scorer {shlex.join(['retry', out, *errors])}"
    if set(found.errors) <= {BadRow.__name__}:
        return None
    return f"Once the cause is gone: scorer {shlex.join(['retry', out])}"


def _set_to(typed: Sequence[str], key: str) -> list[int]:
    """The whole numbers to which the arguments set a key."""
    pairs = [one.removeprefix("--set=").partition("=") for one in typed]
    return [int(value) for name, _, value in pairs if name.strip() == key and value.strip().isdecimal()]


def _rounded_up(value: float) -> float:
    """The next number of two significant digits."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(round(value / step, 9)) * step
