"""Promise: an estimate counts all requests of a row, and advises fences, deduplication and corrections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import run as in_virtual_time
from support.inprocess import Run

from scorer.build.plan import check
from scorer.cli.run_text import plan_text
from scorer.files.local_files import LocalFiles
from scorer.job import estimate as estimate_module
from scorer.job.estimate import Estimate, estimate
from scorer.job.forget import Choice
from scorer.types import Call, Reply


def planned(
    folder: Path,
    judge: Mapping[str, Any],
    said: Sequence[str] = "1234",
    limits: Mapping[str, Any] = MappingProxyType({}),
    **model: Any,
) -> Estimate:
    pq.write_table(
        pa.table({"a": [f"So it is: {one}" for one in said], "b": ["No."] * len(said)}), folder / "in.parquet"
    )
    tree = {
        "input": {"shards": [f"{folder}/in.parquet"]},
        "judge": dict(judge),
        "model": {"name": "house", "base_url": "http://127.0.0.1:9/v1", "max_output_tokens": 40, **model},
        "limits": dict(limits),
        "output": {"path": f"{folder}/out"},
    }
    return estimate(check(tree), LocalFiles())


def test_estimate_counts_the_second_turn_with_the_first_in_its_prompt(tmp_path: Path) -> None:
    one = planned(tmp_path, {"prompt": "{a:fenced}"})
    two = planned(tmp_path, {"prompt": "{a:fenced}", "turns": 2})
    assert (one.requests, two.requests) == (4, 8)
    # The prompt twice, and between the two the explanation.
    assert two.prompt_tokens > 2 * one.prompt_tokens + 4 * 20
    assert two.completion_tokens_estimate >= one.completion_tokens_estimate + 4 * 20


def test_estimate_counts_each_sample_as_a_request(tmp_path: Path) -> None:
    one, three = (planned(tmp_path, {"prompt": "{a:fenced}", "samples": samples}) for samples in (1, 3))
    assert (three.requests, three.prompt_tokens) == (3 * one.requests, 3 * one.prompt_tokens)


@pytest.mark.parametrize(
    ("judge", "named"),
    [
        ({"prompt": "{a} {b:fenced}"}, ("a",)),
        ({"prompt": "{b} {a}"}, ("b", "a")),
        ({"kind": "pairwise", "prompt": "{first} {second:fenced}", "a": "a", "b": "b"}, ("first",)),
        (
            {"prompt": "{first} {second}", "versus_reference": True, "response": "a", "reference": "b"},
            ("first", "second"),
        ),
        ({"kind": "checklist", "prompt": "{a}", "questions": ["Is it?"]}, ("a",)),
    ],
)
def test_estimate_advises_a_fence_for_each_unfenced_column(
    tmp_path: Path, judge: Mapping[str, Any], named: tuple[str, ...]
) -> None:
    found = planned(tmp_path, judge)
    (advice,) = found.advice
    assert advice.startswith(f"judge.prompt inserts {' and '.join(f'{{{name}}}' for name in named)} without a fence")
    assert all(f"{{{name}:fenced}}" in advice for name in named)
    assert " ".join(plan_text(found).split()).endswith(f"advice {advice}")


@pytest.mark.parametrize(
    "judge",
    [
        {"prompt": "{a:fenced}"},
        {"kind": "likelihood", "prompt": "{a}", "response": "b"},  # raw text has no fences
        {"kind": "pairwise", "prompt": "{first:fenced} {second:fenced}", "a": "a", "b": "b"},
    ],
)
def test_estimate_gives_no_advice_where_all_columns_are_fenced(tmp_path: Path, judge: Mapping[str, Any]) -> None:
    assert planned(tmp_path, judge).advice == ()


# --- what could be saved ----------------------------------------------------------------------------------------------


def test_estimate_counts_duplicate_rows_and_their_tokens(tmp_path: Path) -> None:
    once = planned(tmp_path, {"prompt": "{a:fenced}"}, "12")
    thrice = planned(tmp_path, {"prompt": "{a:fenced}"}, "121212")
    assert (once.repeated_rows, once.repeated_tokens, once.advice) == (0, 0, ())
    assert (thrice.repeated_rows, thrice.repeated_tokens) == (4, 2 * once.prompt_tokens)
    assert (thrice.requests, thrice.prompt_tokens) == (6, 3 * once.prompt_tokens)
    (advice,) = thrice.advice
    assert advice.startswith("4 of 6 rows are exact duplicates: judge.dedupe = true")


def test_estimate_omits_duplicates_with_dedupe_and_advises_it_only_where_allowed(tmp_path: Path) -> None:
    once = planned(tmp_path, {"prompt": "{a:fenced}"}, "12")
    deduped = planned(tmp_path, {"prompt": "{a:fenced}", "dedupe": True}, "121212")
    assert (deduped.rows, deduped.requests, deduped.prompt_tokens) == (6, 2, once.prompt_tokens)
    assert deduped.completion_tokens_estimate == once.completion_tokens_estimate
    assert (deduped.repeated_rows, deduped.advice) == (4, ())
    assert planned(tmp_path, {"prompt": "{a:fenced}"}, "11", temperature=1.0).advice == ()


def test_estimate_from_a_sample_has_no_count_of_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate_module, "EXACT_ROWS", 1)
    monkeypatch.setattr(estimate_module, "SAMPLE_ROWS", 4)
    found = planned(tmp_path, {"prompt": "{a:fenced}"}, "11111111")
    assert (found.repeated_rows, found.repeated_tokens, found.advice) == (None, None, ())


@pytest.mark.parametrize(
    ("prompt", "said", "share"),
    [
        ("x" * 980 + "\n{a}", ["0" * 9, "1" * 9], 0.5),  # of two rows, the second begins as the first
        ("{a}\n" + "x" * 980, ["0" * 9, "1" * 9], 0.0),
        ("{a}", ["0" * 980] * 4, 0.75),
        ("{a}", [""] * 4, 0.75),
    ],
)
def test_estimate_counts_the_prompt_prefix_shared_with_the_previous_row(
    tmp_path: Path, prompt: str, said: Sequence[str], share: float
) -> None:
    found = planned(tmp_path, {"prompt": prompt}, said)
    assert found.shared_prefix_tokens == pytest.approx(share * found.prompt_tokens, abs=0.02 * found.prompt_tokens + 1)


# --- what cannot be judged, and what replies take ---------------------------------------------------------------------


def plan_of(path: Path, prompt: str, **options: Any) -> Estimate:
    tree = {
        "input": {"shards": [str(path)]},
        "judge": {"prompt": prompt},
        "model": {"name": "house", "base_url": "http://127.0.0.1:9/v1"},
        "output": {"path": f"{path.parent}/out"},
    }
    return estimate(check(tree), LocalFiles(), **options)


def test_estimate_counts_bad_rows_by_reason(tmp_path: Path) -> None:
    bad = pa.array([b"fine", b"\xff", b"fine", b"fine"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"a": ["x", "y", None, None], "b": bad}), tmp_path / "in.parquet")
    found = plan_of(tmp_path / "in.parquet", "{a:fenced} {b:fenced}")
    assert (found.rows, found.requests) == (4, 1)
    assert sorted(found.rows_bad.values()) == [1, 2]
    assert {reason.partition(":")[0] for reason in found.rows_bad} == {"BadRow"}
    assert "bad rows    2: BadRow: Column 'a' is null" in plan_text(found)


@pytest.mark.parametrize("exact", [True, False])
def test_estimate_counts_damaged_rows_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    path = tmp_path / "in.parquet"
    options = {"use_dictionary": False, "compression": "none", "write_page_checksum": True, "write_statistics": False}
    table = pa.table({"a": [f"So it is: {number:02}" for number in range(40)]})
    pq.write_table(table, path, row_group_size=20, **options)  # type: ignore[arg-type]
    data = bytearray(path.read_bytes())
    data[data.index(b"So it is: 23")] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(estimate_module, "EXACT_ROWS", 0)
    monkeypatch.setattr(estimate_module, "SAMPLE_ROWS", 30)
    found = plan_of(path, "{a:fenced}", exact=exact)
    assert sum(found.rows_bad.values()) == 20 if exact else sum(found.rows_bad.values()) > 5
    assert all(reason.startswith("Damaged: ") for reason in found.rows_bad)


def test_estimate_has_a_low_an_expected_and_a_worst_cost(tmp_path: Path) -> None:
    found = planned(tmp_path, {"prompt": "{a:fenced}"}, price={"input": 0.0, "output": 1.0})
    assert found.cost_worst == pytest.approx(4 * 40 / 1e6)
    assert found.cost_low is not None
    assert found.cost_usd is not None
    assert found.cost_low < found.cost_usd < found.cost_worst
    assert found.cost_expected == found.cost_usd
    assert found.completion_tokens_estimate == 4 * round((3 * 40) ** 0.5)


def test_estimate_learns_the_reply_length_from_finished_rows(tmp_path: Path) -> None:
    run = Run(tmp_path, 30)
    assert estimate(run.job().plan, LocalFiles()).learned_rows == 0
    run.run()
    run.add(30)
    found = estimate(run.job().plan, LocalFiles())
    assert (found.rows, found.learned_rows, found.completion_tokens_estimate) == (60, 30, 120)
    assert "as the 30 rows took that are finished" in plan_text(found)


def test_estimate_takes_seconds_and_tokens_of_a_sample_with_their_spread(tmp_path: Path) -> None:
    run = Run(tmp_path, 400)
    reply = run.wire.reply

    async def slow(call: Call, number: int) -> Reply:
        await asyncio.sleep(2.0 + number % 3)  # 2, 3 or 4 s
        return await reply(call, number)

    run.wire.reply = slow  # type: ignore[method-assign]
    assumed = estimate(run.job().plan, LocalFiles())
    assert (assumed.seconds_a_request, assumed.seconds) == (1.0, 100.0)
    assert "assumed     1 s a request" in plan_text(assumed)
    run.run(sample="60")
    found = estimate(run.job().plan, LocalFiles())
    assert found.learned_rows == 60
    assert found.seconds_a_request == pytest.approx(3.0, abs=0.01)
    assert found.seconds_low < found.seconds < found.seconds_worst
    assert found.seconds == found.seconds_expected == pytest.approx(300, rel=0.01)
    assert (found.seconds_low, found.seconds_worst) == (pytest.approx(279, rel=0.02), pytest.approx(321, rel=0.02))
    assert found.prompt_tokens == pytest.approx(400 * 10, rel=0.01), "as they were billed"
    assert found.cost_expected == pytest.approx(400 * (10 + 2 * 2) / 1e6, rel=0.01), "every reply has two tokens"
    assert "assumed" not in plan_text(found)


def test_estimate_excludes_forgotten_shards(tmp_path: Path) -> None:
    run = Run(tmp_path, 5, 7)
    in_virtual_time(run.job().run(choice=Choice(forget=("a",))))
    assert estimate(run.job().plan, LocalFiles()).rows == 7


# --- limits in model.extra, several models, several endpoints ---------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "most"),
    [({}, 40), ({"max_tokens": 400}, 400), ({"max_completion_tokens": 25}, 25), ({"n": 3}, 120)],
)
def test_estimate_takes_the_output_limit_and_the_choices_from_model_extra(
    extra: dict[str, Any], most: int, tmp_path: Path
) -> None:
    """1 USD per million output tokens: `cost_worst` is the longest replies of 4 rows."""
    found = planned(tmp_path, {"prompt": "{a:fenced}"}, extra=extra, price={"input": 0.0, "output": 1.0})
    assert found.cost_worst == pytest.approx(4 * most / 10**6)
    assert found.cost_low is not None
    assert found.cost_low <= found.cost_usd <= found.cost_worst  # type: ignore[operator]


HOUSE = {"base_url": "http://127.0.0.1:9/v1", "max_output_tokens": 40}


def panel(folder: Path, *models: Mapping[str, Any], **limits: Any) -> Estimate:
    pq.write_table(pa.table({"a": ["So it is."] * 10}), folder / "in.parquet")
    named = [
        {key: value for key, value in {**HOUSE, "alias": alias, "name": alias, **model}.items() if value is not None}
        for alias, model in zip("xyz", models, strict=False)
    ]
    judge = {"kind": "panel", "prompt": "{a:fenced}", "models": [model["alias"] for model in named]}
    tree = {
        "input": {"shards": [f"{folder}/in.parquet"]},
        "judge": judge if len(named) > 1 else {"prompt": "{a:fenced}"},
        "models": named,
        "limits": limits,
        "output": {"path": f"{folder}/out"},
    }
    return estimate(check(tree), LocalFiles())


def test_estimate_prices_each_model_of_a_panel_by_its_own_requests(tmp_path: Path) -> None:
    cheap, dear = {"price": {"input": 1.0, "output": 1.0}}, {"price": {"input": 10.0, "output": 10.0}}
    alone, together = panel(tmp_path, cheap), panel(tmp_path, cheap, dear)
    assert (alone.requests, together.requests) == (10, 20)
    assert alone.cost_usd is not None
    assert together.cost_usd == pytest.approx(11 * alone.cost_usd, rel=0.01)
    assert together.cost_worst == pytest.approx(11 * (alone.cost_worst or 0), rel=0.01)


def test_estimate_has_no_cost_where_the_price_of_one_model_is_unknown(tmp_path: Path) -> None:
    found = panel(tmp_path, {"price": {"input": 1.0, "output": 1.0}}, {"name": "nobody-knows-it"})
    assert (found.cost_usd, found.cost_low, found.cost_worst) == (None, None, None)


def test_estimate_takes_the_slowest_model_and_the_sum_of_its_endpoints(tmp_path: Path) -> None:
    slow = {
        "base_url": None,
        "endpoints": [
            {"base_url": f"http://127.0.0.1:{port}/v1", "limits": {"requests_per_minute": rate}}
            for port, rate in ((9, 10.0), (10, 20.0))
        ],
    }
    assert panel(tmp_path, {}, {}, requests_per_minute=60.0).seconds == 10.0  # at the same time
    found = panel(tmp_path, {}, slow, requests_per_minute=60.0)
    assert (found.seconds, found.binding_limit) == (20.0, "requests_per_minute")


def test_estimate_of_few_requests_takes_the_time_of_one(tmp_path: Path) -> None:
    one = planned(tmp_path, {"prompt": "{a:fenced}"}, said="1", limits={"concurrency": 64})
    few = planned(tmp_path, {"prompt": "{a:fenced}"}, limits={"concurrency": 64})
    assert few.seconds == one.seconds >= 1


def test_estimate_charges_token_limits_the_limit_in_model_extra(tmp_path: Path) -> None:
    found = panel(tmp_path, {"extra": {"max_tokens": 600}}, output_tokens_per_minute=6000.0)
    assert (found.seconds, found.binding_limit) == (60.0, "output_tokens_per_minute")


def test_worst_case_with_a_deadline_has_all_rows_online(tmp_path: Path) -> None:
    price = {"input": 1.0, "output": 2.0}

    def costs(limits: Mapping[str, Any], **model: Any) -> tuple[float | None, float | None]:
        found = planned(tmp_path, {"prompt": "{a:fenced}"}, limits=limits, price=price, **model)
        return found.cost_expected, found.cost_worst

    deadline = {"deadline": "2026-12-01T07:00"}
    batches = {"mode": "batch", "batch": {"min_requests": 1}}
    online, batch, late = costs({}), costs({}, **batches), costs(deadline, **batches)
    assert None not in (*online, *batch, *late)
    assert late == (batch[0], online[1])
    assert batch[1] == pytest.approx(online[1] / 2)  # type: ignore[operator]


def test_plan_of_a_batch_run_has_online_what_fills_no_batch(tmp_path: Path) -> None:
    def found(least: int) -> Estimate:
        batch = {"mode": "batch", "batch": {"min_requests": least}}
        return planned(tmp_path, {"prompt": "{a:fenced}"}, price={"input": 1.0, "output": 2.0}, **batch)

    requests = found(1).requests
    small, whole, half = found(requests + 1), found(1), found(requests // 2 + 1)
    assert whole.cost_usd is not None
    assert whole.cost_worst is not None
    assert small.cost_usd == pytest.approx(2 * whole.cost_usd)
    assert small.binding_limit != "batch"
    assert any("all is asked online" in advice and f"{whole.cost_usd:,.4g}" in advice for advice in small.advice)
    assert (half.cost_usd, half.binding_limit) == (whole.cost_usd, "batch")
    assert half.cost_worst == pytest.approx(whole.cost_worst * (1 + requests // 2 / requests))
