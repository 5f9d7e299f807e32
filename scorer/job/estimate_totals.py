"""The totals of an estimate: requests, reply tokens, money and time of a run, from a sample of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from scorer.config.cost import STANDARD, Price, TierPrices
from scorer.config.model_prices import planned_prices
from scorer.config.spec import Limits, Model
from scorer.job.cache_estimate import IN_BATCHES
from scorer.job.learned import Mean
from scorer.job.model_load import ModelLoad, seconds_at_limits
from scorer.job.prompt_sample import PromptSample
from scorer.usage import Usage

BATCH_WINDOW_S = 86_400.0
"""In this time a provider answers a batch, or lets it expire."""
WORTH_SAYING = 0.05
"""The share of the cost from which on a saving that was not asked for is shown."""


class Totals:
    """The totals of a run by model, from a sample of its rows. The case is 0 for low, 1 for expected, 2 for worst.

    `prompt` and `half_width` are the prompt tokens of all models and half of their interval. `reply` is the tokens of a
    finished row's replies where such rows are known, else the sample's assumptions count. `cached` is the share of the
    prompt tokens that a cache held for finished rows. `deadline`: at some time all rows that are in provider batches
    may go online. `tiers` are the shares of the finished rows' tokens by the tier that replies name, None for none;
    empty where no finished row tells.
    """

    def __init__(
        self,
        seen: PromptSample,
        prompt: float,
        half_width: float,
        scale: float,
        reply: Mean | None,
        *,
        cached: Mean | None = None,
        deadline: bool = False,
        tiers: Mapping[str | None, float] = MappingProxyType({}),
    ) -> None:
        loads = list(seen.models.values())
        self._seen_caches = seen.caches
        self._loads = [load for load in loads if load.requests] or loads[:1]
        self._prompt = prompt
        self._half_width = half_width
        self._scale = scale
        self._cached = cached
        self._prefix = seen.shared_bytes / max(1, seen.bytes)
        self._choices = seen.choice_tokens / max(1, sum(seen.tokens)) if cached is None else 0.0
        self._deadline = deadline
        self._tiers = tiers
        sampled = sum(load.prompt_tokens for load in self._loads)
        self._share = [load.prompt_tokens / max(1, sampled) for load in self._loads]
        self._outputs: list[tuple[float, float, float]] = [
            (load.shortest, load.completion_tokens, load.longest) for load in self._loads
        ]
        if reply is not None:
            answered = seen.rows - sum(seen.bad.values())
            expected = sum(load.completion_tokens for load in self._loads)
            parts = [load.completion_tokens / max(1, expected) for load in self._loads]
            known = [answered * tokens for tokens in (reply.low, reply.value, reply.high)]
            self._outputs = [(known[0] * part, known[1] * part, known[2] * part) for part in parts]

    @property
    def requests(self) -> int:
        return round(sum(load.requests for load in self._loads) * self._scale)

    def output(self, case: int) -> int:
        """The reply tokens of all models."""
        return round(sum(outputs[case] for outputs in self._outputs) * self._scale)

    def cost(self, sign: float, case: int, *, cached: bool | None = None) -> float | None:
        """USD, with the prompt tokens at `sign` half widths. None where a model's price is unknown.

        `cached`: with prompt caching, without it, or (None) as each model asks for it.
        """
        return self._cost(sign, case, lambda known, load: self._mix(known, load, case), cached)

    @property
    def caches(self) -> bool:
        """Whether a model asks for prompt caching."""
        return any(load.model.cache == "auto" for load in self._loads)

    def cached(self, which: int, *, asked: bool = True) -> int:
        """The prompt tokens that are read from caches (0) or written to them (1), of models that ask for it, or all."""
        total = 0.0
        for load, share in zip(self._loads, self._share, strict=True):
            if load.model.cache == "auto" or not asked:
                total += self._prompt * share * self._cache_shares(load.model, 1, cached=True)[which]
        return round(total)

    def cache_advice(self) -> tuple[str, ...]:
        """What prompt caching saves, or would save."""
        with_it, without = self.cost(0.0, 1, cached=None if self.caches else True), self.cost(0.0, 1, cached=False)
        if not self._seen_caches or with_it is None or without is None:
            return ()
        read, written = self.cached(0, asked=self.caches), self.cached(1, asked=self.caches)
        if self.caches:
            return (
                f'model.cache = "auto": {read:,} prompt tokens are read from the cache and {written:,} written to it; '
                f"{with_it:,.4g} USD expected, and {without:,.4g} without it.{self._best_effort()}"
                if read
                else f'model.cache = "auto" saves nothing here: {self._why_none()}.',
            )
        if with_it > (1 - WORTH_SAYING) * without:
            return ()
        return (
            f'model.cache = "auto" would read {read:,} prompt tokens from the provider cache: {with_it:,.4g} USD '
            f"instead of {without:,.4g}.{self._best_effort()}",
        )

    def _best_effort(self) -> str:
        """What is said of reads within batches; "" for requests online."""
        if not any(self._lasting(load.model) for load in self._loads):
            return ""
        low, expected, _ = IN_BATCHES
        return f" Within a batch reads are best effort: {expected:.0%} of them are counted, {low:.0%} in the low case."

    def _why_none(self) -> str:
        repeats = any(seen.read_tokens for seen in self._seen_caches.values())
        if repeats:
            return "this provider promises no reads from its cache within a batch"
        return "no long enough prefix of a prompt repeats"

    def _cache_shares(self, model: Model, case: int, *, cached: bool | None) -> tuple[float, float]:
        """The shares of prompt tokens that are read and written, in a cache that requests name or the server's own.

        Of the latter, the low case has as much read as finished rows had, or as prompts share with the one before,
        unless finished rows had nothing; the worst case has nothing.
        """
        seen = self._seen_caches.get(model.alias)
        asked = model.cache == "auto" if cached is None else cached
        known = self._cached
        of_finished = (known.high, known.value, 0.0)[case] if known is not None and cached is None else 0.0
        if seen is not None and asked:
            read, written = seen.shares(case)
            return max(read, min(of_finished, 1.0 - written)), written
        if cached is not None or model.cache == "auto":
            return 0.0, 0.0
        if case == 0 and seen is None and model.mode == "online" and (known is None or known.high):
            of_finished = max(of_finished, self._prefix)  # next to one another rows share more than those of a sample
        return min(1.0, of_finished), 0.0

    def _lasting(self, model: Model) -> bool:
        seen = self._seen_caches.get(model.alias)
        return seen is not None and seen.lasting

    def tier_advice(self) -> tuple[str, ...]:
        """What the run costs online at the standard tier, where it asks for another one or goes in batches."""
        asked = sorted({load.model.tier for load in self._loads} - {STANDARD})
        cost, standard = self.cost(0.0, 1), self._cost(0.0, 1, lambda known, _: [(1.0, known.standard)])
        batched = [load for load in self._loads if load.model.mode == "batch"]
        if not (asked or batched) or cost is None or standard is None:
            return ()
        if batched:
            least = f"model.batch.min_requests = {batched[0].model.batch.min_requests}"
            if not any(map(self._fills, batched)):
                in_batch = self._cost(0.0, 1, lambda known, _: [(1.0, known.price)])
                return (
                    f'model.mode = "batch": all is asked online, at {cost:,.4g} USD expected, for it is less than '
                    f"{least}. In a batch it is {in_batch:,.4g}: --set model.batch.min_requests=1.",
                )
            return (
                f'model.mode = "batch": {cost:,.4g} USD expected, and {standard:,.4g} online. What fills no batch at '
                f"the end ({least}) is asked online, in the worst case. A provider answers a batch within 24 h; a "
                "judge that asks again needs another one.",
            )
        named = " and ".join(f'"{tier}"' for tier in asked)
        return (
            f"model.tier = {named}: {cost:,.4g} USD expected, and {standard:,.4g} at the standard tier. Each reply is "
            f"billed at the tier that it names{self._unnamed()}.",
        )

    def _unnamed(self) -> str:
        share = self._tiers.get(None, 0.0)
        known = f", as {share:.0%} of the finished rows do" if share else ""
        return f", or at the dearer of both prices where it names none{known}"

    def _cost(
        self,
        sign: float,
        case: int,
        prices: Callable[[TierPrices, ModelLoad], list[tuple[float, Price]]],
        cached: bool | None = None,
    ) -> float | None:
        """USD, where `prices` gives the shares of a model's requests and their prices."""
        total = 0.0
        for load, share, outputs in zip(self._loads, self._share, self._outputs, strict=True):
            if (known := planned_prices(load.model)) is None:
                return None
            prompt = max(0, round((self._prompt + sign * self._half_width) * share))
            if case == 0 and load.model.alias not in self._seen_caches:  # one prompt may bring all samples of a row
                prompt = round(prompt * (1 - self._choices))
            output, requests = round(outputs[case] * self._scale), round(load.requests * self._scale)
            read, written = (round(share * prompt) for share in self._cache_shares(load.model, case, cached=cached))
            usage = Usage(prompt, output, read, written, written if self._lasting(load.model) else 0)
            total += sum(part * _cost(one, usage, requests) for part, one in prices(known, load))
        return total

    def _mix(self, known: TierPrices, load: ModelLoad, case: int) -> list[tuple[float, Price]]:
        """The shares of requests and their prices.

        In the worst case as many leave the tier as `tier_fallback` lets. Of batches, what does not fill one is asked
        online: in the worst case as many requests as nearly do, and with a deadline all, as where no batch has ended.
        """
        model = load.model
        left = model.tier_fallback.share if model.tier_fallback is not None and case == 2 else 0.0
        if model.mode == "batch":
            least = model.batch.min_requests
            rest = 1.0 if self._deadline else min(1.0, (least - 1) / max(1.0, load.requests * self._scale))
            left = (rest if case == 2 else 0.0) if self._fills(load) else 1.0
        if model.mode == "online" and self._tiers:
            of_tiers = [((1.0 - left) * share, known.billed_at(name)) for name, share in self._tiers.items()]
            return [*of_tiers, (left, known.standard)]
        return [(1.0 - left, known.price), (left, known.standard)]

    def _fills(self, load: ModelLoad) -> bool:
        """Whether a model's requests go in provider batches: they fill one."""
        model = load.model
        return model.mode == "batch" and load.requests * self._scale >= model.batch.min_requests

    def seconds(self, limits: Limits, sign: float, case: int | None, seconds_a_request: float) -> tuple[float, str]:
        """Seconds of the slowest model, and the limit that determines them.

        The limits charge the replies of `case`. In the worst case, and without one, they charge at least the output
        limit, as servers do that reserve it. Batches take up to their window, whatever the limits are.
        """
        if any(map(self._fills, self._loads)):
            return (0.0 if case == 0 else BATCH_WINDOW_S), "batch"
        found = [(0.0, "concurrency")]
        for load, share, outputs in zip(self._loads, self._share, self._outputs, strict=True):
            requests = round(load.requests * self._scale)
            prompt = max(0.0, (self._prompt + sign * self._half_width) * share)
            output = 0.0 if case is None else outputs[case] * self._scale
            if case != 0:
                output = max(output, requests * load.most_a_request)
            found.append(seconds_at_limits(load, limits, prompt, output, requests, seconds_a_request))
        seconds, binding = max(found, key=lambda one: one[0])
        return round(seconds, 3), binding


def _cost(price: Price, usage: Usage, requests: int) -> float:
    """USD for these totals, with the prompt tokens spread evenly over the requests."""
    prompt = usage.prompt_tokens
    long = price.long is not None and price.long_from is not None and prompt > price.long_from * max(1, requests)
    at = price.long if long and price.long is not None else replace(price, long=None, long_from=None)
    return at.cost_pico(usage) / 10**12
