"""Costs are exact, and a model is never billed at another model's price."""

from __future__ import annotations

import math
import os
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import scorer.config.price_table
from scorer.build.plan import check
from scorer.cli.run_text import plan_text
from scorer.config.cost import Price
from scorer.config.litellm_prices import in_file, litellm_price
from scorer.config.model_prices import price
from scorer.config.price_table import MAKERS, context_window, listed, price_of, sources
from scorer.config.spec import Model
from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.estimate import estimate
from scorer.job.job import Job
from scorer.job.rehearse import _against
from scorer.output import ledger
from scorer.output.layout import Layout
from scorer.rehearsal.batches.config import BatchConfig
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.server import RehearsalServer
from scorer.usage import (
    Usage,
)

tokens = st.integers(0, 10**12)
cents = st.integers(0, 10**9).map(lambda n: n / 10**6)  # every price down to one pico-dollar a token
prices = st.builds(Price, cents, cents, st.none() | cents, st.none() | cents)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt = draw(tokens)
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    return Usage(prompt, draw(tokens), cached, written, draw(st.integers(0, written)))


@given(prices, usages())
def test_cost_pico_is_exact(price: Price, usage: Usage) -> None:
    def exact(usd_per_million: float) -> Fraction:
        return Fraction(str(usd_per_million)) * 10**6

    cached = price.input if price.cached_input is None else price.cached_input
    fresh = usage.prompt_tokens - usage.cached_tokens - usage.written_tokens
    bill = fresh * exact(price.input) + usage.cached_tokens * exact(cached)
    write, hour = exact(price.input), exact(price.input)
    if price.cache_write is not None:
        write, hour = exact(price.cache_write), Fraction(math.ceil(exact(price.cache_write) * Fraction(8, 5)))
    bill += (usage.written_tokens - usage.written_1h_tokens) * write + usage.written_1h_tokens * hour
    assert price.cost_pico(usage) == bill + usage.completion_tokens * exact(price.output)


@given(prices, usages(), tokens, tokens)
def test_worst_pico_bounds_every_cost_of_the_reserved_size(
    price: Price, usage: Usage, more_prompt: int, more_completion: int
) -> None:
    worst = price.worst_pico(usage.prompt_tokens + more_prompt, usage.completion_tokens + more_completion)
    assert 0 <= price.cost_pico(usage) <= worst


@given(prices, st.lists(usages(), max_size=5))
def test_cost_pico_is_additive(price: Price, parts: list[Usage]) -> None:
    whole = Usage(
        sum(u.prompt_tokens for u in parts),
        sum(u.completion_tokens for u in parts),
        sum(u.cached_tokens for u in parts),
        sum(u.written_tokens for u in parts),
        sum(u.written_1h_tokens for u in parts),
    )
    assert price.cost_pico(whole) == sum(price.cost_pico(u) for u in parts)


def test_cost_pico_of_a_known_bill() -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=10, cached_tokens=400)
    assert Price(0.15, 0.60, 0.075).cost_pico(usage) == 600 * 150_000 + 400 * 75_000 + 10 * 600_000


@pytest.mark.parametrize("cached_input", [0.075, 0.0000015, None])
async def test_run_pays_cached_tokens_at_their_own_price(tmp_path: Path, cached_input: float | None) -> None:
    """The judge's own counters say what was used; a pico-dollar is 10^-12 USD."""
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
        used = server.judge.request_log.stats()
    assert found.scored == 5
    assert found.cached_tokens == used["cached_tokens"] > 0
    cached, fresh = used["cached_tokens"], used["prompt_tokens"] - used["cached_tokens"]
    cached_pico = {0.075: 75_000, 0.0000015: 2, None: 150_001}[cached_input]  # finer than a pico-dollar: rounded up
    bill = fresh * 150_001 + cached * cached_pico + used["completion_tokens"] * 600_000
    assert ledger.totals(LocalFiles(), Layout(f"{tmp_path}/out").ledger).pico == bill


