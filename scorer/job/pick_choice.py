"""Picks one of the choices of a run by when it has to end and what it may cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from scorer.config.moments import moment
from scorer.counted import counted
from scorer.errors import SpecError
from scorer.frozen import dataclass
from scorer.job.run_choices import RunChoice


@dataclass(frozen=True, slots=True)
class Wanted:
    """When the run begins, when it has to end and what it may cost; None where it does not matter."""

    now: datetime
    by: datetime | None = None
    max_usd: float | None = None

    def fits(self, choice: RunChoice) -> bool:
        """Whether the expected time and money are within the limits; an unknown price is not."""
        in_time = self.by is None or self.ends(choice) <= self.by
        affordable = self.max_usd is None or (choice.cost_usd is not None and choice.cost_usd <= self.max_usd)
        return in_time and affordable

    def ends(self, choice: RunChoice) -> datetime:
        """When a run that begins now is expected to end.

        In batches, by when a provider answers one, or what it left at the deadline is answered online.
        """
        end = self.now + timedelta(seconds=choice.seconds)
        if choice.deadline is None or choice.online_seconds is None:
            return end
        cancelled = moment(choice.deadline, self.now, "limits.deadline")
        return min(end, cancelled + timedelta(seconds=choice.online_seconds))


def frontier(choices: Sequence[RunChoice]) -> list[bool]:
    """Whether each choice is on the frontier: none that agrees at least as well is both no dearer and no later.

    Only choices whose agreement is known can be compared; another one is never dominated, and dominates none.
    """
    return [not any(_dominates(other, one) for other in choices if other is not one) for one in choices]


def _dominates(other: RunChoice, one: RunChoice) -> bool:
    theirs, ours = _agreement(other), _agreement(one)
    if theirs is None or ours is None or other.cost_usd is None or one.cost_usd is None:
        return False
    better = (theirs, -other.cost_usd, -other.seconds)
    worse = (ours, -one.cost_usd, -one.seconds)
    return better != worse and all(a >= b for a, b in zip(better, worse, strict=True))


def pick(choices: Sequence[RunChoice], wanted: Wanted) -> tuple[RunChoice, str]:
    """The choice, and a sentence on why: the best agreement of those that fit, at equal agreement the cheapest.

    Where none that fits was measured, it is the run file's own choice, else its model with fewer samples, or with its
    criteria asked in another way, else the dearest one: the sentence says that nothing is known about its agreement.
    Raises SpecError where none fits.
    """
    fit = [one for one in choices if wanted.fits(one)]
    if not fit:
        raise SpecError([_none_fits(choices, wanted)])
    measured = [one for one in fit if _agreement(one) is not None]
    if measured:
        best = max(measured, key=lambda one: (_agreement(one) or 0.0, -(one.cost_usd or 0.0), -one.seconds))
        if len(measured) == 1:
            return best, "of the choices that fit, its agreement with people alone is known."
        return best, f"it agrees best with people of the {len(measured)} measured choices that fit."
    unknown = "How well it agrees with people is not known: --measured OUT --human COLUMN tells."
    own = choices[0]
    if own in fit:
        return own, f"the run file's own choice fits. {unknown}"
    same = [one for one in fit if one.model == own.model and one.samples <= own.samples]
    if same:
        most = max(same, key=lambda one: (one.criteria == own.criteria, one.samples))
        if most.criteria != own.criteria:
            return most, f"the same model fits with its criteria asked {most.criteria}. {unknown}"
        if most.samples == own.samples:
            way = "in batches" if most.mode == "batch" else f"at the tier {most.tier}"
            return most, f"the run file's own choice fits {way}. {unknown}"
        return most, f"the same model with fewer samples fits. {unknown}"
    return max(fit, key=lambda one: (one.cost_usd or 0.0, -one.seconds)), f"it is the dearest that fits. {unknown}"


def _agreement(choice: RunChoice) -> float | None:
    return choice.measured.value if choice.measured is not None else None


def _named(one: RunChoice) -> str:
    asked = "" if one.criteria is None else f", criteria {one.criteria}"
    return f"{one.model} with {counted(one.samples, 'sample')}{asked}"


def _none_fits(choices: Sequence[RunChoice], wanted: Wanted) -> str:
    asked = [
        *([f"ends by {wanted.by:%Y-%m-%d %H:%M}"] if wanted.by is not None else []),
        *([f"costs at most {wanted.max_usd:g} USD"] if wanted.max_usd is not None else []),
    ]
    soonest = min(choices, key=lambda one: one.seconds)
    priced = [one for one in choices if one.cost_usd is not None]
    cheapest = min(priced, key=lambda one: one.cost_usd or 0.0, default=None)
    cost = (
        "no price is known (add model.price)"
        if cheapest is None
        else f"the cheapest, {_named(cheapest)}, costs {cheapest.cost_usd:,.4f} USD"
    )
    ends = (
        "is answered in batches within 24 h"
        if soonest.mode == "batch"
        else f"ends {wanted.ends(soonest):%Y-%m-%d %H:%M}, limited by {soonest.binding_limit}"
    )
    return (
        f"No choice {' and '.join(asked)}: {cost}, and the soonest, {_named(soonest)}, "
        f"{ends}. Give more time or money, "
        "raise that limit, judge a part of the rows (--sample), or add models (--model NAME)."
    )
