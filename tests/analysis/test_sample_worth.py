"""What a sample is worth: the values are those of `agree`, and the bound of a gain holds as often as it says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from scorer.analysis.agree import agree
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.sample_worth import sample_worth
from scorer.analysis.sampled_scores import SampledScores
from scorer.errors import SpecError


def judged(items: int, samples: int, rng: np.random.Generator, noise: float = 1.0) -> tuple[SampledScores, dict]:
    """Three rows an item; what the judge says is the quality with noise of its own in each sample."""
    quality = np.repeat(rng.normal(size=items), 3) + rng.normal(size=3 * items)
    readings = quality[:, None] + noise * rng.normal(size=(3 * items, samples))
    readings[rng.random(readings.shape) < 0.05] = np.nan
    human = quality + 0.5 * rng.normal(size=3 * items)
    return SampledScores((readings,)), {"human": human, "item": np.repeat(np.arange(items), 3)}


def test_all_samples_agree_as_their_mean_does_in_agree() -> None:
    form, given = judged(60, 6, np.random.default_rng(0))
    found = sample_worth({"one": form}, given["human"], item=given["item"], bootstrap=Bootstrap(200))
    score = pl.Series(form.of(np.tile(np.arange(6), (180, 1)))).fill_nan(None)
    frame = pl.DataFrame({"score": score, **given}).lazy()
    levels = agree(frame, ["score"], ["human"], item="item", bootstrap=Bootstrap(200)).scores["score"].whole
    last = {row["statistic"]: row for row in found.curves.filter(pl.col("n") == 6).to_dicts()}
    assert levels.item is not None
    assert last["pearson"]["value"] == pytest.approx(levels.dataset.statistics["pearson"])
    assert last["item_kendall"]["value"] == pytest.approx(levels.item.statistics["kendall"])
    low, high = levels.dataset.intervals["pearson"] or (0, 0)
    assert (last["pearson"]["low"], last["pearson"]["high"]) == (pytest.approx(low), pytest.approx(high))
    assert last["pearson"]["gain"] is None


def test_mean_over_tasks_is_that_of_each_task_by_itself() -> None:
    form, given = judged(40, 4, np.random.default_rng(1))
    task = (given["item"] >= 20).astype(np.int64)
    human = given["human"] + 10 * task  # between tasks the judge is useless, within them it is not
    both = sample_worth({"one": form}, human, item=given["item"], task=task, bootstrap=Bootstrap(0))
    apart = [
        sample_worth(
            {"one": form}, np.where(task == one, human, np.nan), item=given["item"], bootstrap=Bootstrap(0)
        ).curves.filter((pl.col("n") == 4) & (pl.col("statistic") == "pearson"))["value"][0]
        for one in (0, 1)
    ]
    whole = both.curves.filter((pl.col("n") == 4) & (pl.col("statistic") == "pearson"))["value"][0]
    assert whole == pytest.approx(sum(apart) / 2)


def test_bound_of_a_gain_holds_as_often_as_it_says() -> None:
    """The correlation of the mean of n samples is known; its gain from 1 to 2 exceeds the bound in 5 % of tables."""
    truth = {n: np.sqrt(2) / np.sqrt(2 + 1 / n) * np.sqrt(2) / np.sqrt(2.25) for n in (1, 2)}
    beyond = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        form, given = judged(60, 2, rng)
        found = sample_worth(
            {"one": SampledScores((np.nan_to_num(form.orders[0], nan=0.0),))},
            given["human"],
            item=None,
            bootstrap=Bootstrap(100),
        )
        beyond += found.curves["gain_at_most"][0] < truth[2] - truth[1]
    assert beyond <= 9  # 5 % of 60, and 3.5 standard errors


def test_pairwise_orders_that_disagree_are_a_tie() -> None:
    given, swapped = np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0]])
    scores = SampledScores((given, swapped), flips=True)
    assert scores.of(np.array([[0], [0]])).tolist() == [0.5, 1.0]
    assert scores.of(np.array([[0, 1], [0, 1]])).tolist() == [0.5, 0.5]


def test_tables_that_tell_nothing_are_refused() -> None:
    form = SampledScores((np.ones((4, 2)),))
    for human, sentence in (([1.0, np.nan, np.nan, np.nan], "1 rows have"), ([2.0] * 4, "is 2 in all 4 rows")):
        with pytest.raises(SpecError, match=sentence):
            sample_worth({"one": form}, np.array(human))