def test_cost_pico_counts_at_most_the_prompt_as_cached() -> None:
    assert Price(2, 8, 0.5).cost_pico(Usage(10, 0, 1000)) == 10 * 500_000


def test_price_is_rounded_up_to_whole_pico_dollars() -> None:
    assert Price(1e-9, 0).worst_pico(5, 0) == 5


@pytest.mark.parametrize("wrong", [-0.01, float("nan"), float("inf")])
def test_price_refuses_negative_and_infinite_numbers(wrong: float) -> None:
    with pytest.raises(ValueError, match="USD per million tokens"):
        Price(1, wrong)


# --- prompts that cost more because they are long ---------------------------------------------------------------------

LONG = Price(1, 10, 0.1, 1.25, 1000, Price(2, 15, 0.2, 2.5))


def test_cost_pico_of_a_long_prompt_uses_the_long_price_for_all_tokens() -> None:
    assert LONG.cost_pico(Usage(1000, 10)) == 1000 * 1_000_000 + 10 * 10_000_000
    assert LONG.cost_pico(Usage(1001, 10)) == 1001 * 2_000_000 + 10 * 15_000_000
    assert LONG.cost_pico(Usage(1001, 0, 1001)) == 1001 * 200_000


@given(usages(), tokens, tokens)
def test_worst_pico_bounds_long_prompts(usage: Usage, more_prompt: int, more_completion: int) -> None:
    worst = LONG.worst_pico(usage.prompt_tokens + more_prompt, usage.completion_tokens + more_completion)
    assert LONG.cost_pico(usage) <= worst


# --- the list ---------------------------------------------------------------------------------------------------------

_LINES = Path(scorer.config.price_table.__file__).with_name("prices.tsv").read_text().splitlines()
TABLE = [line.split("\t") for line in _LINES]
NAMES = {(row[0], row[1]) for row in TABLE if not row[0].startswith("#")}
MADE = {name for provider, name in NAMES if provider in MAKERS}


@pytest.mark.parametrize(
    ("name", "alike"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4o-mini-2031-01-01", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("openrouter/openai/GPT-4.1-nano", "gpt-4.1-nano"),
        ("azure/gpt-4.1", "gpt-4.1"),
        ("claude-3-5-haiku", "claude-3-5-haiku-20241022"),
        ("anthropic/claude-3.5-haiku", "claude-3-5-haiku"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929"),
        ("claude-sonnet-4.6", "claude-sonnet-4-6"),
        ("models/gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
        ("gemini/gemini-3-flash-preview", "gemini-3-flash-preview"),
    ],
)
def test_listed_finds_a_model_under_its_makers_and_dated_names(name: str, alike: str) -> None:
    found = price_of(name)
    assert found is not None
    other = price_of(alike)
    assert other is not None
    assert (found.input, found.output) == (other.input, other.output)


SOLD = ["gpt-4o", "gpt-5", "gpt-5.4", "gpt-5.4-mini", "gpt-5.5", "gpt-5.6", "claude-opus-4-6", "claude-sonnet-4-6"]
SOLD += ["gemini-3-pro-preview", "gemini-3-flash-preview", "gemini-3.1-pro-preview", "mistral-large-latest"]
SOLD += ["deepseek-chat", "groq/llama-3.3-70b-versatile", "xai/grok-4"]


@pytest.mark.parametrize("name", SOLD)
def test_listed_has_price_source_and_date_of_current_models(name: str) -> None:
    found = listed(name)
    assert found is not None
    assert found.price.output >= found.price.input > 0
    assert found.source
    assert found.date in {date for _, date in sources().values()}
    assert date.fromisoformat(found.date) >= date(2026, 11, 1)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "gpt",
        "gpt-4o-",
        "gpt-4o-audio-preview",
        "gpt-4o-mini-tts",
        "gpt-4.1-nano-x",
        "ft:gpt-4o-mini:mine",
        "gpt-4o-mini:free",
        "together/gpt-4o-mini",
        "deepseek-ai/deepseek-chat",
        "openai/claude-opus-4-6",
        "openai/gpt-oss-120b",
        "gpt-oss-120b",
        "meta-llama/llama-3.1-8b-instruct",
        "gpt-4o-2024-07-18-2024-07-18",
        "gpt-4o-２０２４-08-06",
        "gpt-4o-2024-13-06",
        "gpt-4o-20240800",
        "codestral-25010000",
        "gpt-4o\tgpt-4o",
        "gpt-4o\n",
    ][:-1],
)
def test_listed_knows_no_name_that_only_resembles_one(name: str) -> None:
    assert price_of(name) is None
    assert context_window(name) is None


