"""Promise: `plan` compares choices by money, time and measured agreement alone, and picks one that fits."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.finished_runs import finished_run

from scorer.build.plan import check
from scorer.cli.app import _exit_code
from scorer.config.edited_run_file import edited
from scorer.config.loader import read_toml
from scorer.config.moments import moment
from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.choice_changes import Asked, changed
from scorer.job.pick_choice import Wanted, frontier, pick
from scorer.job.run_choices import Measured, RunChoice, run_choices
from scorer.output.layout import Layout
from scorer.output.manifest import load, save

RUN_FILE = """\
# Judged every night.
[input]
shards = ["{folder}/in/*.parquet"]   # a comment
[judge]
prompt = "{{response:fenced}} Rate from 1 to 5. Score:"
[model]  # who judges
name = "gpt-4o-mini"
base_url = "https://api.openai.com/v1"
temperature = 0.7
[limits]
requests_per_minute = 60   # tier 1
[output]
path = "{folder}/new"
"""
NOW = datetime(2026, 12, 1, 22, 0, tzinfo=UTC)


def run_file(folder: Path, rows: int = 120) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    given = pl.DataFrame(
        {"response": [f"Answer {n}." for n in range(rows)], "human": [n % 5 + 1.0 for n in range(rows)]}
    )
    given.write_parquet(folder / "in/0000.parquet")
    path = folder / "run.toml"
    path.write_text(RUN_FILE.format(folder=folder))
    return path


CRITERIA = ["wit", "tact"]


def with_criteria(path: Path, ask: str = "") -> dict[str, Any]:
    """The run file at `path` with criteria from then on, and its tree."""
    path.write_text(path.read_text().replace("[judge]\n", f"[judge]\n{ask}criteria = {CRITERIA}\n"))
    return read_toml(str(path))


def judged(folder: Path, out_name: str, off: float, **model: Any) -> str:
    """A finished run over the rows of the run file by another model; each score is `off` the human value or on it."""
    given = pl.read_parquet(folder / "in/0000.parquet")
    tree = read_toml(str(folder / "run.toml"))
    tree["model"] |= model
    scores = [value + off * (n % 3 == 0) for n, value in enumerate(given["human"].to_list())]
    out = finished_run(
        folder, given, {"score": scores}, name=out_name, spec={"judge": tree["judge"], "model": tree["model"]}
    )
    layout = Layout(out)
    manifest = load(LocalFiles(), layout)
    assert manifest is not None
    save(LocalFiles(), layout, replace(manifest, covered=check(tree).covers))
    return out


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The exit code of `scorer plan`, and what it printed on stdout and stderr."""
    code = _exit_code(["plan", *words])
    return code, *capsys.readouterr()


def choice(cost: float | None, hours: float, agreement: float | None = None, model: str = "m") -> RunChoice:
    measured = None if agreement is None else Measured("out", agreement, None, 40)
    return RunChoice(model, 1, {}, cost, cost, hours * 3600, "requests_per_minute", measured)


def test_choices_are_models_by_samples_with_the_money_of_each(tmp_path: Path) -> None:
    tree = read_toml(str(run_file(tmp_path)))
    every = run_choices(tree, LocalFiles(), Asked(models=["gpt-4o", "nobody"])).choices
    found = [one for one in every if one.mode == "online"]
    assert [(one.model, one.samples) for one in found] == [
        (model, samples) for model in ("gpt-4o-mini", "gpt-4o", "nobody") for samples in (1, 3, 5)
    ]
    assert found[0].changes == {}
    cost = {(one.model, one.samples): one.cost_usd for one in found}
    assert cost["gpt-4o", 1] == pytest.approx(cost["gpt-4o-mini", 1] * 2.5 / 0.15, rel=0.02)
    assert cost["gpt-4o", 3] == pytest.approx(3 * cost["gpt-4o", 1], rel=1e-3)
    assert cost["nobody", 1] is None
    assert {one.measured for one in found} == {None}


