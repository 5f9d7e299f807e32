"""Promise: a run's service tier is checked, planned, rehearsed and billed by what replies name, and free on resume."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline
from support.clock import run as in_virtual_time
from support.simulated import Simulated

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.config.cost import Price, scaled
from scorer.config.litellm_prices import in_file
from scorer.config.model_prices import tariff, tier_prices
from scorer.config.spec import Model
from scorer.errors import SetupError, SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.estimate import Estimate, estimate
from scorer.job.job import Job
from scorer.job.rehearse import _against
from scorer.output.status import Status
from scorer.output.verify.folder import verify
from scorer.rehearsal.batches.config import BatchConfig
from scorer.types import Call, Reply

ROWS = 20
PRICE = {"input": 1.0, "output": 2.0, "flex": {"input": 0.5, "output": 1.0}}


class HalfFull(Simulated):
    """Every other request finds no capacity."""

    async def reply(self, call: Call, number: int) -> Reply:
        self.judge.configure(self.judge.config.changed({"flex_refused": float(number % 2)}), float(number))
        return await super().reply(call, number)


def tree(folder: Path, judge: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    source = folder / "in.parquet"
    if not source.exists():
        pq.write_table(pa.table({"a": [f"answer {n}" for n in range(ROWS)]}), source)
    asked = {"name": "m", "base_url": "http://127.0.0.1:1/v1", "price": PRICE, **model}
    return {
        "input": {"shards": [str(source)]},
        "judge": {"prompt": "Rate {a:fenced}", **(judge or {})},
        **({"models": [asked]} if "alias" in asked else {"model": asked}),
        "limits": {"concurrency": 3, "max_usd": 5.0},
        "output": {"path": f"{folder}/out"},
    }


def ran(folder: Path, wire: Simulated, **model: Any) -> Status:
    job = Job(
        check(tree(folder, **model)),
        LocalFiles(),
        offload=inline,
        wall_s=lambda: 1_790_000_000.0,
        connect=partial(make_client, transport=wire),
    )
    status = in_virtual_time(job.run())
    assert verify(LocalFiles(), f"{folder}/out").findings == ()
    return status


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "out/scores/in.parquet").to_pylist()


def test_a_night_at_flex_pays_flex_and_says_so_in_each_row(tmp_path: Path) -> None:
    status = ran(tmp_path, HalfFull(), tier="flex")
    rows = rows_of(tmp_path)
    assert {row["tier"] for row in rows} == {"flex"}
    tokens = [(row["prompt_tokens"], row["completion_tokens"]) for row in rows]
    assert status.cost_usd == pytest.approx(sum(0.5 * into + 1.0 * out for into, out in tokens) / 1e6)
    assert sum(row["attempts"] for row in rows) > ROWS
    assert status.maybe_billed_usd == 0
    assert status.tiers == {"flex": ROWS}


def test_a_tier_is_free_on_resume_and_no_part_of_the_fingerprint(tmp_path: Path) -> None:
    ran(tmp_path, Simulated())
    before = {row["judge"] for row in rows_of(tmp_path)}
    ran(tmp_path, Simulated(), tier="flex", tier_fallback={"after_s": 1})
    assert {row["judge"] for row in rows_of(tmp_path)} == before
    assert {row["tier"] for row in rows_of(tmp_path)} == {None}


def test_a_server_without_the_tier_ends_the_run_at_once(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"'service_tier' is not supported.*Change model\.tier, or leave it out"):
        ran(tmp_path, Simulated(refuses=("service_tier",)), tier="flex")


@pytest.mark.parametrize(
    ("judge", "model", "message"),
    [
        ({}, {"tier": "cheap"}, "model.tier"),
        ({}, {"tier_fallback": {"after_s": 1}}, 'Set model.tier = "flex", or leave model.tier_fallback out'),
        ({}, {"tier": "priority", "tier_fallback": {}}, 'and model.tier = "priority"'),
        ({}, {"tier": "flex", "tier_fallback": {"share": 2}}, "model.tier_fallback.share"),
        ({}, {"tier": "flex", "provider": "anthropic"}, "Anthropic has no such tier"),
        ({}, {"tier": "flex", "provider": "embedded", "base_url": None, "name": None}, "no service tiers"),
        ({}, {"tier": "flex", "extra": {"service_tier": "auto"}}, "model.extra.service_tier say the same"),
        ({"kind": "likelihood", "response": "a"}, {"tier": "flex"}, 'judge.kind = "likelihood"'),
    ],
)
def test_a_wrong_tier_is_told_before_anything_is_sent(
    tmp_path: Path, judge: dict[str, Any], model: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        check(tree(tmp_path, judge, **model))
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


def test_flex_waits_longer_unless_the_run_file_says_how_long() -> None:
    assert Model(tier="flex").timeout_s == 900.0
    assert Model.model_validate({"tier": "flex", "timeout_s": 60}).timeout_s == 60.0
    assert Model().timeout_s == 120.0


def test_the_plan_has_the_price_of_the_tier_and_of_requests_that_leave_it(tmp_path: Path) -> None:
    def planned(**model: Any) -> Estimate:
        return estimate(check(tree(tmp_path, **model)), LocalFiles())

    standard, flex = planned(), planned(tier="flex")
    left = planned(tier="flex", tier_fallback={"share": 0.5})
    assert standard.cost_usd is not None and standard.cost_worst is not None  # noqa: PT018
    assert flex.cost_usd == pytest.approx(standard.cost_usd / 2)
    assert flex.cost_worst == pytest.approx(standard.cost_worst / 2)
    assert left.cost_worst == pytest.approx(standard.cost_worst * 0.75)
    assert any("at the standard tier" in advice for advice in flex.advice)
    assert not any("model.tier" in advice for advice in standard.advice)


class Unnamed(Simulated):
    """Its replies name no service tier."""

    async def reply(self, call: Call, number: int) -> Reply:
        given = await super().reply(call, number)
        return replace(given, body=given.body.replace(b'"service_tier":"flex"', b'"service_tier":null'))


@pytest.mark.parametrize("named", [{}, {"alias": "a"}])
def test_a_plan_learns_from_finished_rows_that_replies_name_no_tier(tmp_path: Path, named: dict[str, str]) -> None:
    def planned(tier: str) -> Estimate:
        return estimate(check(tree(tmp_path, tier=tier, **named)), LocalFiles())

    status = ran(tmp_path, Unnamed(), tier="flex", **named)
    after = planned("flex")
    assert after.cost_usd == pytest.approx(status.cost_usd, rel=0.02)
    assert any("names none, as 100% of the finished rows do" in advice for advice in after.advice)
    assert planned("priority").cost_usd == pytest.approx(2.5 * status.cost_usd, rel=0.02), "a tier that was not asked"


def test_a_plan_stays_at_the_tier_that_finished_rows_name(tmp_path: Path) -> None:
    status = ran(tmp_path, Simulated(), tier="flex")
    found = estimate(check(tree(tmp_path, tier="flex")), LocalFiles())
    assert found.cost_usd == pytest.approx(status.cost_usd, rel=0.02)


def test_a_rehearsal_has_the_tier_and_its_prices(tmp_path: Path) -> None:
    given = {"name": "gpt-5-mini", "tier": "flex", "tier_fallback": {"after_s": 5}}
    model = _against({**tree(tmp_path), "model": given}, "http://127.0.0.1:2/v1", "out", BatchConfig())["model"]
    assert (model["tier"], model["tier_fallback"]) == ("flex", {"after_s": 5})
    assert tier_prices(Model.model_validate(model)) == tier_prices(Model.model_validate(given))


@pytest.mark.parametrize(
    ("model", "tier", "price"),
    [
        ({"name": "gpt-5-mini"}, "flex", Price(0.125, 1.0, 0.0125)),
        ({"name": "gpt-5-mini"}, "priority", Price(0.45, 3.6, 0.045)),
        ({"name": "x", "price": {"input": 2, "output": 4, "cached_input": 1}}, "flex", Price(1.0, 2.0, 0.5)),
        ({"name": "x", "price": {"input": 2, "output": 4}}, "priority", Price(5.0, 10.0)),
        ({"name": "x", "price": PRICE}, "flex", Price(0.5, 1.0)),
    ],
)
def test_a_tier_costs_what_is_listed_or_a_share_of_the_standard_price(
    model: dict[str, Any], tier: str, price: Price
) -> None:
    found = tier_prices(Model.model_validate({**model, "tier": tier}))
    assert found is not None
    assert found.price == price


def test_flex_at_groq_costs_the_standard_price() -> None:
    name, url = "llama-3.3-70b-versatile", "https://api.groq.com/openai/v1"
    found = tier_prices(Model(name=name, base_url=url, tier="flex"))
    assert found is not None
    assert found.price == found.standard


def test_long_prompts_are_dearer_at_a_tier_too() -> None:
    model = Model(
        name="gemini-2.5-pro", base_url="https://generativelanguage.googleapis.com/v1beta/openai", tier="flex"
    )
    found, standard = tier_prices(model), tariff(model)
    assert found is not None and standard is not None and standard.price.long is not None  # noqa: PT018
    assert found.price.long is not None
    assert found.price.long.input == scaled(standard.price.long, 0.5).input


def test_a_price_file_has_prices_of_tiers() -> None:
    entry = {
        "input_cost_per_token": 2e-6,
        "output_cost_per_token": 4e-6,
        "cache_read_input_token_cost": 1e-6,
        "input_cost_per_token_flex": 1e-6,
        "output_cost_per_token_flex": 2e-6,
    }
    assert in_file({"m": entry}, "m", tier="flex") == Price(1.0, 2.0, 1.0)
    assert in_file({"m": entry}, "m", tier="priority") is None
    assert in_file({"m": entry}, "m") == Price(2.0, 4.0, 1.0)