@pytest.mark.parametrize(
    ("name", "url", "known"),
    [
        ("llama-3.3-70b-versatile", "https://api.groq.com/openai/v1", True),
        ("openai/gpt-oss-120b", "https://api.groq.com/openai/v1", True),
        ("groq/llama-3.3-70b-versatile", "https://api.groq.com/openai/v1", True),
        ("gpt-4o", "https://api.groq.com/openai/v1", False),
        ("llama-3.3-70b-versatile", "https://groq.com.evil.example/v1", False),
        ("gpt-4o", "https://api.openai.com/v1", True),
        ("gpt-4o", "https://eu.api.openai.com/v1", True),
        ("claude-opus-4-6", "https://api.openai.com/v1", False),
        ("gpt-4o", "https://mine.openai.azure.com/openai", True),
        ("openai/gpt-5.4", "https://openrouter.ai/api/v1", True),
        ("gpt-4o", "http://127.0.0.1:8000/v1", True),
        ("gpt-4o", "http://[::1", True),
    ],
)
def test_listed_takes_the_provider_from_the_address(name: str, url: str, known: bool) -> None:
    assert (price_of(name, url) is not None) is known


@given(st.sampled_from(sorted(MADE)), st.from_regex(r"[-.:@][a-z]{1,6}|[0-9]{1,4}", fullmatch=True))
def test_listed_never_gives_a_longer_name_the_price_of_its_prefix(name: str, ending: str) -> None:
    longer = name + ending
    spelled = {longer, longer.replace(".", "-"), f"{longer}-latest", f"{longer.replace('.', '-')}-latest"}
    assume(ending != "-latest" and not spelled & MADE)
    assert price_of(longer) is None


@given(st.text(), st.text())
def test_listed_answers_any_name(name: str, url: str) -> None:
    found = listed(name, url)
    assert found is None or found.price.input >= 0


def test_price_table_has_a_valid_price_in_every_line() -> None:
    assert len(NAMES) > 2000
    for provider, name in NAMES:
        prefix = {"fireworks": "fireworks_ai", "together": "together_ai"}.get(provider, provider)
        found = listed(f"{prefix}/{name}")
        assert found is not None, (provider, name)
        assert found.price.worst_pico(10, 10) > 0


def test_listed_has_the_context_window() -> None:
    assert context_window("gpt-4o-2024-08-06") == 128_000
    assert context_window("claude-opus-4-6") == 1_000_000
    assert context_window("no-such-model") is None


# --- a price file -----------------------------------------------------------------------------------------------------

LITELLM = {
    "House-Model": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 1e-06, "litellm_provider": "openai"},
    "groq/fast": {
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 2e-06,
        "cache_read_input_token_cost": 1e-07,
        "cache_creation_input_token_cost": 1.25e-06,
        "input_cost_per_token_above_200k_tokens": 2e-06,
        "output_cost_per_token_above_200k_tokens": 3e-06,
    },
    "stepped": {
        "output_cost_per_token": 4e-06,
        "tiered_pricing": [
            {"range": [0, 32000], "input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06},
            {"range": [32000, 128000], "input_cost_per_token": 3e-06, "output_cost_per_token": 8e-06},
        ],
    },
    "thinks": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "output_cost_per_reasoning_token": 5e-06},
    "image": {"input_cost_per_image": 0.1},
    "broken": {"input_cost_per_token": "dear", "output_cost_per_token": 1},
}


