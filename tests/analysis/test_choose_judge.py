"""The cheapest judge whose agreement with people is surely near the best; who may stand in for a person."""

import json

import numpy as np
import polars as pl
import pytest
import scipy

import scorer
from scorer.analysis.alternative_annotator import _discoveries, _worse_by, alternative_annotator
from scorer.analysis.best import behind_best_of_draws
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.choose_judge import choose_judge
from scorer.cli.app import _exit_code
from scorer.errors import SpecError

JUDGES = ("large.score", "small.score", "tiny.score")
PEOPLE = ("ann", "bob", "eve")


def labelled(items=80, seed=1):
    """Six systems' answers to each item; large and small see as well as each other, tiny sees little."""
    rng = np.random.default_rng(seed)
    shape = (items, 6)
    quality = rng.normal(size=(items, 1)) + rng.normal(size=shape)
    noise = {"large.score": 0.6, "small.score": 0.62, "tiny.score": 2.5, "ann": 0.8, "bob": 0.8, "eve": 0.9}
    columns = {
        name: np.clip(np.round(3 + quality + size * rng.normal(size=shape)), 1, 5) for name, size in noise.items()
    }
    frame = pl.DataFrame({"item": np.indices(shape)[0].ravel(), **{name: one.ravel() for name, one in columns.items()}})
    costs = {"large": 1000, "small": 100, "tiny": 10}
    return frame.with_columns(pl.lit(cost).alias(f"{name}.cost_microusd") for name, cost in costs.items())


def pick(frame, margin=0.0, human=PEOPLE, judges=JUDGES, **options):
    return choose_judge(frame.lazy(), judges, human, margin=margin, bootstrap=Bootstrap(300), **options)


def test_choose_judge_takes_the_cheapest_within_the_margin():
    found = pick(labelled(), 0.15, item="item")
    assert found.chosen == "small.score"
    assert found.judges["judge"].to_list() == ["tiny.score", "small.score", "large.score"]
    assert found.statistic == "Kendall's tau-b within items"
    assert [one.system for one in found.by_margin][-1] == "tiny.score"
    assert 0.4 < found.ceiling < 0.7
    json.dumps(found.json(), allow_nan=False)
    undecided = pick(labelled(items=20), item="item")
    assert undecided.chosen is None
    assert all(items > 20 for items in undecided.needed.values())


def test_choose_judge_without_costs_takes_the_order_given():
    frame = labelled().drop("small.cost_microusd")
    found = pick(frame, 0.9)
    assert found.chosen == "large.score"
    assert found.statistic == "Pearson's r over all rows"
    assert any("preferred in the order given" in note for note in found.notes)
    with pytest.raises(SpecError, match=r"No column cost_microusd stands beside small.score"):
        pick(frame, cost="cost_microusd")


def test_choose_judge_compares_the_rows_that_all_judges_read():
    frame = labelled().with_columns(
        pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise("tiny.score").alias("tiny.score")
    )
    found = pick(frame, 0.1)
    assert (found.rows, found.judges["unread"].to_list()) == (360, [120, 0, 0])
    assert "120 of 480 labelled rows lack a verdict of some judge" in found.notes[0]


def test_choose_judge_is_false_in_at_most_a_twentieth_of_tables():
    """Two judges alike but for one that is better by exactly .05 in correlation: 10 of 80 has a chance of 1 in 400."""
    rng = np.random.default_rng(1)
    false = 0
    for seed in range(80):
        draws = rng.multivariate_normal([0, 0, 0], 0.03**2 * (0.5 * np.eye(3) + 0.5), size=301)
        values = np.array([0.65, 0.6, 0.6]) + draws[0]
        resampled = values[:, None] + rng.multivariate_normal([0, 0, 0], 0.03**2 * (0.5 * np.eye(3) + 0.5), 300).T
        at_most = behind_best_of_draws(values, list(resampled), 200 + seed).at_most()
        false += bool((at_most[1:] < 0.05).any())
    assert false <= 10


