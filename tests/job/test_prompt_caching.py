"""Promise: `model.cache` is checked, planned, rehearsed and free on resume; rows and ledger have reads and writes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.anthropic_cache import FRESH, OUTPUT, READ, WRITE, CachingServer
from support.clock import inline
from support.clock import run as in_virtual_time
from support.rehearsed_batches import RehearsedBatches

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.client.prompt_cache import PromptCache
from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.estimate import Estimate, estimate
from scorer.job.job import Job
from scorer.job.rehearse import _against, _cache
from scorer.output.verify.folder import verify
from scorer.rehearsal.batches.config import BatchConfig
from scorer.types import Message, Request

ROWS = 60
RUBRIC = "Grade by these rules. " * 250
PRICE = {"input": FRESH, "output": OUTPUT, "cached_input": READ, "cache_write": WRITE}


def tree(folder: Path, prompt: str = RUBRIC + "{a:fenced}", **model: Any) -> dict[str, Any]:
    source = folder / "in.parquet"
    if not source.exists():
        pq.write_table(pa.table({"a": [f"answer {n}" for n in range(ROWS)]}), source)
    asked = {"provider": "anthropic", "name": "claude-sonnet-4-5", "price": PRICE, "base_url": "http://127.0.0.1:1/v1"}
    return {
        "input": {"shards": [str(source)]},
        "judge": {"prompt": prompt},
        "model": {**asked, **model},
        "limits": {"concurrency": 8, "max_usd": 5.0},
        "output": {"path": f"{folder}/out"},
    }


def planned(folder: Path, prompt: str = RUBRIC + "{a:fenced}", **model: Any) -> Estimate:
    return estimate(check(tree(folder, prompt, **model)), LocalFiles())


def ran(folder: Path, server: CachingServer, **model: Any) -> None:
    async def go() -> None:
        plan = check(tree(folder, **model))
        job = Job(plan, LocalFiles(), offload=inline, connect=partial(make_client, transport=server))
        await job.run()

    in_virtual_time(go())


def test_cached_run_costs_what_the_server_bills_and_what_plan_said(tmp_path: Path) -> None:
    server = CachingServer()
    ran(tmp_path, server, cache="auto")
    assert verify(LocalFiles(), str(tmp_path / "out")).complete
    rows = pl.read_parquet(tmp_path / "out/scores/*.parquet")
    assert rows["cached_tokens"].sum() == sum(server.read) > 59 * 1300
    assert rows["cost_microusd"].sum() == pytest.approx(server.usd * 1e6, abs=ROWS)
    said = planned(tmp_path, cache="auto")
    assert said.cost_usd is not None
    assert said.cost_without_cache is not None
    assert server.usd == pytest.approx(said.cost_usd, rel=0.25)
    assert said.cost_usd < 0.4 * said.cost_without_cache
    assert sum(server.read) == pytest.approx(said.cache_read_tokens, rel=0.15)


def test_cache_may_change_between_starts(tmp_path: Path) -> None:
    assert check(tree(tmp_path)).fingerprint == check(tree(tmp_path, cache="auto")).fingerprint


def test_plan_says_what_caching_saves_and_would_save(tmp_path: Path) -> None:
    asked, unasked = planned(tmp_path, cache="auto"), planned(tmp_path)
    assert unasked.cost_usd == asked.cost_without_cache
    assert unasked.cost_without_cache is None
    assert any(said.startswith('model.cache = "auto": ') and " read from the cache" in said for said in asked.advice)
    assert any('model.cache = "auto" would read' in said for said in unasked.advice)
    assert asked.cost_worst is not None
    assert unasked.cost_worst is not None
    assert unasked.cost_worst < asked.cost_worst < 1.3 * unasked.cost_worst


def test_plan_of_a_short_prompt_says_that_nothing_is_saved(tmp_path: Path) -> None:
    asked = planned(tmp_path, "Grade {a:fenced}", cache="auto")
    assert asked.cost_usd == asked.cost_without_cache
    assert any("saves nothing here" in said for said in asked.advice)
    assert not any("model.cache" in said for said in planned(tmp_path, "Grade {a:fenced}").advice)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cache": "always"}, "cache"),
        ({"cache": "auto", "extra": {"prompt_cache_key": "mine"}}, "Remove model.extra.prompt_cache_key"),
        ({"cache": "auto", "provider": "embedded"}, "whose requests name no cache"),
    ],
)
def test_cache_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as error:
        check(tree(tmp_path, **changes))
    assert said in str(error.value)


def test_cache_does_not_go_with_likelihood(tmp_path: Path) -> None:
    given = tree(tmp_path, cache="auto", provider="openai", name="gpt-5-mini")
    given["judge"] = {"kind": "likelihood", "prompt": "Q", "response": "a"}
    with pytest.raises(SpecError, match="whose requests name none"):
        check(given)


BATCH = {"cache": "auto", "mode": "batch", "batch": {"max_requests": 30, "min_requests": 1, "poll_s": 1}}


def test_batch_marks_for_an_hour_and_costs_what_its_provider_bills(tmp_path: Path) -> None:
    misses = RehearsedBatches({"cache_misses": 0.3}, cache_life_s=3600.0)
    status = misses.run(tree(tmp_path, **BATCH))
    assert (status.scored, misses.stats["rows_paid"]) == (ROWS, ROWS)
    prompt, output, read, written = (
        misses.stats[f"{name}_tokens"] for name in ("prompt", "completion", "cached", "written")
    )
    assert ROWS * 1300 * 0.5 < read < ROWS * 1400 * 0.85
    assert 0.15 < written / (read + written) < 0.5, "each miss writes again"
    per_hour = 1.6 * WRITE
    bill = (prompt - read - written) * FRESH + read * READ + written * per_hour + output * OUTPUT
    rows = pl.read_parquet(tmp_path / "out/scores/*.parquet")
    assert rows["cached_tokens"].sum() == read
    assert status.cost_usd == pytest.approx(bill / 2e6)


def test_plan_of_a_batch_says_that_reads_are_best_effort(tmp_path: Path) -> None:
    asked, without = planned(tmp_path, **BATCH), planned(tmp_path, **{**BATCH, "cache": "none"})
    online = planned(tmp_path, cache="auto")
    assert asked.cache_read_tokens == pytest.approx(0.64 * online.cache_read_tokens, rel=0.01)
    assert asked.cost_without_cache == without.cost_usd
    assert asked.cost_low < asked.cost_expected < without.cost_expected  # type: ignore[operator]
    assert asked.cost_worst == pytest.approx(2 * without.cost_worst, rel=0.2), "all is written, for an hour"  # type: ignore[operator]
    assert any("Within a batch reads are best effort: 64% of them are counted" in said for said in asked.advice)


def test_plan_of_a_batch_counts_no_reads_that_a_provider_does_not_promise(tmp_path: Path) -> None:
    asked = planned(tmp_path, **BATCH, provider="openai", name="gpt-5-mini")
    assert asked.cost_usd == asked.cost_without_cache
    assert any("promises no reads from its cache within a batch" in said for said in asked.advice)


def test_rehearsal_has_a_cache_like_the_provider(tmp_path: Path) -> None:
    plan = check(tree(tmp_path, cache="auto", name="claude-haiku-4-5"))
    assert _cache(plan.spec.all_models) == {"cache_life_s": 300.0, "cache_least_tokens": 4096}
    assert (
        _against(tree(tmp_path, cache="auto"), "http://127.0.0.1:1/v1", "out", BatchConfig())["model"]["cache"]
        == "auto"
    )
    assert not _cache(check(tree(tmp_path)).spec.all_models)
    assert _cache(check(tree(tmp_path, **BATCH)).spec.all_models)["cache_life_s"] == 3600.0


def test_criteria_apart_read_the_row_that_the_first_of_them_wrote(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"a": [f"answer {n} " * 1500 for n in range(ROWS)]}), source)
    given = tree(tmp_path, "{a:fenced}", cache="auto")
    given["judge"] |= {"criteria": ["wit", "tact", "depth", "tone"], "ask_criteria": "apart"}
    server = CachingServer()

    async def go() -> None:
        await Job(check(given), LocalFiles(), offload=inline, connect=partial(make_client, transport=server)).run()

    in_virtual_time(go())
    assert verify(LocalFiles(), str(tmp_path / "out")).complete
    rows = pl.read_parquet(tmp_path / "out/scores/*.parquet")
    assert rows["cached_tokens"].sum() == sum(server.read)
    # Three of four requests of a row read what the first wrote, but for the rows before the cache was known to pay.
    assert sum(one > 0 for one in server.read) > 0.65 * 4 * ROWS
    said = estimate(check(given), LocalFiles())
    assert said.cost_usd is not None
    assert said.cost_without_cache is not None
    assert server.usd == pytest.approx(said.cost_usd, rel=0.25)
    assert said.cost_usd < 0.6 * said.cost_without_cache


def test_requests_with_different_schemas_share_no_prefix() -> None:
    text = "long " * 4000
    cache = PromptCache(1024, lambda: 0.0)

    def keys(top: int) -> list[bytes]:
        schema = {"type": "object", "properties": {"score": {"type": "integer", "maximum": top}}}
        request = Request((Message("user", text + "?", len(text)),), schema=schema)
        return [prefix.key for prefix in cache.prefixes(request)]

    assert keys(5) == keys(5) != []
    assert set(keys(5)).isdisjoint(keys(10))