def test_flex_is_a_choice_where_its_price_is_listed_at_the_same_agreement(tmp_path: Path) -> None:
    path = run_file(tmp_path)
    path.write_text(
        path.read_text().replace('name = "gpt-4o-mini"', 'name = "gpt-4o-mini"\nprice_file = "prices.json"')
    )
    entry = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "openai", "mode": "chat"}
    flex = {"input_cost_per_token_flex": 5e-7, "output_cost_per_token_flex": 1e-6}
    (tmp_path / "prices.json").write_text(json.dumps({"gpt-4o-mini": {**entry, **flex}, "b": entry}))
    tree = read_toml(str(path))
    tree["model"]["price_file"] = str(tmp_path / "prices.json")
    del tree["model"]["temperature"]
    found = run_choices(tree, LocalFiles(), Asked())
    assert [(one.model, one.tier, one.mode) for one in found.choices] == [
        ("gpt-4o-mini", "standard", "online"), ("gpt-4o-mini", "flex", "online"), ("gpt-4o-mini", "standard", "batch"),
        ("b", "standard", "online"), ("b", "standard", "batch"),
    ]  # fmt: skip
    own, half, *_ = found.choices
    assert half.changes == {"model.tier": "flex"}
    assert own.cost_usd == pytest.approx(2 * half.cost_usd)
    assert any("scores are the same" in note for note in found.notes)
    picked, why = pick([one for one in found.choices if one.mode == "online"], Wanted(NOW, max_usd=0.75 * own.cost_usd))
    assert (picked, "at the tier flex" in why) == (half, True)
    mini = judged(tmp_path, "mini", 1.5, price_file=str(tmp_path / "prices.json"))
    tree["model"]["temperature"] = 0.7
    known = [
        one for one in run_choices(tree, LocalFiles(), Asked(folders=[mini], human="human")).choices if one.measured
    ]
    assert {(one.tier, one.mode) for one in known} == {
        ("standard", "online"),
        ("flex", "online"),
        ("standard", "batch"),
    }
    assert len({one.measured for one in known}) == 1


def test_batches_are_a_choice_where_their_price_is_listed_and_no_time_is_promised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, prices = run_file(tmp_path), tmp_path / "prices.json"
    text = path.read_text().replace("temperature = 0.7", f'price_file = "{prices}"')
    path.write_text(text)
    entry = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "openai", "mode": "chat"}
    batch = {"input_cost_per_token_batches": 3e-7, "output_cost_per_token_batches": 6e-7}
    prices.write_text(json.dumps({"gpt-4o-mini": {**entry, **batch}, "b": entry}))
    code, out, _ = typed(capsys, str(path), "--choices", "--json")
    own, batched, *others = json.loads(out)["choices"]
    assert (code, [own["mode"], batched["mode"]]) == (0, ["online", "batch"])
    by_rule, half = others  # b has no price in batches; OpenAI's is half
    assert half["cost_usd"] == pytest.approx(0.5 * by_rule["cost_usd"])
    assert batched["changes"] == {"model.mode": "batch"}
    assert batched["cost_usd"] == pytest.approx(0.3 * own["cost_usd"])
    assert batched["ends_at"] is None
    assert own["ends_at"]
    new, limit = tmp_path / "new.toml", str(0.5 * own["cost_usd"])
    code, out, _ = typed(capsys, str(path), "--max-usd", limit, "-o", str(new))
    assert (code, read_toml(str(new))["model"]["mode"]) == (0, "batch")
    (line,) = [line for line in out.splitlines() if line.startswith(">")]
    assert "< 24 h" in line
    assert "the run file's own choice fits in batches" in " ".join(out.split())
    path.write_text(text.replace("price_file", 'mode = "batch"\nprice_file'))
    assert "24 h" in typed(capsys, str(path), "--choices")[1]


def test_a_run_in_batches_is_compared_with_the_same_online_and_its_deadline_bounds_its_end(tmp_path: Path) -> None:
    tree = read_toml(str(run_file(tmp_path)))
    tree["model"] |= {"mode": "batch", "temperature": 0.0}
    tree["limits"]["deadline"] = "07:00"
    found = run_choices(tree, LocalFiles(), Asked())
    own, online = found.choices
    assert (own.mode, own.changes) == ("batch", {})
    assert (online.mode, online.changes) == ("online", {"model.mode": "online", "limits.deadline": None})
    assert online.cost_usd == pytest.approx(2 * own.cost_usd)
    ends = Wanted(NOW).ends(own)
    assert ends == NOW.replace(day=2, hour=7) + timedelta(seconds=online.seconds)
    assert Wanted(NOW, by=ends).fits(own)
    assert not Wanted(NOW, by=ends - timedelta(seconds=1)).fits(own)
    assert any("limits.deadline" in note for note in found.notes)
    assert check(changed(tree, online.changes)).spec.model


