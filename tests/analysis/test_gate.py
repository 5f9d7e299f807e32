"""A gate decides only what the rows say: right at its edge, whatever unread rows are, over what both have."""

import json

import numpy as np
import polars as pl
import pytest

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.gate import gate
from scorer.analysis.run_coverage import RunCoverage
from scorer.analysis.simultaneous import tango
from scorer.cli.app import _exit_code
from scorer.errors import SpecError


def pairs(new, old, **more):
    n = len(new)
    columns = {name: np.tile(values, 2) for name, values in more.items()}
    return pl.LazyFrame(
        {"system": ["new"] * n + ["old"] * n, "item": [*range(n)] * 2, "score": [*new, *old], **columns},
        schema_overrides={"score": pl.Float64},
    )


def decide(frame, margin=0.0, **options):
    return gate(frame, "score", "system", "new", "old", margin=margin, item="item", **options)


def test_gate_is_false_in_at_most_a_fortieth_of_tables_at_its_edge():
    """The new system is worse by exactly the margin: 13 of 200 has a chance of 1 in 1,000 at 2.5 %."""
    rng = np.random.default_rng(0)
    verdicts = []
    for seed in range(200):
        old = np.clip(np.round(3 + rng.normal(size=60)), 1, 5)
        new = np.where(rng.random(60) < 0.2, old - 1, old)  # worse by .2 on average
        verdicts.append(decide(pairs(new, old), 0.2, bootstrap=Bootstrap(1, seed)).verdict)
    assert verdicts.count("not worse") <= 13
    assert verdicts.count("worse") <= 13


def test_gate_passes_what_is_equal_and_stops_what_is_worse():
    rng = np.random.default_rng(1)
    old = rng.normal(size=400)
    equal, worse = old + 0.3 * rng.normal(size=400), old - 1 + 0.3 * rng.normal(size=400)
    assert decide(pairs(equal, old), 0.1).exit_code == 0
    assert decide(pairs(worse, old), 0.1).exit_code == 10
    undecided = decide(pairs(equal[:20], old[:20]), 0.1)
    assert undecided.exit_code == 11
    assert undecided.items_needed > 20
    assert decide(pairs(equal, old)).verdict == "undecided"  # with margin 0 only a better one passes
    assert decide(pairs(old + 1, old)).verdict == "not worse"


def test_gate_of_zeros_and_ones_has_tangos_interval_whichever_name_comes_first():
    new, old = [1.0] * 30 + [0.0] * 10, [1.0] * 25 + [0.0] * 15
    found = decide(pairs(new, old), 0.1)
    assert (found.low, found.high) == pytest.approx(tango(5, 0, 40), abs=1e-6)
    turned = gate(pairs(new, old), "score", "system", "old", "new", item="item")
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-6)
    same = decide(pairs([1.0] * 30, [1.0] * 30), 0.1)
    assert same.verdict == "undecided"
    assert same.low == pytest.approx(-0.114, abs=0.001)


def test_gate_decides_nothing_that_depends_on_unread_rows():
    rng = np.random.default_rng(2)
    old = np.clip(np.round(3 + rng.normal(size=300)), 1, 5)
    new = np.where(rng.random(300) < 0.1, np.nan, old)
    found = decide(pairs(new, old), 0.1, scale=(1.0, 5.0))
    assert found.verdict == "undecided"
    assert "depends on the" in found.reasons[0]
    assert found.at_lowest < -0.1 < found.low


def test_gate_decides_nothing_where_the_new_system_lacks_items():
    frame = pairs(np.ones(200) * 2, np.ones(200)).filter(~((pl.col("system") == "new") & (pl.col("item") < 3)))
    assert "lacks 3 items" in decide(frame, 0.5).reasons[0]
    kept = frame.filter(~((pl.col("system") == "old") & (pl.col("item") < 2)))
    assert decide(kept, 0.5).verdict == "not worse"  # one of two hundred
    apart = pairs([1.0, 2.0], [1.0, 2.0]).with_columns(item=pl.int_range(pl.len()))
    assert "share no item" in decide(apart).reasons[0]


def test_gate_weighs_tasks():
    task = np.array(["code", "chat"] * 100)
    rng = np.random.default_rng(3)
    old = rng.normal(size=200)
    new = old + np.where(task == "code", 0.5, -0.5) + 0.1 * rng.normal(size=200)
    frame = pairs(new, old, task=task)
    assert decide(frame, 0.1, task="task", weights={"code": 3, "chat": 1}).verdict == "not worse"
    assert decide(frame, 0.1, task="task", weights={"code": 1, "chat": 3}).verdict == "worse"
    assert decide(frame, 0.1, task="task").difference == pytest.approx(0, abs=0.05)


def test_gate_decides_nothing_before_the_run_is_finished():
    found = decide(pairs([2.0, 3.0] * 20, [1.0, 2.0] * 20))
    assert found.verdict == "not worse"
    assert found.over(RunCoverage(80, 80)) == found
    early = found.over(RunCoverage(40, 80))
    assert (early.verdict, early.exit_code) == ("undecided", 11)
    assert "not finished: 40 of 80" in early.reasons[0]


def test_gate_tells_every_mistake_at_once():
    with pytest.raises(SpecError) as caught:
        gate(pairs([1.0], [1.0]), "score", "system", "newer", "newer", margin=-1.0)
    for part in ("must be 0 or more", "name two systems", "--new newer is no value of system; there are new, old"):
        assert part in str(caught.value)


def test_gate_command_exits_by_its_verdict_and_prints_one_line_of_markdown(tmp_path, capsys):
    pairs([1.0, 2.0, 1.5] * 20, [2.0, 3.0, 2.0] * 20).with_columns(
        system=pl.col("system").replace("new", "new `x`")
    ).collect().write_parquet(tmp_path / "t.parquet")
    asked = ["gate", str(tmp_path / "t.parquet"), "--score", "score", "--system", "system", "--item", "item"]
    asked += ["--new", "new `x`", "--old", "old", "--margin", "0.5"]
    assert _exit_code([*asked, "--markdown"]) == 10
    line = capsys.readouterr().out
    assert line.startswith("**worse**: `` new `x` `` - `old` = -0.833 [")
    assert line.count("\n") == 1
    assert _exit_code([*asked, "--json"]) == 10
    assert json.loads(capsys.readouterr().out)["verdict"] == "worse"
    assert _exit_code(asked) == 10
    assert capsys.readouterr().out.replace("\n  ", " ").startswith("new `x` is worse than old by more than 0.5")


def test_gate_reaches_further_to_the_side_of_rare_failures():
    """Four of 60 answers fail by 4 points: how often they do is known badly, and Student's interval is symmetric."""
    old = np.full(60, 5.0)
    new = old - 4 * (np.arange(60) < 4)
    found = decide(pairs(new, old), 0.6)
    error = float((new - old).std(ddof=1)) / np.sqrt(60)
    assert found.difference - found.low > 1.2 * 2.0 * error
    assert found.high - found.difference == pytest.approx(2.001 * error, rel=0.01)
    even = decide(pairs(old - np.tile([0.0, 1.0], 30), old), 1.0)
    assert even.high - even.difference == pytest.approx(even.difference - even.low, rel=0.1)