def test_alternative_annotator_of_a_copy_ties_with_the_copied_person():
    rng = np.random.default_rng(2)
    people = rng.integers(1, 6, (60, 3)).astype(float)
    found = alternative_annotator(people[:, 0], people, PEOPLE, np.arange(60))
    assert "ann" in found.wins
    others = [_shares(people, people[:, 0], j) for j in range(3)]
    assert found.advantage == pytest.approx(np.mean(others))


def _shares(people, judge, j):
    """By the definition: how often the judge is as close to the others as the person is."""
    rest = np.delete(people, j, axis=1)
    of_judge = np.sqrt(((rest - judge[:, None]) ** 2).mean(axis=1))
    of_person = np.sqrt(((rest - people[:, [j]]) ** 2).mean(axis=1))
    return (of_judge <= of_person + 1e-12).mean()


def test_alternative_annotator_passes_a_good_judge_and_no_poor_one():
    found = pick(labelled(), 0.1, item="item").replaces
    assert found["large.score"].passes
    assert found["small.score"].winning_rate == 1
    assert not found["tiny.score"].passes
    assert pick(labelled(items=25), item="item").replaces == {}  # fewer than 30 items
    assert pick(labelled(), human=PEOPLE[:2]).replaces == {}
    strict = pick(labelled(), epsilon=0.0, item="item").replaces["large.score"]
    assert strict.winning_rate <= found["large.score"].winning_rate
    scaled = pick(labelled().with_columns(pl.col("tiny.score") * 100), item="item")
    assert "tiny.score" not in scaled.replaces
    assert any("tiny.score are on another scale" in note for note in scaled.notes)


def test_p_value_is_that_of_the_paired_t_test():
    difference = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], 50)
    expected = scipy.stats.ttest_1samp(difference, 0.2, alternative="less").pvalue
    assert _worse_by(difference, 0.2, np.arange(50)) == pytest.approx(expected, abs=1e-3)
    assert _worse_by(np.zeros(50), 0.2, np.arange(50)) == 0.0


def test_discoveries_are_those_of_benjamini_and_yekutieli():
    p = [0.001, 0.2, 0.012, 0.03, 0.9]
    adjusted = scipy.stats.false_discovery_control(p, method="by")
    assert _discoveries(p) == np.flatnonzero(adjusted <= 0.05).tolist()
    assert _discoveries([0.5, 0.9]) == []


def test_choose_judge_tells_every_mistake_at_once():
    with pytest.raises(SpecError) as caught:
        choose_judge(labelled().lazy(), ["large.score"], [], margin=-1.0, epsilon=2.0, bootstrap=Bootstrap(0))
    for part in ("two judges or more", "give --human", "must be 0 or more", "--epsilon is 2", "--bootstrap must be"):
        assert part in str(caught.value)


def test_choose_command_takes_judges_with_commas_and_python_the_same(tmp_path, capsys):
    path = tmp_path / "t.parquet"
    labelled().write_parquet(path)
    asked = ["choose", str(path), "--judges", ",".join(JUDGES), "--human", "ann", "--human", "bob", "--human", "eve"]
    asked += ["--item", "item", "--margin", "0.15", "--bootstrap", "200"]
    assert _exit_code([*asked, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["chosen"] == "small.score"
    assert _exit_code(asked) == 0
    shown = capsys.readouterr().out.replace("\n  ", " ")
    assert shown.startswith("Choose small.score: the first whose agreement with people is surely less than 0.15")
    assert "Alternative annotator test of large.score: passed" in shown
    same = scorer.choose_judge(path, JUDGES, human=PEOPLE, item="item", margin=0.15, bootstrap=200)
    assert same.json() == printed
    assert _exit_code([*asked, "--system", "item"]) == 2
    assert "leave out --system" in capsys.readouterr().err
