"""Makes the endpoints of one model: those of the run file, and replicas that join its fleet while a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scorer.build.endpoints import base_of, concurrency, rate_limits
from scorer.build.keys import AwsAccount, aws_account, key_header, key_of, resolved
from scorer.build.model_provider import make_provider, provider_of
from scorer.build.worker_share import WorkerShare
from scorer.client.endpoints import Endpoint
from scorer.client.prompt_cache import BYTES_A_TOKEN, least_tokens
from scorer.client.single_call import SingleCallProvider
from scorer.config.spec import Limits, Model, Rates, Spec
from scorer.errors import SpecError
from scorer.frozen import dataclass
from scorer.limits import Budget, LocalLimiter

if TYPE_CHECKING:
    from scorer.client.cache_leaders import CacheLeaders
    from scorer.client.discovery import Discovery


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint is, as it was given, and its limits. `place` is that in the run file's order, over all models.

    `replica`: it is one of a fleet, whose endpoints share a place.
    """

    url: str
    rates: Rates
    key: str | None
    place: int
    replica: bool = False


class ModelEndpoints:
    """The endpoints of one model, for a worker's `share` of the run. `limits` has their limiters, those of others too.

    `key` is one that a command gave, `served` the address of an embedded judge that runs. The endpoints of the model
    begin at `place`.
    """

    def __init__(
        self,
        model: Model,
        limits: Limits,
        place: int,
        *,
        key: str | None,
        account: AwsAccount | None,
        served: str | None,
        share: WorkerShare,
        caps: Budget,
        clock: Callable[[], float],
        limiters: list[LocalLimiter],
    ) -> None:
        self._model = model
        self._burst_s = limits.burst_s
        self._share = share
        self._caps = caps
        self._clock = clock
        self._limiters = limiters
        self._headers = {} if served is not None else resolved(model.headers, "model.headers")
        self._addresses = _given(model, limits, place, key, account, served)
        self.places = len(self._addresses)
        """How many endpoints of the run file's order are the model's."""
        self.discovery = _source(model)

    async def addresses(self) -> list[Address]:
        """The addresses at the start. Raises SpecError where those of a fleet cannot be read."""
        if self.discovery is None:
            return self._addresses
        return [self._replica(url) for url in await _found(self._model, self.discovery)]

    def most(self, address: Address) -> int:
        """This worker's part of the requests in flight at an address."""
        return self._share.places(concurrency(address.rates, self._model.provider))

    def make(self, address: Address) -> Endpoint:
        """The endpoint of an address."""
        model, most = self._model, self.most(address)
        rates = rate_limits(address.rates, self._burst_s, most)
        local = self._share.limit(rates, self._caps, address.place, address.url if address.replica else "")
        self._limiters.append(local)
        headers = {**key_header(model.provider, address.url, address.key), **self._headers}
        provider = make_provider(model, base_of(address.url), headers)
        if ":" not in model.provider:
            provider.learned.tell = local.note
        leaders = self._leaders(provider, local)
        single = provider if isinstance(provider, SingleCallProvider) else None
        return Endpoint(provider, local, weight=most, address=address.url, leaders=leaders, single=single)

    def join(self, url: str) -> Endpoint:
        """The endpoint of a replica that joins the fleet."""
        return self.make(self._replica(url))

    def _replica(self, url: str) -> Address:
        (source,) = self._addresses
        return Address(url, source.rates, source.key, source.place, replica=True)

    def _leaders(self, provider: Any, local: LocalLimiter) -> CacheLeaders | None:
        if self._model.cache == "none":
            return None
        from scorer.client.cache_leaders import CacheLeaders

        warning = (
            f'model.cache = "auto": replies of {provider!r} read nothing from a cache where they should. Requests do '
            "not wait for one another there any more."
        )
        least_bytes = least_tokens(self._model.name or "") * BYTES_A_TOKEN
        return CacheLeaders(self._clock, least_bytes, lambda: local.note(warning))


def _given(
    model: Model, limits: Limits, place: int, key: str | None, account: AwsAccount | None, served: str | None = None
) -> list[Address]:
    """The addresses in the run file. Raises SetupError for a key that is not set."""
    default: str = getattr(provider_of(model), "default_base_url", "https://api.openai.com/v1")
    own = default if account is None else default.format(region=account.region)
    found = []
    for number, endpoint in enumerate(model.all_endpoints(limits), place):
        url = served or endpoint.base_url or own
        given = None if served is not None else key or key_of(endpoint.api_key_env, url)
        found.append(Address(url, endpoint.limits, given, number))
    return found


def check_keys(spec: Spec) -> None:
    """Raises SetupError where a key, a variable of a header or of the query, or AWS's region is not set."""
    for model in spec.all_models:
        if model.provider not in ("embedded", "recorded"):
            resolved(model.headers, "model.headers")
            resolved(model.query, "model.query")
            _given(model, spec.limits, 0, None, aws_account(model))


async def check_fleets(spec: Spec) -> None:
    """Raises SpecError with all mistakes where the replicas of a fleet cannot be read, or there are none."""
    problems: list[str] = []
    for model in spec.all_models:
        if (source := _source(model)) is not None:
            try:
                await _found(model, source)
            except SpecError as error:
                problems += error.problems
    if problems:
        raise SpecError(problems)


def _source(model: Model) -> Discovery | None:
    """What finds the replicas of a fleet; None for a model that has none."""
    if model.fleet is None:
        return None
    from scorer.client.discovery import discovery

    return discovery(model.fleet)


async def _found(model: Model, source: Discovery) -> list[str]:
    """The addresses of a fleet. Raises SpecError with the key that names it."""
    try:
        return await source.addresses()
    except SpecError as error:
        key = f"{model.section}.base_urls"
        raise SpecError([f"{key}: {problem}" for problem in error.problems]) from error


def tidy(limiters: list[LocalLimiter]) -> None:
    """Takes out the limiters of replicas that left and have nothing in flight; what they noted is kept."""
    gone = [one for one in limiters if one.gone]
    for one in gone:
        limiters.remove(one)
        for note in one.notes:
            limiters[0].note(note)