@pytest.mark.parametrize(("address", "modes"), [("https://api.groq.com/openai/v1", 2), ("http://127.0.0.1:1/v1", 1)])
def test_batches_are_a_choice_at_half_where_the_provider_has_that_rule(
    tmp_path: Path, address: str, modes: int
) -> None:
    tree = read_toml(str(run_file(tmp_path)))
    tree["model"] |= {"base_url": address, "temperature": 0.0, "price": {"input": 1.0, "output": 2.0}}
    found = run_choices(tree, LocalFiles(), Asked()).choices
    assert len(found) == modes
    assert found[-1].cost_usd == pytest.approx(found[0].cost_usd / modes)


def test_batches_are_no_choice_where_the_run_fills_none(tmp_path: Path) -> None:
    tree = read_toml(str(run_file(tmp_path, rows=99)))
    tree["model"]["temperature"] = 0.0
    assert {one.mode for one in run_choices(tree, LocalFiles(), Asked()).choices} == {"online"}
    run_file(tmp_path, rows=100)
    assert {one.mode for one in run_choices(tree, LocalFiles(), Asked()).choices} == {"online", "batch"}


@pytest.mark.parametrize("column", ["", "criteria"])
def test_a_table_with_a_tier_and_agreement_is_whole_at_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    path = run_file(tmp_path)
    if column:
        with_criteria(path)
    path.write_text(path.read_text().replace('"gpt-4o-mini"', '"gpt-5-mini-2025-08-07"'))
    monkeypatch.setenv("COLUMNS", "80")
    measured = judged(tmp_path, "mini", 1.0)
    out = typed(capsys, str(path), "--choices", "--measured", measured, "--human", "human", "--item", "response")[1]
    (header,) = [line for line in out.splitlines() if "model" in line and "samples" in line]
    assert header.split() == ["model", "samples", *column.split(), "tier", "USD", "ends", "agreement"]
    assert max(map(len, out.splitlines())) <= 80


def test_criteria_apart_is_a_choice_with_its_money_and_time(tmp_path: Path) -> None:
    tree = with_criteria(run_file(tmp_path))
    tree["model"]["temperature"] = 0.0
    found = [one for one in run_choices(tree, LocalFiles(), Asked()).choices if one.mode == "online"]
    assert [(one.criteria, one.changes) for one in found] == [
        ("together", {}),
        ("apart", {"judge.ask_criteria": "apart"}),
    ]
    together, apart = found
    assert together.cost_usd < apart.cost_usd < 2 * together.cost_usd
    assert apart.seconds == pytest.approx(2 * together.seconds, rel=0.1)  # requests_per_minute binds
    tree["judge"]["ask_criteria"] = "apart"
    found = [one for one in run_choices(tree, LocalFiles(), Asked()).choices if one.mode == "online"]
    assert [(one.criteria, one.changes) for one in found] == [
        ("apart", {}),
        ("together", {"judge.ask_criteria": None}),
    ]
    assert [one.cost_usd for one in found] == [apart.cost_usd, together.cost_usd]


@pytest.mark.parametrize("criteria", [[], ["wit"]])
def test_criteria_are_no_choice_where_there_are_not_several(tmp_path: Path, criteria: list[str]) -> None:
    tree = read_toml(str(run_file(tmp_path)))
    tree["judge"]["criteria"] = criteria
    assert {one.criteria for one in run_choices(tree, LocalFiles(), Asked()).choices} == {None}


@pytest.mark.parametrize("ask", ["together", "apart"])
def test_agreement_is_of_the_way_in_which_criteria_were_asked(tmp_path: Path, ask: str) -> None:
    path = run_file(tmp_path)
    plain = path.read_text()
    with_criteria(path, f'ask_criteria = "{ask}"\n')
    out = judged(tmp_path, "mini", 1.5)
    path.write_text(plain)
    tree = with_criteria(path)
    found = run_choices(tree, LocalFiles(), Asked(folders=[out], human="human")).choices
    assert {(one.criteria, one.samples) for one in found if one.measured} == {(ask, 1)}


