"""The rates of one endpoint: what a request takes from each of them, and what replies teach about them.

Knows no queue, budget or ledger. Where nothing a minute is declared there is no such object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf

from scorer.errors import TooLong
from scorer.frozen import dataclass
from scorer.limits.cooldown import LONGEST_S, Cooldown
from scorer.limits.rate_limits import AdjustableLimit, RateLimits, RequestGate, TokenBucket, TokenRate
from scorer.limits.running_quantile import RunningQuantile
from scorer.limits.token_charges import ChargeObservation, TokenChargeModel, TokenEstimateCorrection
from scorer.limits.types import Billing, Charge, Demand, Outcome, Permit
from scorer.types import Gauge
from scorer.usage import Usage

WEIGHTS = {"tokens": (1, 1), "input_tokens": (1, 0), "output_tokens": (0, 1)}
"""How often a prompt token and an output token count at each limit."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """A limit of tokens, and how often a prompt token and an output token count at it."""

    name: str
    rate: TokenRate
    prompt_weight: int
    output_weight: int

    def charge(self, prompt: float, output: float) -> float:
        return self.prompt_weight * prompt + self.output_weight * output


class EndpointRates:
    """The token limits (`tokens`, by the names of `WEIGHTS`) and the request limit of one endpoint."""

    def __init__(
        self, tokens: Mapping[str, TokenRate], requests: AdjustableLimit | None, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._limits = tuple(_Limit(name, rate, *WEIGHTS[name]) for name, rate in tokens.items())
        self._smallest = min((limit.rate.declared for limit in self._limits), default=inf)
        self._requests = requests
        self._estimate = TokenEstimateCorrection()
        self._output = RunningQuantile(0.9)
        self._model = TokenChargeModel()
        self._asked: Demand | None = None  # what `wait` was asked last, and its charges: `take` follows at once
        self._charged: Sequence[float] = ()

    @property
    def tokens_per_minute(self) -> float | None:
        """The limit of prompt and output tokens together as it is now. None where there is no such limit."""
        return next((limit.rate.per_minute for limit in self._limits if limit.name == "tokens"), None)

    def check_size(self, demand: Demand) -> None:
        """Raises TooLong for a request that is larger than a declared limit of one minute.

        A lower limit from a header, or a wrong estimate, may pass. So neither is the row's fault.
        """
        if demand.tokens + demand.output_tokens <= self._smallest:  # no estimate is more
            return
        prompt, output = demand.tokens * min(self._estimate.value, 1.0), self._output_tokens(demand)
        for limit in self._limits:
            charge = limit.charge(prompt, output)
            if charge > limit.rate.declared:
                raise TooLong(
                    f"this request takes about {charge:.0f} tokens; limits.{limit.name}_per_minute = "
                    f"{limit.rate.declared:.0f} could never admit it"
                )

    def wait(self, demand: Demand) -> tuple[str, float] | None:
        """The first limit that `demand` must wait for, and seconds. None: it may be taken now."""
        self._asked, self._charged = demand, self._charges(demand)
        for limit, charge in zip(self._limits, self._charged, strict=True):
            if (wait_s := limit.rate.wait_s(charge)) > 0:
                return f"{limit.name}_per_minute", wait_s
        if self._requests is not None and (wait_s := self._requests.wait_s()) > 0:
            return "requests_per_minute", wait_s
        return None

    def take(self, demand: Demand) -> Charge:
        """Takes what `demand` is expected to be charged; `wait` returned None just before."""
        amounts, marks = self._charged if demand is self._asked else self._charges(demand), []
        for limit, amount in zip(self._limits, amounts, strict=True):
            limit.rate.take(amount)
            marks.append(limit.rate.given)
        if self._requests is None:
            return Charge(amounts, marks, 0.0)
        self._requests.take()
        return Charge(amounts, marks, self._requests.given)

    def amounts(self, demand: Demand) -> dict[str, float]:
        """What the provider is expected to charge each limit for `demand`, by name; one for `requests`."""
        charges = zip(self._limits, self._charges(demand), strict=True)
        amounts = {limit.name: charge for limit, charge in charges}
        if self._requests is not None:
            amounts["requests"] = 1.0
        return amounts

    def _charges(self, demand: Demand) -> Sequence[float]:
        if not self._limits:
            return ()
        prompt, output = demand.tokens * self._estimate.value, self._output_tokens(demand)
        return [limit.charge(prompt, output) for limit in self._limits]

    def settle(self, permit: Permit, outcome: Outcome, cooldown: Cooldown) -> None:
        """Corrects what was taken by what the reply says. `cooldown` is paused where no request is left."""
        if outcome.usage is not None and self._limits:
            self._true_up(permit, outcome.usage)
        gauges = outcome.hint.gauges if outcome.hint is not None else {}
        if gauges:
            self._observe(permit, outcome.usage, gauges, cooldown)
        if outcome.alive and outcome.bill is not Billing.NOTHING:  # an answer, not a refusal
            self._expire_lowered(gauges)

    def _output_tokens(self, demand: Demand) -> float:
        if self._model.refunds and (usual := self._output.value) is not None:
            return min(demand.output_tokens, usual)
        return demand.output_tokens

    def _true_up(self, permit: Permit, usage: Usage) -> None:
        """Returns to the buckets what was taken too much; the estimates learn."""
        assert permit.charge is not None
        self._estimate.add(usage.prompt_tokens, permit.demand.tokens)
        self._output.add(usage.completion_tokens)
        output = usage.completion_tokens if self._model.refunds else permit.demand.output_tokens
        for limit, amount in zip(self._limits, permit.charge.amounts, strict=True):
            limit.rate.give(amount - limit.charge(usage.prompt_tokens, output))

    def _observe(self, permit: Permit, usage: Usage | None, gauges: Mapping[str, Gauge], cooldown: Cooldown) -> None:
        """Takes over a lower limit from the headers, and never assumes more left than they say."""
        charge = permit.charge
        assert charge is not None
        elapsed_s = self._clock() - permit.admitted_at
        for limit, amount, mark in zip(self._limits, charge.amounts, charge.marks, strict=True):
            gauge = gauges.get(limit.name)
            if gauge is None:
                continue
            limit.rate.lower_to(gauge.limit, permit.admitted_at)
            if gauge.remaining is None:
                continue
            limit.rate.correct(gauge.remaining, elapsed_s, limit.rate.given - mark)
            if limit.name == "tokens" and usage is not None:
                seen = ChargeObservation(
                    mark=mark,
                    taken=amount,
                    remaining=gauge.remaining,
                    reserve=usage.prompt_tokens + permit.demand.output_tokens,
                    usage=usage.prompt_tokens + usage.completion_tokens,
                    sent_at=permit.admitted_at,
                    limit=gauge.limit,
                )
                self._model.watch(seen, (gauge.limit or limit.rate.per_minute) / 60)
        if self._requests is not None and (gauge := gauges.get("requests")) is not None:
            self._requests.lower_to(gauge.limit, permit.admitted_at)
            if gauge.remaining is not None:
                per_second = self._requests.per_minute / 60
                left = gauge.remaining + per_second * elapsed_s - (self._requests.given - charge.request_mark)
                if left < 1:
                    cooldown.pause(self._clock() + min((1 - left) / per_second, LONGEST_S))

    def _expire_lowered(self, stated: Mapping[str, Gauge]) -> None:
        """Restores declared limits that the answer's headers do not state."""
        for limit in self._limits:
            if limit.name not in stated:
                limit.rate.expire_lowered()
        if self._requests is not None and "requests" not in stated:
            self._requests.expire_lowered()


def local_rates(limits: RateLimits, clock: Callable[[], float]) -> EndpointRates | None:
    """The rates that this process alone uses. None where none is declared."""
    declared = limits.declared
    if not declared:
        return None
    requests = declared.pop("requests", None)
    return EndpointRates(
        {name: TokenBucket(per_minute, limits.burst_s, clock) for name, per_minute in declared.items()},
        RequestGate(requests) if requests else None,
        clock,
    )
