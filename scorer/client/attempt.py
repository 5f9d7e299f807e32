"""One attempt of a request at one endpoint: admitted, sent, read, and settled on every way out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from scorer.client.adaptive_timeout import LEAST_S, AdaptiveTimeout
from scorer.client.endpoints import Endpoint, Endpoints
from scorer.client.judge_names import JudgeNames
from scorer.client.meter import Meter
from scorer.client.model_terms import ModelTerms
from scorer.client.repeated_replies import DuplicateReplies
from scorer.client.reservation import Reservation
from scorer.client.settlement import Settlement
from scorer.client.tiers import tier_note
from scorer.client.unsent import Unsent
from scorer.errors import Interrupted, RowError, ServerFault, SetupError, TransientError, Unreachable
from scorer.frozen import replace
from scorer.limits import Billing, Outcome
from scorer.types import Call, Completion, RateHint, Reply, Request, Transport

_UNKNOWN, _NOTHING = Outcome(Billing.UNKNOWN), Outcome(Billing.NOTHING)


class Expired(Exception):
    """The request was admitted after its cached prefix had expired: one must write it again first."""


class AskAnother(TransientError):
    """The request is to be asked again at once on a new connection, and the row has no part in it.

    `doubted` is the id of a reply that may be another's; None where a kept connection ended as it was used.
    """

    def __init__(self, detail: str, *, billed: bool, doubted: str | None = None) -> None:
        self.doubted = doubted
        super().__init__(detail, billed=billed)


class Attempts:
    """Attempts of one model's requests. Make it inside a running event loop. `clock` is the loop's.

    `timeout_s` is how long the transport waits for a reply. `met` is True once any endpoint sent any reply. `latencies`
    gets the seconds of each attempt that was answered.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        transport: Transport,
        terms: ModelTerms,
        clock: Callable[[], float],
        timeout_s: float,
        latencies: Callable[[float], None] | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._transport = transport
        self._reservation = Reservation(terms.tariff, terms.max_output_tokens)
        self._settlement = Settlement(terms.tariff, terms.window)
        self._tier = terms.tier
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # How long a cheap tier takes changes with the hour: the latencies so far tell nothing of the next one.
        self._deadline = AdaptiveTimeout(timeout_s, timeout_s if terms.tier == "flex" else LEAST_S)
        self._latencies = latencies
        self._names = JudgeNames()
        self.met = False

    async def once(
        self, endpoint: Endpoint, request: Request, spent: Meter, sent: asyncio.Event | None = None
    ) -> Completion:
        """The completion of one attempt; `sent` is set when its request goes out.

        Over a complexity of 15: each way out has a branch, and all of them share the one settlement in `finally`.
        """
        limits, clock = endpoint.limits, self._clock
        provider, single = endpoint.provider, endpoint.single
        conversation: Generator[Call, Any, Completion] | None = None
        call = None if single is None else single.single_call(request)
        if call is None:
            conversation = provider.converse(request)
            call = next(conversation)
        learned = call.learned
        demand = self._reservation.demand(request, call.body, asked=call.output, begun=spent.attempts > 0)
        permit = await limits.admit(demand, self._endpoints.may_leave)
        if spent.turn is not None and not spent.turn.sent():
            limits.settle(permit, _NOTHING)
            raise Expired
        spent.sent_at = sent_at = asked_at = clock()
        spent.attempts += 1
        permit.task = task = asyncio.current_task(self._loop)
        assert task is not None
        cancels = task.cancelling()
        if sent is not None:
            sent.set()
        outcome = _UNKNOWN
        hint: RateHint | None = None
        reply: Reply | None = None
        fresh = spent.fresh or not endpoint.repeats.kept
        deadline_s = self._deadline.seconds
        if spent.cut or limits.breaker.open_since is not None:  # slow by itself, or a probe: all of timeout_s
            deadline_s = None
        try:
            while True:
                if deadline_s is not None or fresh:
                    call = replace(call, timeout_s=deadline_s, fresh=fresh)
                posting = self._transport.post(call)
                del call  # its body is not held while the reply is awaited
                reply = await posting
                self.met = True
                hint = provider.rate(reply.headers)
                if spent.doubted is None:
                    doubted = endpoint.repeats.doubts(reply, None)
                else:
                    doubted = _doubted_again(endpoint, reply, spent, spent.doubted)
                if doubted is not None:
                    raise AskAnother("the reply has the id of another one", billed=True, doubted=doubted)
                told: Any = reply
                if conversation is None:
                    assert single is not None
                    completion = single.single_completion(reply)
                    if completion is not None:
                        break
                    conversation, told = single.go_on(request, learned, reply), None  # to begin a generator
                try:
                    call = conversation.send(told)
                except StopIteration as done:
                    completion = done.value
                    break
                asked_at, reply = clock(), None
            if spent.turn is not None:
                spent.turn.answered_by(endpoint.leaders, completion.usage)
            outcome = self._settlement.answered(completion.usage, hint, permit.demand, billed=True)
        except AskAnother:
            _drop(reply)
            outcome = Outcome(Billing.UNKNOWN, hint=hint)  # a copy of an earlier reply says nothing of the endpoint now
            raise
        except TransientError as error:
            _drop(reply)
            if isinstance(error, Unreachable) and not error.billed and hint is None:  # nor did a turn before it go out
                spent.unsent += 1
            if isinstance(error, Unreachable) and not fresh and self._was_stale(endpoint, error, asked_at):
                outcome = _NOTHING
                raise AskAnother(error.detail, billed=False) from None
            hung = deadline_s is not None and clock() - asked_at >= deadline_s
            if hung and isinstance(error, Unreachable):
                spent.cut = True
                self._deadline.cut()
            since_s = clock() - permit.admitted_at
            # What fails sooner than nearly any reply comes has done no work; nor has a probe.
            too_soon = error.if_late and (permit.probe or since_s <= limits.bills.quick_s)
            outcome = self._settlement.outcome_of(error, hint, permit.demand, too_soon=too_soon)
            if (
                isinstance(error, ServerFault)
                and error.retry_after_s is not None
                and self._endpoints.others_up(endpoint)
            ):
                outcome = replace(outcome, away_s=error.retry_after_s)
            raise
        except SetupError:
            self._endpoints.close()  # before the settlement lets another go
            _drop(reply)
            if reply is None or reply.status >= 300:  # an answer without the work, or nothing was sent
                outcome = Outcome(Billing.NOTHING, hint=hint)
            raise
        except asyncio.CancelledError as cancelled:
            if isinstance(cancelled, Unsent):
                outcome = _NOTHING
                if hint is None:
                    spent.unsent += 1
            if permit.left and task.uncancel() <= cancels:
                raise Interrupted("draining: the reply to this row's request did not come") from None
            if isinstance(cancelled, Unsent):  # asyncio.timeout knows its own cancellation by the class
                raise asyncio.CancelledError from None
            raise
        except RowError as error:
            _drop(reply)
            outcome = self._settlement.answered(error.usage, hint, permit.demand, billed=error.billed)
            raise
        finally:
            ended_at = clock()
            spent.ended.append((sent_at, ended_at, outcome.usage, outcome.cost_pico))
            limits.settle(permit, outcome)
        latency_s = ended_at - permit.admitted_at
        self._deadline.answered(latency_s)
        if self._latencies is not None:
            self._latencies(latency_s)
        if outcome.usage is not completion.usage:
            completion = replace(completion, usage=None)
        if self._tier != "standard" or self._names.last != (completion.model, completion.system_fingerprint):
            self._note_names(endpoint, request, completion)
        return completion

    def _note_names(self, endpoint: Endpoint, request: Request, completion: Completion) -> None:
        """Says where the reply names another tier than the one that was asked for, or another model than before."""
        limits = endpoint.limits
        if self._tier != "standard" and completion.usage is not None:
            note = tier_note(request.tier or self._tier, completion.usage.tier)
            if note is not None:
                limits.note(note)
        for change in self._names.changed(completion.model, completion.system_fingerprint):
            limits.note(change)

    def _was_stale(self, endpoint: Endpoint, error: Unreachable, asked_at: float) -> bool:
        """True where the server closed a connection that idled, too soon to have done any work for this request."""
        return error.kept and error.silent and self._clock() - asked_at <= endpoint.limits.bills.quick_s


def _doubted_again(endpoint: Endpoint, reply: Reply, spent: Meter, before: tuple[DuplicateReplies, str]) -> str | None:
    """The id of a reply that may be another request's, as the one `before` may have been; None where it is not doubted.

    Also None, with one message, once this endpoint's ids turn out to distinguish nothing.
    """
    repeats = endpoint.repeats
    if repeats.off:
        return None
    mine = before[0] is repeats
    kept = repeats.kept
    doubted = repeats.doubts(reply, before[1] if mine else None)
    if mine:
        spent.doubted = None
        if repeats.off:
            endpoint.limits.note(
                f"{endpoint.provider!r} gives different replies the same id (a cache does): a reply that was sent "
                "twice on one connection could not be told from its own there."
            )
        elif kept and not repeats.kept:
            endpoint.limits.note(
                f"{endpoint.provider!r} sends replies twice: each request now has a connection of its own. What "
                "was sent twice was thrown away, asked again, and counted as possibly billed."
            )
    return doubted


def _drop(reply: Reply | None) -> None:
    """What is no completion has no id: were it sent twice, the copy could not be distinguished from the next reply."""
    if reply is not None and reply.line is not None:
        reply.line.drop()
