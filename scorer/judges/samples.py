"""What one reply gave a judge: values by name, a reason, an error; which of two tries counts, which error is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from scorer.errors import NoReply, Refused, RowError, Truncated, Unreadable
from scorer.frozen import dataclass
from scorer.types import Completion

# Which error speaks for a row whose samples failed in several ways: what a reply showed before what kept one away.
_TELLING = ("Refused", "Truncated", "Unreadable", "TooLong", "Rejected", "Unavailable", "NoReply")


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of one reply by name, its reason, and the error that says why values are missing.

    `reasons` are those that stand beside single values, by the same names.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    error: RowError | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


NOTHING = Sample()
"""What is there of a sample before its first reply."""


def better(held: Sample, sample: Sample) -> Sample:
    """Of two tries of one sample the one that counts: a later try never takes back what an earlier one gave."""
    if held is NOTHING or (len(sample.values) >= len(held.values) and not isinstance(sample.error, NoReply)):
        return sample
    return held


def unread(answer: Completion, what: str = "verdict", where: str = "") -> RowError:
    """Why a reply gives no verdict: the filter, the limit, or its own words."""
    if answer.finish_reason == "content_filter":
        return Refused(f"The content filter stopped the reply before a {what}.")
    if answer.finish_reason == "length":
        reasoned = answer.usage.reasoning_tokens if answer.usage is not None else None
        if reasoned:
            return Truncated(
                f"The reply reached its output limit before a {what}; {reasoned:,} tokens of it were reasoning. Set "
                "model.reasoning, which sets tokens aside for it, or raise max_output_tokens."
            )
        return Truncated(f"The reply reached max_output_tokens before a {what}; raise it.")
    return Unreadable(f"The reply holds no {what}{where}, or more than one.")


def most_telling(errors: Sequence[RowError]) -> RowError:
    """Of several errors the one that tells most."""
    return min(errors, key=lambda error: _TELLING.index(error.name) if error.name in _TELLING else len(_TELLING))


def joined_reasons(reasons: Mapping[str, str], names: Sequence[str]) -> str | None:
    """The reasons as one text, each in a line that begins with its name; None where there are none."""
    return "\n".join(f"{name}: {reasons[name]}" for name in names if name in reasons) or None


def one_sample(parts: Mapping[str, Sample]) -> Sample:
    """The samples that requests about single criteria gave, by criterion, as the sample of one reply about all."""
    reasons = {name: part.reason for name, part in parts.items() if part.reason}
    errors = [part.error for part in parts.values() if part.error is not None]
    return Sample(
        {name: value for part in parts.values() for name, value in part.values.items()},
        joined_reasons(reasons, list(parts)),
        most_telling(errors) if errors else None,
        reasons,
    )
