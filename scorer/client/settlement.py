"""Computes the Outcome of an attempt: what it cost, and what it says of its endpoint.

Pure functions of the tariff and the model's context window. A usage beyond the window is not believed: the bill is
then unknown, and counts at its reservation.
"""

from __future__ import annotations

from scorer.client.reservation import Tariff
from scorer.errors import NoCapacity, Throttled, TransientError
from scorer.limits import Billing, Demand, Outcome
from scorer.types import RateHint
from scorer.usage import Usage

_KNOWN = Billing.KNOWN  # a member of an enum takes .1 us to look up


class Settlement:
    """Outcomes of one model's attempts. `tariff` is None where the price is unknown: costs are then None."""

    def __init__(self, tariff: Tariff | None, window: int) -> None:
        self._tariff = tariff
        self._window = window

    def outcome_of(self, error: TransientError, hint: RateHint | None, demand: Demand, *, too_soon: bool) -> Outcome:
        """The outcome of an attempt that failed by a temporary fault.

        `too_soon`: it failed sooner than nearly any reply comes, or is a probe. An error that is billed only `if_late`
        then cost nothing.
        """
        usage = self._believed(error.usage, demand)
        throttled, no_capacity = isinstance(error, Throttled), isinstance(error, NoCapacity)
        billed = error.billed and not (error.if_late and too_soon)
        return Outcome(
            _KNOWN if usage is not None else Billing.UNKNOWN if billed else Billing.NOTHING,
            usage=usage,
            cost_pico=None if usage is None or self._tariff is None else self._tariff.cost_pico(usage),
            hint=hint,
            alive=None if throttled or no_capacity else False,
            throttled=throttled,
            retry_after_s=error.retry_after_s,
            quota=isinstance(error, Throttled) and error.quota,
            no_capacity=no_capacity,
            why=error.detail,
        )

    def answered(self, usage: Usage | None, hint: RateHint | None, demand: Demand, *, billed: bool) -> Outcome:
        """The outcome of an attempt that was answered, if only by a row error; `billed` where no usage tells it."""
        window = self._window  # of one choice: nearly all
        if usage is None or usage.prompt_tokens > window or usage.completion_tokens > window:
            usage = self._believed(usage, demand)
        if usage is None:
            return Outcome(Billing.UNKNOWN if billed else Billing.NOTHING, hint=hint, alive=True)
        cost_pico = None if self._tariff is None else self._tariff.cost_pico(usage)
        return Outcome(_KNOWN, usage, cost_pico, hint, True)

    def _believed(self, usage: Usage | None, demand: Demand) -> Usage | None:
        """Neither a prompt nor a choice is longer than the window; some servers bill a prompt for each choice."""
        most = self._window * (demand.asked.choices if demand.asked is not None else 1)
        if usage is not None and usage.prompt_tokens <= most and usage.completion_tokens <= most:
            return usage
        return None
