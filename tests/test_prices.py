"""Money is counted exactly, and a model is never billed at another one's price."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scorer import ledger
from scorer.build import check
from scorer.files import LocalFiles
from scorer.job import Job
from scorer.prices import PRICES, Price, price_of
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.server import RehearsalServer
from scorer.schema import Usage
from scorer.store.layout import Layout

tokens = st.integers(0, 10**12)
cents = st.integers(0, 10**9).map(lambda n: n / 10**6)  # every price down to one pico-dollar a token
prices = st.builds(Price, cents, cents, st.none() | cents)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt = draw(tokens)
    return Usage(prompt, draw(tokens), draw(st.integers(0, prompt)))


@given(prices, usages())
def test_the_bill_is_exact(price: Price, usage: Usage) -> None:
    def exact(usd_per_million: float) -> Fraction:
        return Fraction(str(usd_per_million)) * 10**6

    cached = price.input if price.cached_input is None else price.cached_input
    fresh = usage.prompt_tokens - usage.cached_tokens
    bill = fresh * exact(price.input) + usage.cached_tokens * exact(cached)
    assert price.cost_pico(usage) == bill + usage.completion_tokens * exact(price.output)


@given(prices, usages(), tokens, tokens)
def test_no_bill_within_the_reserved_size_exceeds_the_worst_case(
    price: Price, usage: Usage, more_prompt: int, more_completion: int
) -> None:
    worst = price.worst_pico(usage.prompt_tokens + more_prompt, usage.completion_tokens + more_completion)
    assert 0 <= price.cost_pico(usage) <= worst


@given(prices, st.lists(usages(), max_size=5))
def test_bills_add_up(price: Price, parts: list[Usage]) -> None:
    whole = Usage(
        sum(u.prompt_tokens for u in parts),
        sum(u.completion_tokens for u in parts),
        sum(u.cached_tokens for u in parts),
    )
    assert price.cost_pico(whole) == sum(price.cost_pico(u) for u in parts)


def test_a_known_bill() -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=10, cached_tokens=400)
    assert PRICES["gpt-4o-mini"].cost_pico(usage) == 600 * 150_000 + 400 * 75_000 + 10 * 600_000


@pytest.mark.parametrize("cached_input", [0.075, 0.0000015, None])
async def test_a_run_pays_cached_tokens_at_their_own_price_to_the_pico_dollar(
    tmp_path: Path, cached_input: float | None
) -> None:
    """The judge's own books say what was used; a pico-dollar is 10^-12 USD."""
    texts = ["word " * length for length in (1, 7, 50, 333, 1000)]
    pq.write_table(pa.table({"response": texts}), tmp_path / "in.parquet")
    price = {"input": 0.1500001, "output": 0.6, **({} if cached_input is None else {"cached_input": cached_input})}
    async with RehearsalServer(RehearsalConfig(latency_median_s=0).changed({"cached_share": 0.75})) as server:
        tree = {
            "input": {"shards": [f"{tmp_path}/in.parquet"]},
            "judge": {"prompt": "Rate it from 1 to 5.\n{response}\nScore:"},
            "model": {"name": "any", "base_url": server.url, "price": price},
            "limits": {"max_usd": 1.0},
            "output": {"path": f"{tmp_path}/out"},
        }
        found = await Job(check(tree), LocalFiles()).run()
        used = server.judge.books.stats()
    assert found.scored == 5
    assert found.cached_tokens == used["cached_tokens"] > 0
    cached, fresh = used["cached_tokens"], used["prompt_tokens"] - used["cached_tokens"]
    cached_pico = {0.075: 75_000, 0.0000015: 2, None: 150_001}[cached_input]  # finer than a pico-dollar: rounded up
    bill = fresh * 150_001 + cached * cached_pico + used["completion_tokens"] * 600_000
    assert ledger.totals(LocalFiles(), Layout(f"{tmp_path}/out").ledger).pico == bill


def test_more_cached_tokens_than_the_prompt_has_are_not_a_discount() -> None:
    assert Price(2, 8, 0.5).cost_pico(Usage(10, 0, 1000)) == 10 * 500_000


def test_a_price_finer_than_a_pico_dollar_is_rounded_up() -> None:
    assert Price(1e-9, 0).worst_pico(5, 0) == 5


@pytest.mark.parametrize("wrong", [-0.01, float("nan"), float("inf")])
def test_a_price_is_a_number_of_dollars(wrong: float) -> None:
    with pytest.raises(ValueError, match="USD per million tokens"):
        Price(1, wrong)


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("openrouter/openai/GPT-4.1-nano", "gpt-4.1-nano"),
        ("claude-3-5-haiku-20241022", "claude-3-5-haiku"),
        ("anthropic/claude-3.5-haiku", "claude-3-5-haiku"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet"),
        ("models/gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
    ],
)
def test_a_model_is_found_under_its_makers_and_dated_names(name: str, listed: str) -> None:
    assert price_of(name) is PRICES[listed]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "gpt",
        "gpt-4o-",
        "gpt-4o-audio-preview",
        "gpt-4o-mini-tts",
        "gpt-4.1-nano-x",
        "gpt-4-0613",
        "ft:gpt-4o-mini:mine",
        "gpt-4o-mini:free",
        "together/gpt-4o-mini",
        "deepseek-ai/deepseek-chat",
        "mistral-small-latest",
        "gpt-4o-2024-07-18-2024-07-18",
        "gpt-4o-２０２４-08-06",
    ],
)
def test_a_name_that_only_resembles_a_known_one_is_unknown(name: str) -> None:
    assert price_of(name) is None


@given(st.sampled_from(sorted(PRICES)), st.from_regex(r"[-.:@][a-z]{1,6}|[0-9]{1,4}", fullmatch=True))
def test_a_longer_name_never_gets_the_price_of_its_prefix(name: str, ending: str) -> None:
    assume(
        ending != "-latest" and (name + ending).replace(".", "-") not in {known.replace(".", "-") for known in PRICES}
    )
    assert price_of(name + ending) is None


@given(st.text())
def test_any_name_is_answered(name: str) -> None:
    found = price_of(name)
    assert found is None or found in PRICES.values()
