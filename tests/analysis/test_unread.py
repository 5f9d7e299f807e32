"""Unread rows that differ from read ones are reported; those that are lost at random are not."""

import numpy as np
import polars as pl
import pytest

from scorer.analysis.agree import agree
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.leaderboard import leaderboard
from scorer.analysis.unread import UnreadDiffers, by_kept, holm, unread_notes


def grades(rng, *, worst_lost, rows=600):
    """Grades of three systems in two tasks; a tenth of the rows is unread, the worst answers or any."""
    human = rng.integers(1, 6, rows).astype(float)
    score = human + rng.integers(-1, 2, rows)
    bad = np.flatnonzero(human == 1) if worst_lost else np.arange(rows)
    score[rng.choice(bad, rows // 10, replace=False)] = np.nan
    return pl.DataFrame(
        {
            "human": human,
            "score": pl.Series(score).fill_nan(None),
            "item": np.arange(rows) // 3,
            "system": np.array(["a", "b", "c"])[np.arange(rows) % 3],
            "task": np.array(["t", "u"])[np.arange(rows) // 3 % 2],
        }
    )


def test_agree_compares_human_values_of_unread_rows():
    frame = grades(np.random.default_rng(0), worst_lost=True)
    found = agree(frame.lazy(), ["score"], ["human"], item="item", task="task", bootstrap=Bootstrap(0))
    whole, *tasks = found.scores["score"].unread
    read = frame.drop_nulls("score")["human"].mean()
    assert (whole.by, whole.group, whole.unread, whole.here) == ("human", None, 60, 1.0)
    assert whole.there == pytest.approx(read)
    assert whole.interval[0] < 1 - read < whole.interval[1] < -1.8
    assert [one.group for one in tasks] == ["t", "u"]
    (note, *_) = unread_notes(found.scores["score"].unread, human=True)
    assert note.startswith("The 60 rows with no verdict differ from the others: human is 1.000 for them and 3.")
    assert found.json()["scores"]["score"]["dataset"]["unread_differs"][0]["unread"] == 60


def test_unread_notes_have_5_percent_false_alarms():
    rng = np.random.default_rng(1)
    by_people = by_groups = 0
    for _ in range(60):
        frame = grades(rng, worst_lost=False)
        found = agree(frame.lazy(), ["score"], ["human"], item="item", task="task", bootstrap=Bootstrap(0))
        by_people += bool(list(unread_notes(found.scores["score"].unread, human=True)))
        board = leaderboard(frame.lazy(), "score", "system", task="task", item="item", bootstrap=Bootstrap(0))
        by_groups += any("share of rows with no verdict differs" in note for note in board.notes)
    # 10 of 60 has a chance of 1 in 2,000 at 5 %.
    assert by_people <= 9
    assert by_groups <= 9


def test_leaderboard_notes_the_system_and_task_with_more_unread_rows():
    frame = grades(np.random.default_rng(2), worst_lost=False).with_columns(
        score=pl.when((pl.col("system") == "b") & (pl.col("item") % 3 == 0)).then(None).otherwise("score")
    )
    board = leaderboard(frame.lazy(), "score", "system", task="task", item="item", bootstrap=Bootstrap(0))
    (note,) = [note for note in board.notes if "no verdict differs" in note]
    assert note.startswith("The share of rows with no verdict differs by system: more often in b ")
    assert {one["by"] for one in board.json()["unread_differs"]} == {"system", "task"}


def test_unread_notes_are_empty_below_five_unread_rows():
    frame = grades(np.random.default_rng(3), worst_lost=True).with_columns(
        score=pl.when(pl.int_range(pl.len()) % 150 == 0).then(None).otherwise(pl.col("score").fill_null(1.0))
    )
    assert frame["score"].null_count() == 4
    found = agree(frame.lazy(), ["score"], ["human"], item="item", bootstrap=Bootstrap(0))
    assert list(found.scores["score"].unread) == []
    assert list(leaderboard(frame.lazy(), "score", "system", bootstrap=Bootstrap(0)).unread) == []


def test_by_kept_has_the_values_computed_by_hand():
    """20 of 100 against 5 of 100: pooled share .125, error sqrt(.125 .875 (2 / 100)) = .0468, z 3.21."""
    error = ["Unreadable"] * 20 + [None] * 80 + ["Unreadable"] * 5 + [None] * 95 + ["BadRow"] * 50
    scores = pl.LazyFrame(
        {
            "error": error,
            "score": [None if e else 1.0 for e in error],
            "model": ["x"] * 100 + ["y"] * 150,
            "id": [f"r{k}" for k in range(250)],
            "n": range(250),
        }
    )
    x, y = by_kept(scores, ["id", "model", "n"])
    assert (x.group, x.unread, x.here, x.there) == ("x", 20, 0.2, 0.05)
    assert x.p == pytest.approx(2 * 0.00135, rel=0.05)
    assert x.interval == pytest.approx((0.15 - 1.96 * 0.0468, 0.15 + 1.96 * 0.0468), abs=0.001)
    assert list(unread_notes([x, y])) == [
        "The share of rows with no verdict differs by model: more often in x 20.0% against 5.0% elsewhere, "
        "p = 0.003, less often in y. Means may be biased."
    ]


def test_holm_has_the_values_computed_by_hand():
    found = [UnreadDiffers("s", str(k), 9, 0.1, 0.2, None, p) for k, p in enumerate([0.04, 0.01, 0.03])]
    assert [one.p for one in holm(found)] == pytest.approx([0.06, 0.03, 0.06])