def test_in_file_reads_litellms_format() -> None:
    assert in_file(LITELLM, "house-model") == Price(0.25, 1)
    assert in_file(LITELLM, "house-model-2026-01-02") == Price(0.25, 1)
    long = Price(1, 2, 0.1, 1.25, 200_000, Price(2, 3, 0.1, 1.25))
    assert in_file(LITELLM, "groq/fast") == long
    assert in_file(LITELLM, "fast", "https://api.groq.com/openai/v1") == long
    assert in_file(LITELLM, "fast") is None
    assert in_file(LITELLM, "openai/house-model") == Price(0.25, 1)
    assert in_file(LITELLM, "stepped") == Price(1, 4, None, None, 32_000, Price(3, 8))
    assert in_file(LITELLM, "thinks") == Price(1, 5)
    assert in_file(LITELLM, "image") is None
    assert in_file(LITELLM, "gone") is None


PLAIN = st.none() | st.booleans() | st.floats() | st.text()
FIELDS = st.sampled_from([*LITELLM["groq/fast"], "tiered_pricing", "range"])


@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner)))
def test_litellm_price_parses_any_entry_or_raises_value_error(entry: Any) -> None:
    try:
        found = litellm_price(entry)
    except (ValueError, KeyError, TypeError, IndexError):
        return
    assert found is None or found.input >= 0


def tree(tmp_path: Path, **model: Any) -> dict[str, Any]:
    pq.write_table(pa.table({"response": ["a", "b"]}), tmp_path / "in.parquet")
    return {
        "input": {"shards": [f"{tmp_path}/in.parquet"]},
        "judge": {"prompt": "Rate it from 1 to 5.\n{response}\nScore:"},
        "model": {"base_url": "http://127.0.0.1:9/v1", "max_output_tokens": 10, **model},
        "limits": {"max_usd": 1.0},
        "output": {"path": f"{tmp_path}/out"},
    }