def test_picked_way_of_asking_criteria_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_file(tmp_path)
    with_criteria(path, 'ask_criteria = "apart"\nsamples = 1\n')
    path.write_text(path.read_text().replace("temperature = 0.7", "temperature = 0.0"))
    found = json.loads(typed(capsys, str(path), "--choices", "--json")[1])["choices"]
    cost = {(one["criteria"], one["mode"]): one["cost_usd"] for one in found}
    limit = f"{(cost['together', 'batch'] + cost['apart', 'batch']) / 2:.9f}"
    code, out, _ = typed(capsys, str(path), "--max-usd", limit, "-o", str(tmp_path / "new.toml"))
    said = " ".join(out.split())
    assert (code, "criteria together" in said, "fits with its criteria asked together" in said) == (0, True, True)
    assert "ask_criteria" not in read_toml(str(tmp_path / "new.toml"))["judge"]
    own = f"{(cost['together', 'online'] + cost['apart', 'online']):.9f}"
    assert "the run file's own choice fits" in " ".join(typed(capsys, str(path), "--max-usd", own)[1].split())


def test_samples_are_not_compared_at_temperature_0(tmp_path: Path) -> None:
    tree = read_toml(str(run_file(tmp_path)))
    del tree["model"]["temperature"]
    found = run_choices(tree, LocalFiles(), Asked(models=["gpt-4o"]))
    assert {one.samples for one in found.choices} == {1}
    assert "all samples are alike" in found.notes[0]


def test_agreement_is_of_the_very_choice_that_was_run(tmp_path: Path) -> None:
    tree = read_toml(str(run_file(tmp_path)))
    mini, full = judged(tmp_path, "mini", 1.5), judged(tmp_path, "full", 0.0, name="gpt-4o")
    found = run_choices(tree, LocalFiles(), Asked(folders=[mini, full], human="human"))
    known = {(one.model, one.samples): one.measured for one in found.choices if one.measured}
    assert set(known) == {("gpt-4o-mini", 1), ("gpt-4o", 1)}
    assert known["gpt-4o", 1].value == pytest.approx(1.0)
    assert known["gpt-4o-mini", 1].value < 0.95
    other = judged(tmp_path, "other", 0.0, extra={"top_p": 0.5})
    tree["judge"]["prompt"] += " "
    found = run_choices(tree, LocalFiles(), Asked(folders=[other], human="human"))
    assert not any(one.measured for one in found.choices)
    assert "was judged in another way" in found.notes[-1]


def test_models_of_a_short_price_file_are_compared_and_those_of_a_long_one_named(tmp_path: Path) -> None:
    tree = read_toml(str(run_file(tmp_path)))
    entry = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "openai", "mode": "chat"}
    listing = {"gpt-4o-mini": entry, "b": entry, "embed": {**entry, "mode": "embedding"}}
    listing["elsewhere"] = {**entry, "litellm_provider": "x"}
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps(listing))
    tree["model"]["price_file"] = str(prices)
    found = run_choices(tree, LocalFiles(), Asked())
    assert list(dict.fromkeys(one.model for one in found.choices)) == ["gpt-4o-mini", "b"]
    prices.write_text(json.dumps({**listing, **{f"m{n}": entry for n in range(9)}}))
    found = run_choices(tree, LocalFiles(), Asked())
    assert {one.model for one in found.choices} == {"gpt-4o-mini"}
    assert "lists 11 models: name those to compare with --model NAME" in found.notes[0]


def test_pick_is_the_best_agreement_that_fits_and_the_cheapest_at_equal_agreement() -> None:
    choices = [choice(10, 1, 0.7), choice(50, 5, 0.9), choice(30, 5, 0.9), choice(1, 0.5)]
    assert pick(choices, Wanted(NOW))[0] is choices[2]
    assert pick(choices, Wanted(NOW, by=NOW + timedelta(hours=2)))[0] is choices[0]
    picked, why = pick(choices, Wanted(NOW, max_usd=5))
    assert picked is choices[3]
    assert "not known" in why


