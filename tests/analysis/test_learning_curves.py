"""Learning curves find the step from which nothing is gained, the examples saved, the skill lost; seeds count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.calibration import isotonic
from scorer.analysis.curve_distance import levels_of, reached, rising, saved
from scorer.analysis.learning_curves import CurveColumns, learning_curves
from scorer.cli.app import _exit_code
from scorer.errors import SpecError

STEPS = np.array([0.0, 100, 200, 400, 800])


def trained(
    rng: np.random.Generator, *, items: int = 150, seeds: int = 1, seed_noise: float = 0.0, unread: float = 0.0
) -> pl.DataFrame:
    """Mix `slow` gains 1 by step 400 and `fast` by 200, then nothing; both lose .8 on the task `chat`."""
    rows = []
    difficulty = 0.5 * rng.normal(size=items)
    for mix, end in (("fast", 200), ("slow", 400)):
        for seed in range(seeds):
            off = seed_noise * rng.normal(size=len(STEPS))
            for k, step in enumerate(STEPS):
                done = min(step / end, 1.0)
                for item in range(items):
                    task = "chat" if item % 3 == 0 else "sums"
                    mean = 4 - 0.8 * done if task == "chat" else 2 + 1.9 * done
                    formed = rng.random() < 0.5 + 0.5 * min(step / 100, 1)
                    score = mean + difficulty[item] + 0.4 * rng.normal() + off[k] - (0 if formed else 1)
                    rows.append((item, task, mix, step, seed, None if rng.random() < unread else score, formed))
    return pl.DataFrame(rows, schema=["item", "task", "mix", "step", "seed", "score", "ok"], orient="row")


def test_gains_flat_step_saved_examples_and_lost_skill_are_found() -> None:
    frame = trained(np.random.default_rng(0), unread=0.03)
    by = CurveColumns("step", "mix", "item", "task", "ok")
    found = learning_curves(frame.lazy(), "score", by, margin=0.25, bootstrap=Bootstrap(300))
    assert found.levels["measure"].unique(maintain_order=True).to_list() == [
        "well_formed",
        "score_well_formed",
        "score",
    ]
    assert found.flat == {"fast": 200.0, "slow": 400.0}
    gains = found.gains.filter((pl.col("measure") == "score") & pl.col("task").is_null())
    assert gains["against"].unique().to_list() == [0.0]
    assert len(gains) == 8
    assert gains.filter(pl.col("step") >= 200)["better"].to_list() == [True] * 6
    one = next(one for one in found.saved if one.level == max(s.level for s in found.saved))
    assert (one.mix, one.than, one.at_least) == ("fast", "slow", False)
    assert one.low is not None
    assert 0 < one.low < one.examples < 250
    lost = found.changes.filter(pl.col("lost"))
    assert set(lost["task"]) == {"chat"}
    assert set(lost["mix"]) == {"fast", "slow"}
    # Answers first gain the format: the change of all answers hides part of what is lost.
    chat = found.changes.filter((pl.col("task") == "chat") & (pl.col("mix") == "fast"))
    by_measure = dict(zip(chat["measure"], chat["value"], strict=True))
    assert by_measure["score_well_formed"] == pytest.approx(-0.8, abs=0.25)
    assert by_measure["score"] > by_measure["score_well_formed"] + 0.2
    assert any("nothing of the training seed" in note for note in found.notes)


def test_intervals_of_gains_hold_together_and_know_the_seed_where_it_is_given() -> None:
    """The truth of each gain is 0 in every table: the seed moves each step by .3, and items by little."""
    wrong = {"seeds": 0, "items": 0}
    tables = 40
    for table in range(tables):
        rng = np.random.default_rng(table)
        rows = []
        for seed in range(6):
            off = 0.3 * rng.normal(size=3)
            for item in range(30):
                rows += [(item, float(s), seed, off[s] + 0.3 * rng.normal()) for s in range(3)]
        frame = pl.DataFrame(rows, schema=["item", "step", "seed", "score"], orient="row").lazy()
        for name, seed_column in (("seeds", "seed"), ("items", None)):
            by = CurveColumns("step", item="item", seed=seed_column)
            gains = learning_curves(frame, "score", by, margin=1.0, bootstrap=Bootstrap(200)).gains
            wrong[name] += bool(((gains["low"] > 0) | (gains["high"] < 0)).any())
    assert wrong["items"] > 0.5 * tables  # without the seeds most tables show a gain that is none
    assert wrong["seeds"] <= 0.05 * tables + 4 * np.sqrt(tables * 0.05 * 0.95)


def test_level_that_one_curve_never_reaches_is_at_least() -> None:
    frame = trained(np.random.default_rng(1)).filter((pl.col("mix") == "fast") | (pl.col("step") <= 200))
    by = CurveColumns("step", "mix", "item", None)
    found = learning_curves(frame.lazy(), "score", by, levels=[3.2, 9.0], bootstrap=Bootstrap(100))
    (one,) = found.saved
    assert (one.mix, one.than, one.at_least) == ("fast", "slow", True)
    assert one.high is None
    assert 0 < one.examples < 200
    assert any("No curve reaches 9" in note for note in found.notes)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 9)), min_size=1, max_size=7),
    level=st.floats(-5, 5),
)
def test_isotonic_fit_is_that_of_pooled_adjacent_violators(values: list[tuple[float, int]], level: float) -> None:
    means, weights = (np.array(part, dtype=float) for part in zip(*values, strict=True))
    fitted = rising(means[None], weights)
    assert fitted[0] == pytest.approx(isotonic(means, weights))
    steps = np.arange(len(means), dtype=float)
    at = float(reached(fitted, steps, level)[0])
    if np.isfinite(at):
        assert np.interp(at, steps, fitted[0]) >= level - 1e-6
    else:
        assert fitted[0, -1] < level


def test_distance_by_hand() -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.5, 2.0])
    steps = np.array([0.0, 10.0, 20.0])
    assert levels_of(a, b) == [1.5, 1.8]
    none = np.empty((0, 3))
    (one,) = saved(("a", "b"), (steps, steps), (a, b), (none, none), [1.5])
    assert (one.examples, one.at_least) == (5.0, False)  # a has 1.5 at 5, b at 10
    (one,) = saved(("b", "a"), (steps, steps), (b, a), (none, none), [2.5])
    assert (one.mix, one.examples, one.at_least) == ("a", 5.0, True)  # a has it at 15; b has not by 20


def test_command_shows_the_curves_and_tells_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "t.parquet")
    trained(np.random.default_rng(2), items=60, seeds=4).write_parquet(path)
    command = ["curves", path, "--score", "score", "--step", "step", "--mix", "mix", "--item", "item"]
    assert _exit_code([*command, "--task", "task", "--well-formed", "ok", "--seed", "seed", "--margin", "0.4"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("Share in the right format") < printed.index("score of those in the right format")
    assert "fast: flat from step 200 on" in printed
    assert "Surely lost by training: chat (fast), chat (slow)." in printed
    assert "4 seeds say little" in printed
    assert _exit_code([*command, "--json", "--bootstrap", "0"]) == 0
    found = json.loads(capsys.readouterr().out)["scores"]["score"]
    assert set(found) == {"levels", "gains", "flat", "margin", "saved", "changes", "notes"}
    assert found["flat"] == {"fast": None, "slow": None}  # nothing is known without intervals
    assert _exit_code([*command, "--margin", "-1"]) == 2
    assert "--margin -1 is not allowed" in capsys.readouterr().err
    with pytest.raises(SpecError, match="holds 1 step"):
        learning_curves(pl.scan_parquet(path).filter(pl.col("step") == 0), "score", CurveColumns("step"))
