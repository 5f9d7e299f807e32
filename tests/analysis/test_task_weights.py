"""Weights of tasks: read from every form of file, every mistake reported at once; a leaderboard follows them."""

import json

import numpy as np
import polars as pl
import pytest

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.leaderboard import SystemColumns, leaderboard
from scorer.analysis.task_weights import read_weights, weights_of
from scorer.errors import SpecError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.toml", '"coding, hard" = 3\nchat = 1\n'),
        ("w.json", '{"coding, hard": 3, "chat": 1}'),
        ("w.csv", 'task,weight\n"coding, hard",3\nchat,1\n'),
    ],
)
def test_weights_are_read_from_every_form_of_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert weights_of(["chat", "coding, hard"], read_weights(tmp_path / name)).tolist() == [0.25, 0.75]


def test_weights_tell_every_mistake_at_once(tmp_path):
    with pytest.raises(SpecError) as caught:
        weights_of(["chat", "code", "news"], {"chat": -1, "code": True, "cod": 2})
    said = str(caught.value)
    for part in ("chat is -1", "code is True", "No weight is given for the tasks news", "given for cod"):
        assert part in said
    with pytest.raises(SpecError, match="All weights are 0"):
        weights_of(["chat"], {"chat": 0})
    (tmp_path / "twice.csv").write_text("task,weight\nchat,1\nchat,2\n")
    with pytest.raises(SpecError, match="2 weights for the task chat"):
        read_weights(tmp_path / "twice.csv")
    (tmp_path / "bad.toml").write_text("chat\n")
    with pytest.raises(SpecError, match=r"bad.toml cannot be read"):
        read_weights(tmp_path / "bad.toml")
    with pytest.raises(SpecError, match=r"none.json is not there"):
        read_weights(tmp_path / "none.json")
    (tmp_path / "list.json").write_text(json.dumps([1]))
    with pytest.raises(SpecError, match="no weights by task"):
        read_weights(tmp_path / "list.json")


def two_tasks(items=30):
    """a is good at code, b at chat; c lacks code."""
    rng = np.random.default_rng(0)
    level = {("a", "code"): 4, ("a", "chat"): 2, ("b", "code"): 2, ("b", "chat"): 3, ("c", "chat"): 5}
    return pl.DataFrame(
        [
            {"system": s, "task": t, "item": f"{t}{i}", "score": m + rng.choice([-0.5, 0.5]), "cost": m * (i % 2)}
            for (s, t), m in level.items()
            for i in range(items)
        ]
    ).lazy()


def test_leaderboard_weighs_tasks_and_leaves_out_those_of_weight_0():
    def means(weights):
        found = leaderboard(two_tasks(), "score", "system", task="task", item="item", weights=weights)
        return dict(found.systems.select("system", "mean").rows())

    even, code, chat = means(None), means({"code": 9, "chat": 1}), means({"code": 0, "chat": 2})
    assert even["a"] > even["b"]
    assert even["c"] is None
    assert code["a"] == pytest.approx(3.8, abs=0.3)
    assert chat["c"] == pytest.approx(5, abs=0.3)  # it lacks code, which does not count
    assert chat["b"] > chat["a"]


def test_leaderboard_gives_averages_and_acceptable_shares_with_intervals():
    beside = SystemColumns(["cost"])
    found = leaderboard(
        two_tasks(), "score", "system", task="task", item="item", beside=beside, acceptable=3, bootstrap=Bootstrap(200)
    ).systems
    a = found.row(by_predicate=pl.col("system") == "a", named=True)
    assert a["acceptable"] == 0.5
    half = 0.5 * 1.96**2 / (30 + 1.96**2)  # Wilson's interval of 0 and of 1 of 30, each of weight a half
    assert (a["acceptable_low"], a["acceptable_high"]) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-3)
    assert a["cost"] == pytest.approx(1.5)
    assert a["cost_low"] < 1.5 < a["cost_high"]
    weighted = leaderboard(
        two_tasks(), "score", "system", task="task", beside=beside, weights={"code": 3, "chat": 1}
    ).systems
    assert weighted.row(by_predicate=pl.col("system") == "a", named=True)["cost"] == pytest.approx(1.75)
    assert weighted.row(by_predicate=pl.col("system") == "c", named=True)["cost"] is None