def test_pick_without_agreement_keeps_the_run_files_own_choice_where_it_fits() -> None:
    own, other, unpriced = choice(10, 1), choice(20, 2, model="n"), choice(None, 0.1)
    assert pick([own, other, unpriced], Wanted(NOW, max_usd=100))[0] is own
    assert pick([other, own, unpriced], Wanted(NOW, max_usd=15))[0] is own
    with pytest.raises(SpecError, match=r"the cheapest, m with 1 sample, costs 10.0000 USD, and the soonest"):
        pick([own, other, unpriced], Wanted(NOW, max_usd=5))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.none() | st.integers(1, 4)), min_size=1, max_size=7))
def test_frontier_leaves_out_a_measured_choice_only_for_one_that_is_as_good_in_all(
    given: list[tuple[int, int, int | None]],
) -> None:
    choices = [choice(cost, hours, agreement) for cost, hours, agreement in given]
    kept = frontier(choices)
    for on_it, (cost, hours, agreement) in zip(kept, given, strict=True):
        beaten = agreement is not None and any(
            a is not None and a >= agreement and c <= cost and h <= hours and (a, c, h) != (agreement, cost, hours)
            for c, h, a in given
        )
        assert on_it != beaten


def test_plan_writes_the_picked_choice_with_the_comments_of_the_run_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file(tmp_path)
    full = judged(tmp_path, "full", 0.0, name="gpt-4o")
    options = ["--measured", full, "--human", "human", "--max-usd", "400", "--json"]
    code, printed, _ = typed(capsys, str(path), *options, "-o", str(tmp_path / "new.toml"))
    assert code == 0
    value = json.loads(printed)
    assert value["choices"][value["picked"]]["model"] == "gpt-4o"
    assert value["choices"][value["picked"]]["mode"] == "batch"  # as good, at half the price
    text = (tmp_path / "new.toml").read_text()
    for comment in ("# Judged every night.", "# a comment", "# who judges", "# tier 1"):
        assert comment in text
    tree = read_toml(str(tmp_path / "new.toml"))
    assert (tree["model"]["name"], tree["limits"]["max_usd"]) == ("gpt-4o", 400.0)
    assert typed(capsys, str(tmp_path / "new.toml"))[0] == 0
    code, _, said = typed(capsys, str(path), "-o", str(tmp_path / "new.toml"))
    assert code == 2
    assert "nothing is overwritten" in said


def test_plan_text_of_choices_has_their_agreement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_file(tmp_path)
    code, printed, _ = typed(
        capsys, str(path), "--choices", "--measured", judged(tmp_path, "mini", 1.0), "--human", "human"
    )
    assert code == 0
    assert "agreement" in printed
    assert "Picked" not in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by", "25:00"], '--by = "25:00" is no time to come'),
        (["--by", "2020-01-01"], "is no time to come"),
        (["--measured", "nowhere", "--human", "human"], "nowhere"),
        (["--measured", "nowhere"], "--measured needs --human COLUMN"),
        (["--max-usd", "0.0000001"], "No choice costs at most 1e-07 USD"),
    ],
)
def test_plan_says_what_is_wrong_with_its_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, _, said = typed(capsys, str(run_file(tmp_path)), *words)
    assert code == 2
    assert message in " ".join(said.split())


def test_moment_of_the_clock_is_the_next_one() -> None:
    assert moment("07:00", NOW, "--by") == datetime(2026, 12, 2, 7, 0, tzinfo=UTC)
    assert moment("23:00", NOW, "--by") == datetime(2026, 12, 1, 23, 0, tzinfo=UTC)
    assert moment("2026-12-03T07:00", NOW, "--by") == datetime(2026, 12, 3, 7, 0, tzinfo=UTC)
    assert moment("2026-12-03T07:00+02:00", NOW, "--by") == datetime(2026, 12, 3, 5, 0, tzinfo=UTC)


def test_edited_keeps_comments_and_takes_keys_out() -> None:
    text = edited(
        "# top\n[model]\nname = 'a'  # one\nprice = {input = 1}\n",
        {"model.name": "b", "model.price": None, "limits.max_usd": 4.0},
    )
    assert text == '# top\n[model]\nname = "b"  # one\n\n[limits]\nmax_usd = 4.0\n'
