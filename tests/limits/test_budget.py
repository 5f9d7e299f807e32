"""Promise: known plus possible spend never passes a cap, and nothing is refused that fits below it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import nothing

from scorer.errors import BudgetSpent
from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, Demand, Outcome
from scorer.limits.budget import PICO
from scorer.output.ledger import Ledger
from scorer.usage import (
    Usage,
)


def caps(*, max_tokens: int | None = None, max_usd: float | None = None) -> Budget:
    ledger = Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False)
    return Budget(ledger, max_tokens=max_tokens, max_usd=max_usd)


def need(tokens: int = 0, pico: int = 0) -> Demand:
    return Demand(tokens, 0, worst_tokens=tokens, worst_pico=pico)


def reserved(some: Budget, demand: Demand) -> int:
    return some.ledger.reserve(demand.worst_tokens, demand.worst_pico)


def known(tokens: int, pico: int = 0) -> Outcome:
    return Outcome(Billing.KNOWN, usage=Usage(tokens, 0), cost_pico=pico)


def test_budget_without_caps_fits_any_demand() -> None:
    assert caps().fits(need(10**15, 10**18))


def test_budget_fills_cap_to_last_token() -> None:
    some = caps(max_tokens=100)
    some.settle(reserved(some, need(60)), known(60))
    assert some.fits(need(40))
    with pytest.raises(BudgetSpent):
        some.fits(need(41))


def test_budget_holds_demand_while_open_reservations_may_settle_cheaper() -> None:
    some, woken = caps(max_tokens=100), []
    some.on_settle(lambda: woken.append(True))
    entry = reserved(some, need(60))
    assert not some.fits(need(41))
    some.settle(entry, known(59))
    assert woken == [True]
    assert some.fits(need(41))


@pytest.mark.parametrize(
    ("outcome", "left"),
    [
        (known(7), 93),
        (Outcome(Billing.NOTHING), 100),
        (Outcome(Billing.UNKNOWN), 40),
        (Outcome(Billing.KNOWN, usage=None), 40),  # nobody said what it took
    ],
)
def test_budget_counts_every_outcome_at_its_possible_cost(outcome: Outcome, left: int) -> None:
    some = caps(max_tokens=100)
    some.settle(reserved(some, need(60)), outcome)
    assert some.fits(need(left))
    with pytest.raises(BudgetSpent):
        some.fits(need(left + 1))


def test_budget_spent_message_names_key_spend_and_remedy() -> None:
    some = caps(max_tokens=100, max_usd=0.01)
    some.settle(reserved(some, need(90, PICO // 200)), known(90, PICO // 200))
    with pytest.raises(BudgetSpent, match=r"^limits\.max_tokens = 100 is used up: 90 tokens .* may take 11\..*--set"):
        some.fits(need(11))
    with pytest.raises(BudgetSpent, match=r"^limits\.max_usd = 0\.01 is used up: 0\.005000 USD .* cost 0\.006000\."):
        some.fits(need(1, PICO * 6 // 1000))


@settings(max_examples=40)
@given(
    usd=st.floats(1e-6, 1000.0),
    requests=st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from(["known", "nothing", "unknown", "open"]), st.integers(0, 100)),
        max_size=40,
    ),
)
def test_budget_known_plus_possible_spend_never_exceeds_cap(usd: float, requests: list[tuple[int, str, int]]) -> None:
    limit = round(usd * PICO)
    some, spent = caps(max_usd=usd), 0
    open_: list[tuple[int, int]] = []
    for percent, ending, share in requests:
        worst = limit * percent // 100
        fitting = spent + sum(worst for _, worst in open_) + worst <= limit
        if not open_ and not fitting:
            with pytest.raises(BudgetSpent):
                some.fits(need(1, worst))
            continue
        assert some.fits(need(1, worst)) is fitting
        if not fitting:
            entry, oldest = open_.pop(0)
            some.settle(entry, Outcome(Billing.UNKNOWN))
            spent += oldest
            continue
        entry = reserved(some, need(1, worst))
        if ending == "open":
            open_.append((entry, worst))
        elif ending == "known":
            some.settle(entry, known(1, worst * share // 100))
            spent += worst * share // 100
        elif ending == "unknown":
            some.settle(entry, Outcome(Billing.UNKNOWN))
            spent += worst
        else:
            some.settle(entry, Outcome(Billing.NOTHING))
        ledger = some.ledger
        assert ledger.totals.money_pico == spent
        assert ledger.totals.money_pico + ledger.open_pico <= limit