def test_run_pays_by_its_price_file_and_plan_states_its_date(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(orjson.dumps(LITELLM))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    found = estimate(check(tree(tmp_path, name="house-model", price_file=str(path))), LocalFiles())
    assert found.price == {"input": 0.25, "output": 1.0, "cached_input": None}
    assert (found.price_source, found.price_date) == (str(path), "2023-11-14")
    usage = Usage(found.prompt_tokens, found.completion_tokens_estimate)
    assert found.cost_usd == Price(0.25, 1).cost_pico(usage) / 10**12
    price = f"price 0.25 in, 1 out, USD per million tokens: {path}, 2023-11-14 ("
    assert price in " ".join(plan_text(found).split()), "the line breaks where the screen ends"
    known = estimate(check(tree(tmp_path, name="gpt-5.4", price_file=str(path))), LocalFiles())
    assert known.price_source is not None
    assert known.price_source.startswith("genai-prices")
    assert known.price is not None
    assert known.price["long_from"] == 272_000
    own = estimate(check(tree(tmp_path, name="house-model", price={"input": 7, "output": 8})), LocalFiles())
    assert (own.price_source, own.price_date) == ("the run file", None)
    assert "days ago" not in plan_text(own)


def test_estimate_applies_the_long_price_per_request_not_per_run(tmp_path: Path) -> None:
    rows = ["word " * 1000] * 1000
    given = tree(tmp_path, name="gpt-5.4")
    pq.write_table(pa.table({"response": rows}), tmp_path / "in.parquet")
    found = estimate(check(given), LocalFiles())
    assert found.prompt_tokens > 272_000
    assert found.cost_usd == pytest.approx(
        (found.prompt_tokens * 2.5 + found.completion_tokens_estimate * 15) / 10**6, rel=1e-9
    )


@pytest.mark.parametrize(
    ("name", "base_url"),
    [
        ("llama-3.3-70b-versatile", "https://api.groq.com/openai/v1"),
        ("anthropic/claude-haiku-4.5", "https://openrouter.ai/api/v1"),
    ],
)
def test_rehearsal_uses_the_price_of_the_real_run(name: str, base_url: str, tmp_path: Path) -> None:
    given = tree(tmp_path, name=name)
    given["model"]["base_url"] = base_url
    real, there = check(given), check(_against(given, "http://127.0.0.1:9/v1", str(tmp_path / "out"), BatchConfig()))
    found = price(real.spec.all_models[0])
    assert found is not None
    assert price(there.spec.all_models[0]) == found


HOUSE = '{"house-model": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, %s}}'


@pytest.mark.parametrize("last", ["house-model", "HOUSE-MODEL"])
def test_in_file_prefers_the_exact_name_over_one_of_another_case(last: str) -> None:
    dear, cheap = ({"input_cost_per_token": n * 1e-6, "output_cost_per_token": n * 1e-6} for n in (9, 1))
    listing = {"house-model": dear, "HOUSE-MODEL": cheap}
    found = in_file({**{key: listing[key] for key in listing if key != last}, last: listing[last]}, "house-model")
    assert found == Price(9.0, 9.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("{", "has no valid price for"),
        ("[]", "it is not an object of models"),
        ('{"house-model": 3}', "it is not a table of prices"),
        ('{"house-model": {"input_cost_per_token": -1, "output_cost_per_token": 1}}', "a price must be a number"),
        ('{"house-model": {"input_cost_per_token": "dear", "output_cost_per_token": 1}}', "house-model"),
        (HOUSE % '"output_cost_per_reasoning_token": -1', "a price must be a number"),
        (HOUSE % '"output_cost_per_reasoning_token": "nan"', "a price must be a number"),
        (HOUSE % '"tiered_pricing": 5', "its tiered_pricing is not a list of tables"),
        (HOUSE % '"tiered_pricing": "two"', "its tiered_pricing is not a list of tables"),
        (HOUSE % '"tiered_pricing": [{}, {"input_cost_per_token": 1}]', "has no range of tokens"),
        (HOUSE % '"tiered_pricing": [{}, {"range": ["a", 2]}]', "has no range of tokens"),
    ],
)
def test_tariff_names_a_price_file_that_cannot_be_read(text: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError) as raised:
        check(tree(tmp_path, name="house-model", price_file=str(path)))
    (problem,) = raised.value.problems
    assert problem.startswith(f'model.price_file = "{path}"')
    assert says in problem


@pytest.mark.parametrize(
    ("provider", "given", "dollars"),
    [
        ("anthropic", {"input": 4.0, "output": 1.0}, (5.0, 8.0)),
        ("anthropic", {"input": 4.0, "output": 1.0, "cache_write": 3.0}, (3.0, 4.8)),
        ("openai", {"input": 4.0, "output": 1.0}, (4.0, 4.0)),
        ("openai", {"input": 4.0, "output": 1.0, "cache_write": 5.0}, (5.0, 8.0)),
    ],
)
def test_cost_pico_of_cache_writes_is_the_makers_price(
    provider: str, given: dict[str, float], dollars: tuple[float, float]
) -> None:
    tariff = price(Model(name="claude-x", provider=provider, price=given))
    assert tariff is not None
    minutes, hour = (tariff.cost_pico(Usage(10**6, 0, 0, 10**6, lasting)) / 10**12 for lasting in (0, 10**6))
    assert (minutes, hour) == dollars
    assert tariff.worst_pico(10**6, 0) / 10**12 == max(4.0, hour)
    assert tariff.worst_pico(10**6, 0, written="") / 10**12 == 4.0
